/**
 * A broken invariant is a bug, never an expected failure. Whoever owns the broken thing (entity, shard, node) stops
 * rather than goes on with state that it no longer understands.
 */
export class AssertionFailure extends Error {
  override readonly name = "AssertionFailure";
}

/** Throws `AssertionFailure` unless `condition` holds. Stays on in production: only cheap conditions belong here. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message);
}

/** The default branch of an exhaustive switch: fails to compile when a case is missing, and at run time if one slips by. */
export function unreachable(value: never): never {
  throw new AssertionFailure(`unreachable: ${String(value)}`);
}
