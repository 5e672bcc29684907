/**
 * What `mail.deliver` says: a run of messages of one pair of slots, consecutive and in order; and its answer, the number up to
 * which the receiver has durably consumed the pair. Each message is encoded as in the outbox.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import { type MessageRecord, storedRecords } from "./batch.ts";

/** The type of the request. */
export const mailDeliver = "mail.deliver";

export interface MailRun {
  readonly fromSlot: number;
  readonly toSlot: number;
  /** At least one. */
  readonly messages: readonly MessageRecord[];
}

export function encodeRun({ fromSlot, toSlot, messages }: MailRun): Value {
  return { fromSlot, toSlot, messages: messages.map(storedRecords.encodeMessage) };
}

/** Throws `malformed` for what is no run. */
export function decodeRun(body: Value): MailRun {
  const { fromSlot, toSlot, messages } = propertiesOf(body);
  if (!isSlot(fromSlot) || !isSlot(toSlot) || !Array.isArray(messages)) throw malformed();
  const decoded = (messages as readonly Value[]).map(decodeMessage);
  const first = decoded[0]?.number;
  const isRun = decoded.every(
    (message, index) => message.fromSlot === fromSlot && message.toSlot === toSlot && message.number === first! + index,
  );
  if (first === undefined || !isRun) throw malformed();
  return { fromSlot, toSlot, messages: decoded };
}

export function encodeConsumed(through: number): Value {
  return { through };
}

/** Throws `malformed` for what is no answer. */
export function decodeConsumed(answer: Value): number {
  const { through } = propertiesOf(answer);
  if (typeof through !== "number" || !Number.isSafeInteger(through) || through < 0) throw malformed();
  return through;
}

function decodeMessage(bytes: Value): MessageRecord {
  if (!(bytes instanceof Uint8Array)) throw malformed();
  try {
    return storedRecords.decodeMessage(bytes);
  } catch (cause) {
    throw malformed(cause);
  }
}

function propertiesOf(value: Value): { readonly [name: string]: Value | undefined } {
  if (typeof value !== "object" || value === null) throw malformed();
  return value as { readonly [name: string]: Value | undefined };
}

function isSlot(value: Value | undefined): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0;
}

function malformed(cause?: unknown): OnefoldError {
  return new OnefoldError("malformed", "What another shard sent about messages could not be understood.", { cause });
}
