/**
 * The bytes of a backup: one stream, a header, then parts. Specified in `docs/format.md`; pure.
 *
 * F1  Every byte is covered: header and part headers by their CRC-32, contents by the SHA-256 in their part's header.
 * F2  A part's header says which part of which backup it is, so that none can be left out, doubled, moved or taken from another
 *     backup without being found out.
 * F3  Nothing is said to be a backup before its last part, the summary, has been read: a cut is never a shorter backup.
 * F4  The header's layout is the same in every version, so that "newer" is never mistaken for "damaged".
 */
import { assert } from "../base/assert.ts";
import { crc32, sha256Bytes } from "../base/digest.ts";
import { OnefoldError } from "../base/errors.ts";
import { blobBytesMax } from "../store/blobs.ts";

/** The newest version that this program reads. A backup of one log is written in version 1, which older programs read; of a cluster in 2. */
export const backupFormatVersion = 2;
export type BackupVersion = 1 | 2;
export const backupContentType = "application/vnd.onefold.backup";
export const backupHeaderBytes = 64;
export const partHeaderBytes = 64;
export const backupIdBytes = 16;

/**
 * A blob of the snapshot (a piece; in version 1 also the manifest, behind them), or what the backup is: the last part. In version 2 a
 * manifest begins the section of one shard, whose pieces follow.
 */
export const partKinds = { blob: 1, summary: 2, manifest: 3 } as const;
export type PartKind = keyof typeof partKinds;

/** No content is larger; a longer one is damage, not a reason to take so much memory. */
export const partContentBytesMax: Readonly<Record<PartKind, number>> = {
  blob: blobBytesMax,
  manifest: blobBytesMax,
  summary: 1024 * 1024,
};

export interface BackupHeader {
  readonly version: BackupVersion;
  /** 16 random bytes, of this backup alone. */
  readonly id: Uint8Array;
  /** When it was begun, milliseconds since the Unix epoch; for people. */
  readonly takenAtMs: number;
}

export interface PartHeader {
  readonly kind: PartKind;
  /** From 0. */
  readonly index: number;
  readonly contentBytes: number;
  /** SHA-256 of the content. */
  readonly hash: Uint8Array;
}

const headerMagic = 0x4b424631; // "1FBK", little-endian
const partMagic = 0x50424631; // "1FBP"
const crcOffset = 60;

export function encodeBackupHeader(header: BackupHeader): Uint8Array {
  assert(header.id.length === backupIdBytes, "a backup's id has 16 bytes");
  const bytes = new Uint8Array(backupHeaderBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, headerMagic, true);
  view.setUint16(4, header.version, true);
  view.setUint16(6, header.version, true);
  setWhole(view, 8, header.takenAtMs);
  bytes.set(header.id, 16);
  view.setUint32(crcOffset, crc32(bytes.subarray(0, crcOffset)), true);
  return bytes;
}

/** Throws `damaged`; `unsupported-version` (both retry never) for a newer backup. `bytes` has 64. */
export function decodeBackupHeader(bytes: Uint8Array): BackupHeader {
  const view = viewOf(bytes, backupHeaderBytes);
  if (view.getUint32(0, true) !== headerMagic) throw damagedBackup("header", 0, "it does not begin as a backup does");
  if (view.getUint32(crcOffset, true) !== crc32(bytes.subarray(0, crcOffset))) {
    throw damagedBackup("header", 0, "its checksum does not hold");
  }
  const neededVersion = view.getUint16(6, true);
  if (neededVersion > backupFormatVersion) {
    throw new OnefoldError("unsupported-version", `The backup needs format ${neededVersion}. Upgrade Onefold.`, {
      details: { neededVersion, supportedVersion: backupFormatVersion },
    });
  }
  return {
    version: neededVersion < 2 ? 1 : 2,
    id: Uint8Array.from(bytes.subarray(16, 16 + backupIdBytes)),
    takenAtMs: getWhole(view, 8),
  };
}

/** `id` is the backup's. */
export function encodePartHeader(header: PartHeader, id: Uint8Array): Uint8Array {
  assert(header.hash.length === sha256Bytes, "a hash has 32 bytes");
  assert(header.contentBytes <= partContentBytesMax[header.kind], "a part's content is within its limit");
  const bytes = new Uint8Array(partHeaderBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, partMagic, true);
  view.setUint8(4, partKinds[header.kind]);
  setWhole(view, 8, header.index);
  setWhole(view, 16, header.contentBytes);
  bytes.set(header.hash, 24);
  view.setUint32(crcOffset, partChecksum(bytes, id), true);
  return bytes;
}

/** Throws `damaged` unless these are the header of part `index` of backup `id`. `offset` is where they stand, for the error. */
export function decodePartHeader(
  bytes: Uint8Array,
  expected: Pick<BackupHeader, "id" | "version"> & { readonly index: number; readonly offset: number },
): PartHeader {
  const view = viewOf(bytes, partHeaderBytes);
  const { id, version, index, offset } = expected;
  const damaged = (reason: string): OnefoldError => damagedBackup(`part ${index}`, offset, reason);
  if (view.getUint32(0, true) !== partMagic) throw damaged("its header does not begin as one does");
  if (view.getUint32(crcOffset, true) !== partChecksum(bytes, id)) {
    throw damaged("its header's checksum does not hold, or it is of another backup");
  }
  const found = getWhole(view, 8);
  if (found !== index) throw damaged(`part ${found} stands in its place`);
  const kind = kindOf(view.getUint8(4), version);
  if (kind === undefined) throw damaged("its kind is unknown");
  const contentBytes = getWhole(view, 16);
  if (contentBytes > partContentBytesMax[kind]) throw damaged(`it is said to have ${contentBytes} bytes`);
  return { kind, index, contentBytes, hash: Uint8Array.from(bytes.subarray(24, 24 + sha256Bytes)) };
}

export interface BackupDamage {
  /** `header`, `part 12`, `end`, … */
  readonly part: string;
  /** Bytes from the backup's begin to where that part starts. */
  readonly offset: number;
  readonly reason: string;
}

/** An `OnefoldError("damaged")` (retry never) whose `details` are the `BackupDamage`. */
export function damagedBackup(part: string, offset: number, reason: string): OnefoldError {
  const details: BackupDamage = { part, offset, reason };
  return new OnefoldError(
    "damaged",
    `The backup is damaged at its ${part}, byte ${offset}: ${reason}. Nothing is restored from it; take another one.`,
    { details },
  );
}

function partChecksum(bytes: Uint8Array, id: Uint8Array): number {
  return crc32(bytes.subarray(0, crcOffset), crc32(id));
}

function kindOf(code: number, version: BackupVersion): PartKind | undefined {
  if (code === partKinds.blob) return "blob";
  if (code === partKinds.summary) return "summary";
  return code === partKinds.manifest && version === 2 ? "manifest" : undefined;
}

function viewOf(bytes: Uint8Array, length: number): DataView {
  assert(bytes.length === length, `a header has ${length} bytes`);
  return new DataView(bytes.buffer, bytes.byteOffset, length);
}

function setWhole(view: DataView, offset: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, "formats hold whole numbers from 0 to 2^53 - 1");
  view.setBigUint64(offset, BigInt(value), true);
}

function getWhole(view: DataView, offset: number): number {
  return Number(view.getBigUint64(offset, true));
}
