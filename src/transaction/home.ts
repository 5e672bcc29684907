/**
 * A transaction's home: a pure function of its input or of its request, so that whoever gets the request finds the same one, and the
 * request's outcome is looked for where it was kept.
 */
import { OnefoldError } from "../base/errors.ts";
import { type EntityId, parseId, slotOfParts } from "../base/ids.ts";
import { cloneValue, type Value } from "../base/value.ts";
import type { Core } from "../entity/core.ts";
import type { EntityDefinition, TransactionDefinition } from "../entity/definition.ts";
import type { RequestIdentity } from "../entity/requests.ts";
import type { Principal } from "../entity/service.ts";
import type { TransactionRequest } from "../entity/transaction-runner.ts";
import { validate } from "../entity/validate.ts";

/** What of a request's identity decides its home. */
export type HomeRequest =
  | Pick<Extract<RequestIdentity, { readonly type: "session" }>, "type" | "session" | "number">
  | Pick<Extract<RequestIdentity, { readonly type: "idempotency" }>, "type" | "digest">;

/** What the user's code says of an input: what it is made of by its schema, and the entity at which the transaction is at home. */
export interface CheckedInput {
  readonly input: unknown;
  readonly at: HomeEntity | undefined;
}

export interface HomeEntity {
  readonly definition: EntityDefinition;
  readonly id: unknown;
}

/** Runs the user's code: under the guard. Throws `invalid-input`, and whatever that code throws. */
export function checkInput(
  definition: TransactionDefinition,
  input: unknown,
  { findsHome }: { readonly findsHome: boolean },
): CheckedInput {
  // A copy each time: a body may change what it gets, and what a schema makes of the input need not be a value.
  const checked = checkedInput(definition, cloneValue(input as Value | undefined));
  const at = findsHome ? definition.at?.(checked as never) : undefined;
  return { input: checked, at: at && { definition: at.entity.definition, id: at.id } };
}

/** Throws `invalid-id` where `.at` has named no entity. */
export function homeId(at: HomeEntity): EntityId {
  return parseId(at.id);
}

/** Where the request's outcome is kept; `ofEntity` is the slot of the entity that `.at` names. */
export function homeSlot(
  definition: TransactionDefinition,
  caller: Principal,
  request: HomeRequest,
  ofEntity: number | undefined,
): number {
  // Where the outcome is kept must not depend on the input if another input under the same key is to be noticed.
  if (request.type === "idempotency") return slotOfParts([caller.tenant, definition.name, request.digest]);
  // Without a home of its own: where its request's number leads.
  return ofEntity ?? slotOfParts([caller.tenant, definition.name, request.session, `${request.number}`]);
}

/**
 * The home's slot as the shard finds it that is to run the transaction. Calls the affinity function of `at`'s kind, which is the user's
 * code. Throws `not-owner` (retry safe) with `details.slot` where it is another shard's.
 */
export function homeSlotAt(
  core: Core,
  { definition, caller, request }: TransactionRequest,
  at: HomeEntity | undefined,
): number {
  const id = at && homeId(at);
  // Nothing is kept, and nobody asks where it is decided.
  if (request === undefined && core.neighbours === undefined) return 0;
  const ofEntity = at && core.slotOf(at.definition, caller.tenant, id!);
  const slot = request === undefined ? (ofEntity ?? ownSlot(core)) : homeSlot(definition, caller, request, ofEntity);
  if (core.isOwn(slot)) return slot;
  throw new OnefoldError("not-owner", "The transaction's home is at another shard.", { details: { slot } });
}

/** For a transaction that is the same wherever it runs: any slot of this shard. */
function ownSlot({ neighbours, host, limits }: Core): number {
  if (neighbours === undefined) return 0;
  const from = Math.floor(host.random.next() * limits.slotCount);
  for (let i = 0; i < limits.slotCount; i++) {
    const slot = (from + i) % limits.slotCount;
    if (neighbours.isOwn(slot)) return slot;
  }
  throw new OnefoldError("not-owner", "The shard has no slots.");
}

function checkedInput({ name, input: schema }: TransactionDefinition, input: unknown): unknown {
  if (schema !== undefined) return validate(schema, input, { what: `the input of ${name}` });
  if (input === undefined || input === null) return undefined;
  throw new OnefoldError("invalid-input", `${name} takes no input.`, {
    details: { issues: [{ path: [], message: "no input is expected" }] },
  });
}
