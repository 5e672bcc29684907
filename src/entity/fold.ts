/**
 * state = fold(log): what a batch means for the store.
 *
 * F1  Pure: depends on the batch and its sequence alone, never on what the store holds, the clock or user code.
 * F2  Idempotent, and later batches win: any run of batches may be folded into one set of writes.
 * F3  The only knowledge of the tables' values is in this file and its readers at the bottom.
 */
import { Packr } from "msgpackr";
import { assert } from "../base/assert.ts";
import { OnefoldError } from "../base/errors.ts";
import { MessagePackWriter } from "../base/message-pack.ts";
import type { StoreReader, Write } from "../store/store.ts";
import { type EntityEffect, type Entry, type ResultEffect, type StoredPrepared, storedRecords } from "./batch.ts";
import { type DecisionPart, homeOf, type TransactionPart } from "./transaction-parts.ts";
import {
  afterPrefix,
  type BinaryString,
  binary,
  binaryOfBytes,
  bytesOfBinary,
  keys,
  readUint16,
  type TableName,
} from "./keys.ts";
import { type KeptOutcome, writeKept } from "./outcome.ts";

const packr = new Packr({ useRecords: false, useBigIntExtension: true, mapsAsObjects: true });

/** A place has two bytes in its key. */
const placesMax = 0x1_0000;

/** The store's writes of many batches, one for each key. What changes often is encoded only once it is final. */
export class WriteSet {
  readonly #writes = new Map<BinaryString, Uint8Array | ResultEffect | null>();
  /** By name, which an entity has at hand where its key would have to be made for each of its effects. */
  readonly #roots = new Map<BinaryString, Root>();
  readonly #resultKeys = new Map<BinaryString, Map<number, BinaryString>>();
  /** Slots that were touched, for incremental snapshots. */
  readonly slots = new Set<number>();
  /** Whether an entity's life ended, so that items may have been left behind. */
  hasGarbage = false;

  put(key: BinaryString, value: Uint8Array | ResultEffect | null): void {
    this.#writes.set(key, value);
  }

  putRoot(effect: EntityEffect, sequence: number): void {
    const known = this.#roots.get(effect.name);
    if (known === undefined) {
      this.#roots.set(effect.name, { effect, sequence });
      this.slots.add(effect.slot);
      return;
    }
    // Another version of the code has put it elsewhere (B3): then it stands in both places.
    if (known.effect.slot !== effect.slot) {
      this.put(keys.entity(known.effect.slot, effect.name), encodeRoot(known.effect, known.sequence));
      this.slots.add(effect.slot);
    }
    known.effect = effect;
    known.sequence = sequence;
  }

  /** `keys.sessionResult`. */
  resultKey(slot: number, session: BinaryString, place: number): BinaryString {
    let ofSession = this.#resultKeys.get(session);
    if (ofSession === undefined) {
      ofSession = new Map();
      this.#resultKeys.set(session, ofSession);
    }
    const at = slot * placesMax + place;
    let key = ofSession.get(at);
    if (key === undefined) {
      key = keys.sessionResult(slot, session, place);
      ofSession.set(at, key);
    }
    return key;
  }

  get size(): number {
    return this.#writes.size + this.#roots.size;
  }

  *[Symbol.iterator](): Iterator<Write> {
    for (const [key, value] of this.#writes) {
      yield {
        key: bytesOfBinary(key),
        value: value === null || value instanceof Uint8Array ? value : encodeSessionResult(value),
      };
    }
    // Last: a root that has moved away and back stands among the others as it was.
    for (const [name, { effect, sequence }] of this.#roots) {
      yield { key: bytesOfBinary(keys.entity(effect.slot, name)), value: encodeRoot(effect, sequence) };
    }
  }

  toArray(): Write[] {
    return [...this];
  }
}

/** The last effect on an entity's root. */
interface Root {
  effect: EntityEffect;
  sequence: number;
}

const writer = new MessagePackWriter(1024);

function encodeSessionResult({ key, outcome }: ResultEffect): Uint8Array {
  assert(key.type === "session", "of results only those of sessions are encoded late");
  writer.reset();
  writer.array(3);
  writer.number(key.number);
  writer.number(key.lowest);
  writeKept(writer, outcome);
  return writer.take();
}

function encodeIdempotency({ expiresMs, fingerprint, outcome }: StoredIdempotency): Uint8Array {
  writer.reset();
  writer.array(3);
  writer.number(expiresMs);
  writer.binary(fingerprint);
  writeKept(writer, outcome);
  return writer.take();
}

const present = new Uint8Array(0);

export function foldEntry(entry: Entry, sequence: number, index: number, writes: WriteSet): void {
  // First, because the entry may put a new record under a key that has expired.
  for (const { expiresMs, key } of entry.expired) {
    writes.slots.add(readUint16(key, 1));
    writes.put(keys.expiry(expiresMs, key), null);
    writes.put(key, null);
  }
  for (const effect of entry.effects) foldEffect(effect, sequence, writes);
  for (const message of entry.messages) {
    const { fromSlot, toSlot, number } = message;
    writes.slots.add(fromSlot);
    writes.put(keys.outbox(fromSlot, toSlot, number), storedRecords.encodeMessage(message));
    writes.put(keys.outboxNumber(fromSlot, toSlot), packr.pack(number));
  }
  if (entry.consumed !== null) {
    const { fromSlot, toSlot, number } = entry.consumed;
    writes.slots.add(fromSlot);
    writes.slots.add(toSlot);
    writes.put(keys.inboxNumber(toSlot, fromSlot), packr.pack(number));
    writes.put(keys.outbox(fromSlot, toSlot, number), null);
  }
  for (const { fromSlot, toSlot, first, through } of entry.delivered) {
    writes.slots.add(fromSlot);
    for (let number = first; number <= through; number++) writes.put(keys.outbox(fromSlot, toSlot, number), null);
  }
  if (entry.deadLetter !== null) {
    writes.slots.add(entry.deadLetter.slot);
    writes.put(
      keys.deadLetter(entry.deadLetter.slot, sequence, index),
      storedRecords.encodeDeadLetter({ ...entry.deadLetter, subject: entry.subject, by: entry.origin }),
    );
  }
  if (entry.result !== null) foldResult(entry.result, writes);
  if (entry.transaction !== null) foldTransactionPart(entry.transaction, entry, writes);
}

/** What an outcome brings stands in its entry like any other effect, so nothing has to be looked up (F1). */
function foldTransactionPart(part: TransactionPart, { command, subject }: Entry, writes: WriteSet): void {
  switch (part.type) {
    case "prepared": {
      writes.slots.add(part.slot);
      writes.put(keys.prepared(part.slot, part.id), storedRecords.encodePrepared({ part, command, subject }));
      return;
    }
    case "outcome": {
      writes.slots.add(part.slot);
      writes.put(keys.prepared(part.slot, part.id), null);
      return;
    }
    case "decision": {
      const { slot } = homeOf(part.id);
      writes.slots.add(slot);
      writes.put(keys.decision(slot, part.id), storedRecords.encodeDecision(part));
      return;
    }
    case "forgotten":
      for (const id of part.ids) {
        const { slot } = homeOf(id);
        writes.slots.add(slot);
        writes.put(keys.decision(slot, id), null);
      }
  }
}

function foldEffect(effect: EntityEffect, sequence: number, writes: WriteSet): void {
  const { slot, name, generation } = effect;
  if (effect.state === undefined) {
    writes.slots.add(slot);
    writes.put(keys.touch(slot, name), encodeTouch(effect, sequence));
  } else {
    writes.putRoot(effect, sequence);
    if (effect.state === null) {
      writes.put(keys.listing(name), null);
      // The items stay behind under their generation, invisible, until the store's own sweep removes them.
      writes.put(keys.garbage(slot, name, generation), present);
      writes.hasGarbage = true;
    } else if (effect.isBirth) {
      writes.put(keys.listing(name), packr.pack(slot));
    }
  }
  for (const item of effect.items) {
    writes.put(keys.items(slot, name, generation, item.collection) + binary(item.key), item.value);
  }
  for (const { key, timer, previousDueMs } of effect.timers) {
    if (previousDueMs !== null) writes.put(keys.timerDue(previousDueMs, slot, name, key), null);
    writes.put(keys.timer(slot, name, key), timer === null ? null : storedRecords.encodeTimer(timer));
    if (timer !== null) writes.put(keys.timerDue(timer.dueMs, slot, name, key), packr.pack([slot, name, key]));
  }
}

function foldResult(result: ResultEffect, writes: WriteSet): void {
  const { key, outcome } = result;
  writes.slots.add(key.slot);
  if (key.type === "idempotency") {
    const at = keys.idempotency(key.slot, key.digest);
    writes.put(at, encodeIdempotency({ expiresMs: key.expiresMs, fingerprint: key.fingerprint, outcome }));
    writes.put(keys.expiry(key.expiresMs, at), present);
    return;
  }
  const { slot, session, place, isBirth, expiresMs } = key;
  writes.put(writes.resultKey(slot, session, place), result);
  if (isBirth) writes.put(keys.expiry(expiresMs, keys.session(slot, session)), present);
}

/** Folds a whole batch. */
export function foldBatch(entries: readonly Entry[], sequence: number, writes: WriteSet): void {
  for (let index = 0; index < entries.length; index++) foldEntry(entries[index]!, sequence, index, writes);
}

// ------------------------------------------------------------------------------------------------------ values' shapes

/** What the store knows of an entity's root. */
export interface StoredEntity {
  readonly generation: number;
  readonly version: number;
  readonly schemaVersion: number;
  /** The sequence of the batch that touched it last. */
  readonly lastSequence: number;
  /** Null: the generation has ended. */
  readonly state: Uint8Array | null;
}

function encodeRoot(effect: EntityEffect, sequence: number): Uint8Array {
  return packr.pack([effect.generation, effect.version, effect.schemaVersion, sequence, effect.state]);
}

function encodeTouch(effect: EntityEffect, sequence: number): Uint8Array {
  return packr.pack([effect.generation, effect.version, effect.schemaVersion, sequence]);
}

function unpack<T>(bytes: Uint8Array, what: string): T {
  return decoded(bytes, what, (packed) => packr.unpack(packed) as T);
}

function decoded<T>(bytes: Uint8Array, what: string, decode: (bytes: Uint8Array) => T): T {
  try {
    return decode(bytes);
  } catch (cause) {
    throw new OnefoldError("damaged", `The store's ${what} could not be decoded though its checksum is right.`, {
      cause,
    });
  }
}

/** Reads an entity's root and, where there can be one, the later touch that left the root as it was. */
export function readEntity(
  store: StoreReader,
  slot: number,
  name: BinaryString,
  thresholdBytes: number,
): StoredEntity | undefined {
  const bytes = store.get(bytesOfBinary(keys.entity(slot, name)));
  if (bytes === undefined) return undefined;
  const [generation, version, schemaVersion, lastSequence, state] = unpack<
    [number, number, number, number, Uint8Array | null]
  >(bytes, "entity");
  const root = { generation, version, schemaVersion, lastSequence, state };
  if (state === null || state.length <= thresholdBytes) return root;
  const touch = store.get(bytesOfBinary(keys.touch(slot, name)));
  if (touch === undefined) return root;
  const [touchGeneration, touchVersion, , touchSequence] = unpack<[number, number, number, number]>(touch, "touch");
  // By version, not by sequence: one batch may hold a new root and, after it, a touch; and a touch may be of an earlier life.
  if (touchGeneration !== generation || touchVersion <= version) return root;
  return { ...root, version: touchVersion, lastSequence: touchSequence };
}

export function readNumber(store: StoreReader, key: BinaryString): number {
  const bytes = store.get(bytesOfBinary(key));
  return bytes === undefined ? 0 : unpack<number>(bytes, "number");
}

export interface StoredSessionResult {
  readonly number: number;
  /** The session's lowest unanswered number, as it was known then. */
  readonly lowest: number;
  readonly outcome: Uint8Array;
}

export function readSessionResult(bytes: Uint8Array): StoredSessionResult {
  const [number, lowest, outcome] = unpack<[number, number, Uint8Array]>(bytes, "session result");
  return { number, lowest, outcome };
}

export interface StoredIdempotency {
  readonly expiresMs: number;
  readonly fingerprint: Uint8Array;
  readonly outcome: KeptOutcome;
}

export function readIdempotency(store: StoreReader, slot: number, digest: BinaryString): StoredIdempotency | undefined {
  const bytes = store.get(bytesOfBinary(keys.idempotency(slot, digest)));
  if (bytes === undefined) return undefined;
  const [expiresMs, fingerprint, outcome] = unpack<[number, Uint8Array, Uint8Array]>(bytes, "idempotency record");
  return { expiresMs, fingerprint, outcome };
}

export function readPrepared(bytes: Uint8Array): StoredPrepared {
  return decoded(bytes, "prepared transaction", storedRecords.decodePrepared);
}

export function readDecision(bytes: Uint8Array): DecisionPart {
  return decoded(bytes, "decision", storedRecords.decodeDecision);
}

export function decodeDueTimer(value: Uint8Array): { slot: number; name: BinaryString; key: string } {
  const [slot, name, key] = unpack<[number, string, string]>(value, "timer index");
  return { slot, name, key };
}

/** The slot of a listed entity. */
export function decodeListing(value: Uint8Array): number {
  return unpack<number>(value, "listing");
}

/** Whether a table of the store has anything in it. */
export function hasRowsOf(store: StoreReader, name: TableName): boolean {
  for (const _row of entriesWithPrefix(store, keys.table(name), { limit: 1 })) return true;
  return false;
}

/** All entries whose key starts with `prefix`, keys as binary strings. */
export function* entriesWithPrefix(
  store: StoreReader,
  prefix: BinaryString,
  options: { readonly limit?: number } = {},
): Iterable<{ readonly key: BinaryString; readonly value: Uint8Array }> {
  const range = { from: bytesOfBinary(prefix), to: bytesOfBinary(afterPrefix(prefix)) };
  const limit = options.limit;
  for (const entry of store.range(limit === undefined ? range : { ...range, limit })) {
    yield { key: binaryOfBytes(entry.key), value: entry.value };
  }
}
