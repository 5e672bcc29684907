/**
 * Calls of `Service` between nodes as values: what `service.call` and `service.read` carry (`peer-handlers.ts`).
 *
 * FC1  What users made (inputs, outputs, states) crosses as encoded bytes: it may be as deep as values can be, and what is around it
 *      is none of its depth.
 */
import { OnefoldError } from "../base/errors.ts";
import { encodeValue, type Value } from "../base/value.ts";
import type { Position, Service } from "../entity/service.ts";
import { decodeBody } from "./peer-failure.ts";

/** The methods that cross. */
export type ForwardedOperation = Exclude<
  {
    [name in keyof Service]-?: Required<Service>[name] extends (...args: never) => Promise<unknown> ? name : never;
  }[keyof Service],
  never
>;

export type ForwardedArguments<O extends ForwardedOperation> = Parameters<Service[O]>;
export type ForwardedReply<O extends ForwardedOperation> = Awaited<ReturnType<Service[O]>>;

export interface ForwardedCall<O extends ForwardedOperation = ForwardedOperation> {
  /** Whose owner, or for reads of copies, whose copy is asked. */
  readonly shard: string;
  readonly operation: O;
  readonly args: ForwardedArguments<O>;
  /** What a copy must have reached to answer; absent: anything. */
  readonly reached?: Position;
}

/** Which arguments of each operation are the user's. */
const inputAt: Readonly<Record<ForwardedOperation, number | undefined>> = {
  command: 2,
  transaction: 1,
  query: 2,
  state: undefined,
  delete: undefined,
  list: undefined,
  history: undefined,
  changes: undefined,
  deadLetters: undefined,
};

export function encodeCall<O extends ForwardedOperation>({ shard, operation, args, reached }: ForwardedCall<O>): Value {
  const packed = [...args].map((arg: unknown, i) => {
    if (i !== inputAt[operation]) return arg as Value;
    return arg === undefined ? null : encodeValue(arg, { what: `the input of ${operation}` });
  });
  return { shard, operation, args: packed, reached: reached && { ...reached } };
}

/** Throws `malformed`. The arguments are trusted: a node authenticates and checks before it forwards. */
export function decodeCall(body: Value): ForwardedCall {
  const { shard, operation, args, reached } = body as { readonly [name: string]: Value | undefined };
  if (typeof shard !== "string" || typeof operation !== "string" || !Object.hasOwn(inputAt, operation)) {
    throw new OnefoldError("malformed", "Another node has sent a call that this one does not know.");
  }
  const known = operation as ForwardedOperation;
  const unpacked = (args as readonly Value[]).map((arg, i) => {
    if (i !== inputAt[known]) return arg;
    return arg === null ? undefined : decodeBody(arg as Uint8Array);
  });
  return {
    shard,
    operation: known,
    args: unpacked as unknown as ForwardedCall["args"],
    ...(reached === undefined ? {} : { reached: reached as unknown as Position }),
  };
}

const users = new Set(["output", "state", "input"]);

/** FC1, for a reply and the items in it. */
export function encodeReply(reply: object): Value {
  return mapped(reply, (value) => encodeValue(value)) as Value;
}

export function decodeReply<O extends ForwardedOperation>(answer: Value): ForwardedReply<O> {
  const decoded = mapped(answer as object, (value) => decodeBody(value as Uint8Array));
  // Without an output there is none to be packed.
  if ("sequence" in decoded && !("output" in decoded) && !("state" in decoded)) {
    return { output: undefined, ...decoded } as unknown as ForwardedReply<O>;
  }
  return decoded as unknown as ForwardedReply<O>;
}

function mapped(reply: object, change: (value: unknown) => Value): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(reply)) {
    if (value === undefined) continue;
    if (users.has(key)) result[key] = change(value);
    else if (key === "items") result[key] = (value as readonly object[]).map((item) => mapped(item, change));
    else result[key] = value;
  }
  return result;
}
