/** What a client's messages may look like: each checked once, here, and trusted inside. All throw `malformed` (retry never). */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { SeenPosition } from "./socket-subscription.ts";

/** One message as it was decoded. */
export type Parts = readonly Value[];

/** How a call is to be carried out. */
export interface CallFacts {
  /** In the connection's session; undefined for one that has none. */
  readonly number: number | undefined;
  readonly deadlineMs: number | undefined;
  readonly idempotencyKey: string | undefined;
  readonly read: "strong" | "session" | "eventual" | undefined;
}

const noFacts: CallFacts = { number: undefined, deadlineMs: undefined, idempotencyKey: undefined, read: undefined };

/** Visible ASCII and inner spaces, as for the header `Idempotency-Key`. */
const idempotencyKeyPattern = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

export interface CallFactLimits {
  readonly deadlineMsMax: number;
  readonly idempotencyKeyBytesMax: number;
}

/** Nil, a request number, or a map of `number`, `deadlineMs`, `key` and `read`. */
export function callFacts(part: Value | undefined, limits: CallFactLimits): CallFacts {
  if (part === undefined || part === null) return noFacts;
  if (typeof part === "number") {
    return {
      number: count("A request's number", part, 1),
      deadlineMs: undefined,
      idempotencyKey: undefined,
      read: undefined,
    };
  }
  const { number, deadlineMs, key, read, ...others } = record("A call's options", part);
  assertNone(others);
  if (number !== undefined && key !== undefined) {
    throw malformed("A request has a number or an idempotency key, not both.");
  }
  if (
    deadlineMs !== undefined &&
    (typeof deadlineMs !== "number" || !(deadlineMs > 0 && deadlineMs <= limits.deadlineMsMax))
  ) {
    throw malformed(`deadlineMs must be a number above 0 and up to ${limits.deadlineMsMax}.`);
  }
  if (key !== undefined) {
    if (typeof key !== "string" || key.length > limits.idempotencyKeyBytesMax || !idempotencyKeyPattern.test(key)) {
      throw malformed(`key must be 1 to ${limits.idempotencyKeyBytesMax} visible ASCII characters.`);
    }
  }
  if (read !== undefined && read !== "strong" && read !== "session" && read !== "eventual") {
    throw malformed("read must be strong, session or eventual.");
  }
  return {
    number: number === undefined ? undefined : count("A request's number", number, 1),
    deadlineMs,
    idempotencyKey: key,
    read,
  };
}

/** What a subscription asks for besides its entity. */
export interface SubscribeFacts {
  readonly query: string | undefined;
  readonly input: Value | undefined;
  readonly credit: number;
  readonly seen: SeenPosition | undefined;
}

export function subscribeFacts(part: Value | undefined, creditMax: number): SubscribeFacts {
  const { query, input, credit, seen, ...others } = record("A subscription's options", part ?? {});
  assertNone(others);
  if (input !== undefined && query === undefined) throw malformed("An input needs a query.");
  let position: SeenPosition | undefined;
  if (seen !== undefined) {
    if (!Array.isArray(seen) || seen.length !== 2) throw malformed("seen must be [log, sequence].");
    position = { log: text("A log", seen[0]), sequence: count("A sequence", seen[1], 0) };
  }
  return {
    query: query === undefined ? undefined : text("A query", query),
    input,
    credit: credit === undefined ? 1 : count("credit", credit, 0, creditMax),
    seen: position,
  };
}

/** A page of a listing or a history. */
export interface PageFacts {
  readonly prefix: string | undefined;
  readonly limit: number;
  readonly cursor: string | undefined;
}

export function pageFacts(
  part: Value | undefined,
  limits: { readonly listLimitDefault: number; readonly listLimitMax: number },
): PageFacts {
  const { prefix, limit, cursor, ...others } = record("The options", part ?? {});
  assertNone(others);
  return {
    prefix: prefix === undefined ? undefined : text("prefix", prefix),
    limit: limit === undefined ? limits.listLimitDefault : count("limit", limit, 1, limits.listLimitMax),
    cursor: cursor === undefined ? undefined : text("cursor", cursor),
  };
}

export function text(what: string, part: Value | undefined): string {
  if (typeof part !== "string") throw malformed(`${what} must be text.`);
  return part;
}

export function count(what: string, part: Value | undefined, min: number, max = Number.MAX_SAFE_INTEGER): number {
  if (typeof part !== "number" || !Number.isSafeInteger(part) || part < min || part > max) {
    throw malformed(`${what} must be a whole number from ${min} to ${max}.`);
  }
  return part;
}

export function record(what: string, part: Value | undefined): { readonly [key: string]: Value | undefined } {
  if (typeof part !== "object" || part === null || Object.getPrototypeOf(part) !== Object.prototype) {
    throw malformed(`${what} must be a map.`);
  }
  return part as { readonly [key: string]: Value | undefined };
}

export function assertNone(others: Readonly<Record<string, unknown>>): void {
  const [other] = Object.keys(others);
  if (other !== undefined) throw malformed(`There is no option ${JSON.stringify(other.slice(0, 64))} here.`);
}

export function malformed(message: string): OnefoldError {
  return new OnefoldError("malformed", message);
}
