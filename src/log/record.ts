/**
 * The record: one batch as it stands in every log, with every engine alike. Specified byte by byte in `docs/format.md`.
 *
 * R1  A record's hash is SHA-256 over its whole encoding, which holds the hash of the record before it: the chain.
 * R2  The hash covers incarnation, epoch and sequence, so a record can't be moved to another place or another life.
 * R3  `readerVersion` is the least version of the format that understands the payload; an older reader stops (G11).
 * R4  The header's layout and its CRC are the same in every version, so that "newer" is never mistaken for "damaged".
 * R5  A genesis has sequence 1, or it continues another log: then it has the sequence and hash of that one's last record for
 *     its predecessor's, an incarnation of its own, and `continuingVersion` for its reader version. (The system log's successors begin at
 *     a sequence of their own: `cluster/system-names.ts`.)
 */
import { assert } from "../base/assert.ts";
import { crc32, sha256, sha256Bytes } from "../base/digest.ts";
import { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { LogPosition } from "./log.ts";

/** The version of payloads and records that this program writes, but for those that need one of the two below. */
export const formatVersion = 1;
/** A genesis above sequence 1, which continues another log's numbers (R5). Readers of version 1 know no such thing. */
export const continuingVersion = 2;
/** A batch with effects that only a system of several shards has (`entity/batch.ts`). Readers of version 2 would pass over them. */
export const crossingVersion = 3;
/** The highest version of records that this program reads. */
export const readableVersionMax = crossingVersion;

/** The kinds of record. A kind is a promise about the payload; new kinds raise `readerVersion`. */
export const recordKinds = { genesis: 1, batch: 2, claim: 3, release: 4, seal: 5 } as const;
export type RecordKind = keyof typeof recordKinds;

export const incarnationBytes = 16;
export const recordHeaderBytes = 96;
export const recordPayloadBytesMax = limits.batchBytesMax;
export const recordBytesMax = recordHeaderBytes + recordPayloadBytesMax;

export interface RecordHeader {
  readonly kind: RecordKind;
  readonly readerVersion: number;
  readonly incarnation: Uint8Array;
  readonly epoch: number;
  readonly sequence: number;
  /** Log time in milliseconds since the Unix epoch: never less than the record's before it. */
  readonly timeMs: number;
  /** 32 zero bytes for a genesis with sequence 1. */
  readonly previousHash: Uint8Array;
}

export interface LogRecord extends RecordHeader {
  /** A view of `bytes`. */
  readonly payload: Uint8Array;
  /** SHA-256 of the whole encoding. */
  readonly hash: Uint8Array;
  /** The whole encoding: what moves to another log, unchanged. */
  readonly bytes: Uint8Array;
}

export interface EncodedRecord {
  readonly bytes: Uint8Array;
  readonly hash: Uint8Array;
}

/** `previousHash` of a genesis with sequence 1. */
export const noHash: Uint8Array = new Uint8Array(sha256Bytes);

const magic = 0x444c4631; // "1FLD", little-endian
const at = {
  magic: 0,
  formatVersion: 4,
  readerVersion: 6,
  kind: 8,
  reserved: 9,
  payloadBytes: 12,
  epoch: 16,
  sequence: 24,
  timeMs: 32,
  incarnation: 40,
  previousHash: 56,
  payloadCrc: 88,
  headerCrc: 92,
} as const;

const kindNames: ReadonlyMap<number, RecordKind> = new Map(
  (Object.keys(recordKinds) as RecordKind[]).map((name) => [recordKinds[name], name]),
);

/**
 * Encodes a record and gives its hash. `payload` is copied; the result is the caller's own.
 * Throws `too-large` for a payload over `recordPayloadBytesMax` (retry `never`); anything else wrong is a bug.
 */
export function encodeRecord(header: RecordHeader, payload: Uint8Array): EncodedRecord {
  if (payload.length > recordPayloadBytesMax) {
    throw new OnefoldError("too-large", "A record's payload is larger than the limit. Split it into several records.", {
      details: { sizeBytes: payload.length, sizeBytesMax: recordPayloadBytesMax },
    });
  }
  assert(header.incarnation.length === incarnationBytes, "an incarnation has 16 bytes");
  assert(header.previousHash.length === sha256Bytes, "a hash has 32 bytes");
  const continues = header.kind === "genesis" && header.sequence > 1;
  assert(isVersionOf(header, { continues }), "a record needs no reader but its own");
  assert(continues || (header.kind === "genesis") === (header.sequence === 1), "nothing but a genesis has sequence 1");
  const bytes = new Uint8Array(recordHeaderBytes + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(at.magic, magic, true);
  view.setUint16(at.formatVersion, header.readerVersion, true);
  view.setUint16(at.readerVersion, header.readerVersion, true);
  view.setUint8(at.kind, recordKinds[header.kind]);
  view.setUint32(at.payloadBytes, payload.length, true);
  setWhole(view, at.epoch, header.epoch);
  setWhole(view, at.sequence, header.sequence);
  setWhole(view, at.timeMs, header.timeMs);
  bytes.set(header.incarnation, at.incarnation);
  bytes.set(header.previousHash, at.previousHash);
  bytes.set(payload, recordHeaderBytes);
  view.setUint32(at.payloadCrc, crc32(payload), true);
  view.setUint32(at.headerCrc, crc32(bytes.subarray(0, at.headerCrc)), true);
  return { bytes, hash: sha256(bytes) };
}

function isVersionOf({ kind, readerVersion }: RecordHeader, { continues }: { readonly continues: boolean }): boolean {
  if (continues) return readerVersion === continuingVersion;
  return readerVersion === formatVersion || (kind === "batch" && readerVersion === crossingVersion);
}

/**
 * Verifies the header of a whole encoded record, but not its payload: for writers that have just encoded it.
 * Throws as `decodeRecord` does.
 */
export function decodeRecordHeader(bytes: Uint8Array): RecordHeader {
  if (bytes.length < recordHeaderBytes) {
    throw damaged(`the record has ${bytes.length} bytes, fewer than its header`, 0);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, recordHeaderBytes);
  if (view.getUint32(at.magic, true) !== magic) throw damaged("the record's magic number is wrong", at.magic);
  if (view.getUint32(at.headerCrc, true) !== crc32(bytes.subarray(0, at.headerCrc))) {
    throw damaged("the record header's checksum is wrong", at.headerCrc);
  }
  // The checksum holds (R4): from here on a version that is too new is what its writer meant.
  const readerVersion = view.getUint16(at.readerVersion, true);
  if (readerVersion > readableVersionMax) {
    throw new OnefoldError(
      "unsupported-version",
      `The record needs a reader of format ${readerVersion}. Upgrade Onefold.`,
      {
        details: { neededVersion: readerVersion, supportedVersion: readableVersionMax },
      },
    );
  }
  if (readerVersion === 0) throw damaged("the record's reader version is 0", at.readerVersion);
  const kind = kindNames.get(view.getUint8(at.kind));
  if (kind === undefined) throw damaged("the record's kind is unknown", at.kind);
  if (recordHeaderBytes + view.getUint32(at.payloadBytes, true) !== bytes.length) {
    throw damaged("the record's length differs from what its header says", at.payloadBytes);
  }
  const sequence = getWhole(view, at.sequence);
  if (sequence < 1) throw damaged("the record's sequence is 0", at.sequence);
  const continues = kind === "genesis" && sequence > 1 && readerVersion >= continuingVersion;
  if (!continues && (kind === "genesis") !== (sequence === 1)) {
    throw damaged("a genesis must have sequence 1 or continue another log, others neither", at.kind);
  }
  return {
    kind,
    readerVersion,
    incarnation: new Uint8Array(bytes.subarray(at.incarnation, at.incarnation + incarnationBytes)),
    epoch: getWhole(view, at.epoch),
    sequence,
    timeMs: getWhole(view, at.timeMs),
    previousHash: new Uint8Array(bytes.subarray(at.previousHash, at.previousHash + sha256Bytes)),
  };
}

/**
 * Verifies and decodes one whole record. The result keeps views of `bytes`, which must not change afterwards.
 * Throws `damaged` (retry `never`) where it is not exactly a record, with what is wrong and at which byte offset in
 * `details`; `unsupported-version` (retry `never`) where it is one for a newer reader, with `details.neededVersion`.
 */
export function decodeRecord(bytes: Uint8Array): LogRecord {
  const header = decodeRecordHeader(bytes);
  const payload = bytes.subarray(recordHeaderBytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, recordHeaderBytes);
  if (view.getUint32(at.payloadCrc, true) !== crc32(payload)) {
    throw damaged("the record payload's checksum is wrong", recordHeaderBytes);
  }
  return { ...header, payload, bytes, hash: sha256(bytes) };
}

/** The position that a record gives its log. */
export function positionOf(record: Pick<LogRecord, "incarnation" | "epoch" | "sequence" | "hash">): LogPosition {
  return {
    incarnation: record.incarnation,
    epoch: record.epoch,
    sequence: record.sequence,
    hash: record.hash,
  };
}

function damaged(reason: string, offset: number): OnefoldError {
  return new OnefoldError("damaged", `A log record is damaged: ${reason}.`, { details: { reason, offset } });
}

function setWhole(view: DataView, offset: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, "records hold whole numbers from 0 to 2^53 - 1");
  view.setUint32(offset, value % 0x1_0000_0000, true);
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true);
}

function getWhole(view: DataView, offset: number): number {
  const value = view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 0x1_0000_0000;
  if (!Number.isSafeInteger(value)) throw damaged("a number is larger than 2^53 - 1", offset);
  return value;
}

export type { LogPosition };
