/**
 * The keys of the store: which table, which slot, which thing. Specified in `docs/format.md`.
 *
 * K1  A key is built and compared as a *binary string*: a JavaScript string whose code units are its bytes (0–255). Maps in
 *     memory use it as it is; the store gets its bytes. No two things share a key.
 * K2  Tables below 0x80 start with [table][slot, big-endian]: everything that moves when a shard splits. Tables from 0x80 on
 *     are indexes over all slots, derived from the slot tables.
 * K3  Parts that come from users are UTF-8 and end with a zero byte, which none of them may contain.
 */
import { encodeUtf8 } from "../base/bytes.ts";

export type BinaryString = string;

export const tables = {
  entity: 0x01,
  item: 0x02,
  sessionResult: 0x03,
  idempotency: 0x04,
  outbox: 0x05,
  outboxNumber: 0x06,
  inboxNumber: 0x07,
  timer: 0x08,
  deadLetter: 0x09,
  touch: 0x0a,
  session: 0x0b,
  prepared: 0x10,
  decision: 0x11,
  listing: 0x80,
  timerDue: 0x81,
  expiry: 0x82,
  garbage: 0x83,
  meta: 0x84,
} as const;

export type TableName = keyof typeof tables;

/** The UTF-8 bytes of `text`; the same string where it is ASCII, which is the common case. */
export function binary(text: string): BinaryString {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) return binaryOfBytes(encodeUtf8(text));
  }
  return text;
}

export function binaryOfBytes(bytes: Uint8Array): BinaryString {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

export function bytesOfBinary(text: BinaryString): Uint8Array {
  return Buffer.from(text, "latin1");
}

export function textOfBinary(text: BinaryString): string {
  return Buffer.from(text, "latin1").toString("utf8");
}

export function uint16(value: number): BinaryString {
  return String.fromCharCode(value >>> 8, value & 0xff);
}

export function uint32(value: number): BinaryString {
  return String.fromCharCode(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

/** Exact for integers up to 2^53 − 1. */
export function uint64(value: number): BinaryString {
  return uint32(Math.floor(value / 0x1_0000_0000)) + uint32(value % 0x1_0000_0000);
}

export function readUint16(text: BinaryString, at: number): number {
  return (text.charCodeAt(at) << 8) | text.charCodeAt(at + 1);
}

export function readUint64(text: BinaryString, at: number): number {
  let value = 0;
  for (let i = 0; i < 8; i++) value = value * 256 + text.charCodeAt(at + i);
  return value;
}

function table(name: TableName): BinaryString {
  return String.fromCharCode(tables[name]);
}

function slotTable(name: TableName, slot: number): BinaryString {
  return String.fromCharCode(tables[name], slot >>> 8, slot & 0xff);
}

/** Tenant, kind and id: the identity of an entity everywhere in memory, and the tail of its keys. */
export function entityName(tenant: string, kind: string, id: string): BinaryString {
  return `${tenant}\0${kind}\0${binary(id)}\0`;
}

/** The parts of an `entityName`. */
export function parseEntityName(name: BinaryString): { tenant: string; kind: string; id: string } {
  const first = name.indexOf("\0");
  const second = name.indexOf("\0", first + 1);
  return {
    tenant: name.slice(0, first),
    kind: name.slice(first + 1, second),
    id: textOfBinary(name.slice(second + 1, -1)),
  };
}

export const keys = {
  entity: (slot: number, name: BinaryString) => slotTable("entity", slot) + name,
  touch: (slot: number, name: BinaryString) => slotTable("touch", slot) + name,
  /** All items of one collection of one life of an entity; append `binary(itemKey)` for one of them. */
  items: (slot: number, name: BinaryString, generation: number, collection: string) =>
    `${slotTable("item", slot)}${name}${uint32(generation)}${collection}\0`,
  /** All items of a life of an entity, from the tail of its `garbage` key: name and generation. */
  itemsOfGenerationTail: (slot: number, tail: BinaryString) => slotTable("item", slot) + tail,
  timers: (slot: number, name: BinaryString) => slotTable("timer", slot) + name,
  timer: (slot: number, name: BinaryString, key: string) => slotTable("timer", slot) + name + binary(key),
  timerDue: (dueMs: number, slot: number, name: BinaryString, key: string) =>
    table("timerDue") + uint64(dueMs) + uint16(slot) + name + binary(key),
  /** A session at a slot, by name; the rows of it are `sessionResults`. */
  session: (slot: number, session: BinaryString) => slotTable("session", slot) + session,
  sessionResults: (slot: number, session: BinaryString) => slotTable("sessionResult", slot) + session,
  /** The outcome in one place; see `live-sessions.ts`. */
  sessionResult: (slot: number, session: BinaryString, place: number) =>
    slotTable("sessionResult", slot) + session + uint16(place),
  idempotency: (slot: number, digest: BinaryString) => slotTable("idempotency", slot) + digest,
  outbox: (from: number, to: number, number: number) => slotTable("outbox", from) + uint16(to) + uint64(number),
  outboxNumber: (from: number, to: number) => slotTable("outboxNumber", from) + uint16(to),
  inboxNumber: (to: number, from: number) => slotTable("inboxNumber", to) + uint16(from),
  deadLetter: (slot: number, sequence: number, index: number) =>
    slotTable("deadLetter", slot) + uint64(sequence) + uint32(index),
  /** What a transaction is going to do at a slot. */
  prepared: (slot: number, transaction: BinaryString) => slotTable("prepared", slot) + transaction,
  /** A transaction's decision, at its home. */
  decision: (homeSlot: number, transaction: BinaryString) => slotTable("decision", homeSlot) + transaction,
  listing: (name: BinaryString) => table("listing") + name,
  /** The listing of one kind; ids follow. */
  listingOfKind: (tenant: string, kind: string) => `${table("listing")}${tenant}\0${kind}\0`,
  expiry: (expiresMs: number, key: BinaryString) => table("expiry") + uint64(expiresMs) + key,
  garbage: (slot: number, name: BinaryString, generation: number) =>
    table("garbage") + uint16(slot) + name + uint32(generation),
  meta: (name: string) => `${table("meta")}${name}`,
  table,
} as const;

/** The first key after all keys that start with `prefix`. */
export function afterPrefix(prefix: BinaryString): BinaryString {
  let end = prefix.length;
  while (end > 0 && prefix.charCodeAt(end - 1) === 0xff) end--;
  return prefix.slice(0, end - 1) + String.fromCharCode(prefix.charCodeAt(end - 1) + 1);
}
