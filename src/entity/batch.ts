/**
 * What a batch says: the effects of calls, never the calls themselves. Recovery folds effects and runs no user code.
 *
 * B1  Every effect is absolute (new state, new item, new number), so folding a batch twice gives what folding it once gives.
 * B2  An entry is atomic: one call, or one transaction with all that it touched; it stands in a batch whole or not at all.
 * B3  Effects name their slot: an affinity function is user code, which recovery must not need.
 * B4  Numbers of messages count per (sender slot, receiver slot) without a gap.
 * B5  An effect that older readers would pass over raises the version of reader that its batch needs.
 *
 * On the log an entry is a MessagePack array by position (`docs/format.md`); absent parts are nil, and left off at the end.
 */
import { Packr } from "msgpackr";
import { assert } from "../base/assert.ts";
import { OnefoldError } from "../base/errors.ts";
import { crossingVersion, formatVersion } from "../log/record.ts";
import type { BinaryString } from "./keys.ts";
import { entityName } from "./keys.ts";
import { type KeptOutcome, keptBytesMax } from "./outcome.ts";
import {
  type DecisionPart,
  packTransactionPart,
  type PreparedPart,
  type TransactionPart,
  transactionPartBytesMax,
  unpackTransactionPart,
} from "./transaction-parts.ts";

export type Origin = "call" | "transaction" | "message" | "timer" | "admin";
/** Written as their places in here. */
export const origins: readonly Origin[] = ["call", "transaction", "message", "timer", "admin"];

export interface ItemEffect {
  readonly collection: string;
  readonly key: string;
  /** Encoded value; null for a removal. */
  readonly value: Uint8Array | null;
}

export interface TimerEffect {
  readonly key: string;
  /** Null for a removal (cancelled, fired, replaced, or its entity's end). */
  readonly timer: TimerRecord | null;
  /** The due time of the timer that it replaces or removes; null if there was none. */
  readonly previousDueMs: number | null;
}

export interface TimerRecord {
  readonly dueMs: number;
  readonly command: string;
  readonly input: Uint8Array;
  readonly subject: string;
}

/** What one entry did to one entity. */
export interface EntityEffect {
  readonly slot: number;
  readonly tenant: string;
  readonly kind: string;
  readonly id: string;
  /** `entityName` of the three above; not stored. */
  readonly name: BinaryString;
  readonly generation: number;
  /** Commands that changed this generation. */
  readonly version: number;
  /** Whether this is the first effect of its generation. */
  readonly isBirth: boolean;
  readonly schemaVersion: number;
  /** The sequence of the batch that touched the entity before this one, 0 for none: the entity's history as a linked list. */
  readonly previousSequence: number;
  /** The new root state; null: deleted; undefined: unchanged (only where it is larger than `touchThresholdBytes`). */
  readonly state: Uint8Array | null | undefined;
  readonly items: readonly ItemEffect[];
  readonly timers: readonly TimerEffect[];
}

/** A root state up to this size is written again with every effect; a larger one only when it changed. */
export const touchThresholdBytes = 1024;

export interface MessageRecord {
  readonly fromSlot: number;
  readonly toSlot: number;
  readonly number: number;
  readonly tenant: string;
  readonly kind: string;
  readonly id: string;
  readonly command: string;
  readonly input: Uint8Array;
  readonly subject: string;
}

/**
 * A message or timer that ended without taking hold; kept, within bounds, for people to look at. Or a message that `waits`
 * for code that understands its receiver's state, and will be delivered then.
 */
export interface DeadLetter {
  readonly slot: number;
  readonly tenant: string;
  readonly kind: string;
  readonly id: string;
  readonly command: string;
  readonly input: Uint8Array;
  readonly code: string;
  readonly detail: string;
  /** Log time at which it was recorded; 0 in records of versions that did not say. */
  readonly atMs: number;
  readonly waits: boolean;
}

/** As the store keeps it: with what its entry says besides. */
export interface StoredDeadLetter extends DeadLetter {
  readonly subject: string;
  readonly by: Origin;
}

export interface ConsumedMessage {
  readonly fromSlot: number;
  readonly toSlot: number;
  readonly number: number;
}

/**
 * Messages of one pair of slots, from number `first` through `through`, that another shard has durably consumed: they leave the
 * sender's outbox. Both ends are said, so that the fold need not look what the outbox holds.
 */
export interface DeliveredMessages {
  readonly fromSlot: number;
  readonly toSlot: number;
  readonly first: number;
  readonly through: number;
}

/** The kept outcome of a request, for its repetitions. */
export type ResultKey =
  | {
      readonly type: "session";
      readonly slot: number;
      readonly session: BinaryString;
      readonly expiresMs: number;
      readonly number: number;
      readonly lowest: number;
      /** Which of the session's rows at the slot the outcome goes to; see `live-sessions.ts`. */
      readonly place: number;
      /** The session is new to the slot. */
      readonly isBirth: boolean;
    }
  | {
      readonly type: "idempotency";
      readonly slot: number;
      readonly digest: BinaryString;
      readonly expiresMs: number;
      /** SHA-256 of what was asked for. */
      readonly fingerprint: Uint8Array;
    };

export interface ResultEffect {
  readonly key: ResultKey;
  readonly outcome: KeptOutcome;
}

export interface Entry {
  readonly origin: Origin;
  /** Command or transaction name; `delete` for a deletion from outside. */
  readonly command: string;
  readonly subject: string;
  readonly effects: readonly EntityEffect[];
  readonly messages: readonly MessageRecord[];
  readonly consumed: ConsumedMessage | null;
  readonly deadLetter: DeadLetter | null;
  readonly result: ResultEffect | null;
  /** Store keys of expired results, removed. */
  readonly expired: readonly { readonly expiresMs: number; readonly key: BinaryString }[];
  /** Of several pairs of slots, each at most once. */
  readonly delivered: readonly DeliveredMessages[];
  /** Its part in a transaction over several shards. */
  readonly transaction: TransactionPart | null;
}

const packr = new Packr({ useRecords: false, useBigIntExtension: true, mapsAsObjects: true });

type Packed = readonly unknown[];

function orNull<T>(list: readonly T[], pack: (item: T) => unknown): readonly unknown[] | null {
  return list.length === 0 ? null : list.map(pack);
}

/** Takes the nils off the end. */
function trimmed(packed: unknown[]): Packed {
  let length = packed.length;
  while (length > 0 && packed[length - 1] === null) length--;
  packed.length = length;
  return packed;
}

function packEffect(effect: EntityEffect): Packed {
  const packed: unknown[] = [
    effect.slot,
    effect.tenant,
    effect.kind,
    effect.id,
    effect.generation,
    effect.version,
    effect.schemaVersion,
    effect.previousSequence,
    effect.isBirth,
    // `false` for unchanged: nil already means deleted.
    effect.state === undefined ? false : effect.state,
  ];
  const hasTimers = effect.timers.length > 0;
  if (effect.items.length > 0 || hasTimers) packed.push(orNull(effect.items, packItem));
  if (hasTimers) packed.push(effect.timers.map(packTimer));
  return packed;
}

function packItem({ collection, key, value }: ItemEffect): Packed {
  return [collection, key, value];
}

export function packTimer({ key, timer, previousDueMs }: TimerEffect): Packed {
  return [key, previousDueMs, timer === null ? null : [timer.dueMs, timer.command, timer.input, timer.subject]];
}

export function packDeadLetter({ waits, ...letter }: DeadLetter): Packed {
  const { slot, tenant, kind, id, command, input, code, detail, atMs } = letter;
  return trimmed([slot, tenant, kind, id, command, input, code, detail, atMs, waits ? true : null]);
}

function packMessage(m: MessageRecord): Packed {
  return [m.fromSlot, m.toSlot, m.number, m.tenant, m.kind, m.id, m.command, m.input, m.subject];
}

/** How what a transaction is going to do is written: as what commands have done. */
export const preparedCodec = {
  pack: ({ effects, messages }: Pick<PreparedPart, "effects" | "messages">): Packed => [
    orNull(effects, packEffect),
    // They get their numbers when they are sent.
    orNull(messages, (message) => packMessage({ ...message, number: 0 })),
  ],
  unpack: ([effects, messages]: Packed): Pick<PreparedPart, "effects" | "messages"> => ({
    effects: ((effects ?? []) as Packed[]).map(unpackEffect),
    messages: ((messages ?? []) as Packed[]).map((packed) => {
      const { number: _none, ...message } = unpackMessage(packed);
      return message;
    }),
  }),
};

/** The least version of reader that understands a batch of these entries (B5). */
export function readerVersionOf(entries: readonly Entry[]): number {
  const crosses = ({ delivered, transaction }: Entry): boolean => delivered.length > 0 || transaction !== null;
  return entries.some(crosses) ? crossingVersion : formatVersion;
}

/**
 * How many bytes an entry takes in a batch, at most: an estimate from above that is cheap, for the limits on effects and
 * batches. Strings count three bytes a code unit.
 */
export function entryBytesMax(entry: Entry): number {
  let size = 64 + 3 * (entry.command.length + entry.subject.length) + effectsBytesMax(entry.effects);
  for (const message of entry.messages) size += messageBytesMax(message);
  if (entry.deadLetter !== null) size += deadLetterBytesMax(entry.deadLetter);
  if (entry.result !== null) {
    size += 160 + keptBytesMax(entry.result.outcome);
  }
  for (const { key } of entry.expired) size += 24 + 2 * key.length;
  const part = entry.transaction;
  if (part !== null) size += transactionPartBytesMax(part);
  if (part?.type === "prepared") size += preparedBytesMax(part);
  return size + deliveredBytesMax * entry.delivered.length;
}

/** What a transaction is going to do takes in a batch, at most; about what it takes in memory. */
export function preparedBytesMax({ effects, messages }: Pick<PreparedPart, "effects" | "messages">): number {
  let size = effectsBytesMax(effects);
  for (const message of messages) size += messageBytesMax(message);
  return size;
}

function effectsBytesMax(effects: readonly EntityEffect[]): number {
  let size = 0;
  for (const effect of effects) {
    size += 96 + 3 * (effect.tenant.length + effect.kind.length + effect.id.length);
    if (effect.state instanceof Uint8Array) size += effect.state.length;
    for (const item of effect.items) {
      size += 24 + 3 * (item.collection.length + item.key.length) + (item.value?.length ?? 0);
    }
    for (const { key, timer } of effect.timers) {
      size += 40 + 3 * key.length;
      if (timer !== null) size += timer.input.length + 3 * (timer.command.length + timer.subject.length);
    }
  }
  return size;
}

/** Two slots and two numbers. */
const deliveredBytesMax = 25;

export function messageBytesMax(message: Omit<MessageRecord, "number">): number {
  const { tenant, kind, id, command, subject, input } = message;
  return 48 + input.length + 3 * (tenant.length + kind.length + id.length + command.length + subject.length);
}

/** What a dead letter takes in a batch, at most; about what it takes in the store. */
export function deadLetterBytesMax({ tenant, kind, id, command, input, code, detail }: DeadLetter): number {
  const texts = tenant.length + kind.length + id.length + command.length + code.length + detail.length;
  return 80 + input.length + 3 * texts;
}

// ----------------------------------------------------------------------------------------------------------- decoding

// The record's checksum and chain have vouched for these bytes, so a wrong shape is a bug or a newer writer: named, not
// guessed at. The casts below are that trust; `decodeBatch` turns any slip into `damaged`.

function unpackEffect(packed: Packed): EntityEffect {
  const [slot, tenant, kind, id, generation, version, schemaVersion, previousSequence, isBirth, state, items, timers] =
    packed;
  return {
    slot: slot as number,
    tenant: tenant as string,
    kind: kind as string,
    id: id as string,
    name: entityName(tenant as string, kind as string, id as string),
    generation: generation as number,
    version: version as number,
    isBirth: isBirth as boolean,
    schemaVersion: schemaVersion as number,
    previousSequence: previousSequence as number,
    state: state === false ? undefined : (state as Uint8Array | null),
    items: ((items ?? []) as Packed[]).map(([collection, key, value]) => ({
      collection: collection as string,
      key: key as string,
      value: value as Uint8Array | null,
    })),
    timers: ((timers ?? []) as Packed[]).map(([key, previousDueMs, timer]) => ({
      key: key as string,
      previousDueMs: previousDueMs as number | null,
      timer: timer === null ? null : unpackTimer(timer as Packed),
    })),
  };
}

function unpackTimer([dueMs, command, input, subject]: Packed): TimerRecord {
  return {
    dueMs: dueMs as number,
    command: command as string,
    input: input as Uint8Array,
    subject: subject as string,
  };
}

function unpackMessage(packed: Packed): MessageRecord {
  const [fromSlot, toSlot, number, tenant, kind, id, command, input, subject] = packed;
  return {
    fromSlot: fromSlot as number,
    toSlot: toSlot as number,
    number: number as number,
    tenant: tenant as string,
    kind: kind as string,
    id: id as string,
    command: command as string,
    input: input as Uint8Array,
    subject: subject as string,
  };
}

function unpackDeadLetter(packed: Packed): DeadLetter {
  const [slot, tenant, kind, id, command, input, code, detail, atMs, waits] = packed;
  return {
    slot: slot as number,
    tenant: tenant as string,
    kind: kind as string,
    id: id as string,
    command: command as string,
    input: input as Uint8Array,
    code: code as string,
    detail: detail as string,
    atMs: (atMs ?? 0) as number,
    waits: waits === true,
  };
}

function unpackResult(packed: Packed): ResultEffect {
  const [type, slot, name, expiresMs, outcome] = packed;
  const base = { slot: slot as number, expiresMs: expiresMs as number };
  const key: ResultKey =
    type === 0
      ? {
          type: "session",
          ...base,
          session: name as string,
          number: packed[5] as number,
          lowest: packed[6] as number,
          place: packed[7] as number,
          isBirth: packed[8] as boolean,
        }
      : { type: "idempotency", ...base, digest: name as string, fingerprint: packed[5] as Uint8Array };
  return { key, outcome: outcome as Uint8Array };
}

function unpackEntry(packed: Packed): Entry {
  const [origin, command, subject, effects, messages, consumed, deadLetter, result, expired, delivered, transaction] =
    packed;
  const known = origins[origin as number];
  assert(known !== undefined, "an entry's origin is one of those that this version knows");
  return {
    origin: known,
    command: command as string,
    subject: subject as string,
    effects: ((effects ?? []) as Packed[]).map(unpackEffect),
    messages: ((messages ?? []) as Packed[]).map(unpackMessage),
    consumed:
      (consumed ?? null) === null
        ? null
        : {
            fromSlot: (consumed as number[])[0]!,
            toSlot: (consumed as number[])[1]!,
            number: (consumed as number[])[2]!,
          },
    deadLetter: (deadLetter ?? null) === null ? null : unpackDeadLetter(deadLetter as Packed),
    result: (result ?? null) === null ? null : unpackResult(result as Packed),
    expired: ((expired ?? []) as Packed[]).map(([expiresMs, key]) => ({
      expiresMs: expiresMs as number,
      key: key as string,
    })),
    delivered: ((delivered ?? []) as number[][]).map(([fromSlot, toSlot, first, through]) => ({
      fromSlot: fromSlot!,
      toSlot: toSlot!,
      first: first!,
      through: through!,
    })),
    transaction: (transaction ?? null) === null ? null : unpackTransactionPart(transaction as Packed, preparedCodec),
  };
}

/** The entries of a batch's payload. Throws `damaged` where the payload isn't one. */
export function decodeBatch(payload: Uint8Array): readonly Entry[] {
  try {
    const packed = packr.unpack(payload) as Packed[];
    return packed.map(unpackEntry);
  } catch (cause) {
    throw new OnefoldError("damaged", "A batch's payload could not be decoded though its checksum is right.", {
      cause,
    });
  }
}

/** What a transaction is going to do here, as the store keeps it: with what its entry says besides. */
export interface StoredPrepared {
  readonly part: PreparedPart;
  /** The transaction's name. */
  readonly command: string;
  readonly subject: string;
}

/** A timer, a message and more as the store keeps them. */
export const storedRecords = {
  encodeTimer: (timer: TimerRecord): Uint8Array => packr.pack([timer.dueMs, timer.command, timer.input, timer.subject]),
  decodeTimer: (bytes: Uint8Array): TimerRecord => unpackTimer(packr.unpack(bytes) as Packed),
  encodeMessage: (message: MessageRecord): Uint8Array => packr.pack(packMessage(message)),
  decodeMessage: (bytes: Uint8Array): MessageRecord => unpackMessage(packr.unpack(bytes) as Packed),
  encodePrepared: ({ part, command, subject }: StoredPrepared): Uint8Array =>
    packr.pack([command, subject, packTransactionPart(part, preparedCodec)]),
  decodePrepared: (bytes: Uint8Array): StoredPrepared => {
    const [command, subject, part] = packr.unpack(bytes) as [string, string, Packed];
    return { command, subject, part: unpackTransactionPart(part, preparedCodec) as PreparedPart };
  },
  encodeDecision: (part: DecisionPart): Uint8Array => packr.pack(packTransactionPart(part, preparedCodec)),
  decodeDecision: (bytes: Uint8Array): DecisionPart =>
    unpackTransactionPart(packr.unpack(bytes) as Packed, preparedCodec) as DecisionPart,
  encodeDeadLetter: (letter: StoredDeadLetter): Uint8Array => packr.pack({ ...letter }),
  /** What early versions did not keep gets the value that says so. */
  decodeDeadLetter: (bytes: Uint8Array): StoredDeadLetter => ({
    atMs: 0,
    waits: false,
    subject: "",
    by: "message",
    ...(packr.unpack(bytes) as Omit<StoredDeadLetter, "atMs" | "waits" | "subject" | "by">),
  }),
} as const;
