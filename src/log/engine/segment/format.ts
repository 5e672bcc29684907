/**
 * The bytes of segment files: header sector and frames. Specified in `docs/format.md`; pure.
 *
 * F1  A frame starts at a multiple of 512 bytes and shares no sector with another frame.
 * F2  No sector of a frame, as written, is all zeros, and none becomes so by one flipped bit. So a zero sector inside a frame
 *     means that the sector was never written: the append was torn and never acknowledged. That is how a torn append is
 *     told from a damaged one.
 * F3  A frame header's checksum covers its segment's salt: bytes from elsewhere, even a copy of this very log kept as a
 *     payload, are not mistaken for a frame of this segment.
 *
 * The assumption underneath: the disk writes a sector of 512 bytes whole or not at all.
 */
import { assert } from "../../../base/assert.ts";
import { crc32, sha256Bytes } from "../../../base/digest.ts";
import { incarnationBytes, recordBytesMax } from "../../record.ts";
import type { ChainLink } from "../../chain.ts";

export const sectorBytes = 512;
export const segmentHeaderBytes = sectorBytes;
export const frameHeaderBytes = 32;
export const segmentFormatVersion = 1;
export const saltBytes = 16;

const wordsPerSector = sectorBytes / 4;
const segmentMagic = 0x47534631; // "1FSG", little-endian
const frameMagic = 0x52464631; // "1FFR"

/** Bytes of the frame that holds a record of `recordBytes`. */
export function frameBytesFor(recordBytes: number): number {
  return Math.ceil((frameHeaderBytes + recordBytes) / sectorBytes) * sectorBytes;
}

export const frameBytesMax = frameBytesFor(recordBytesMax);

// ------------------------------------------------------------------------------------------------------ segment header

export interface SegmentHeader {
  readonly segmentBytes: number;
  readonly firstSequence: number;
  /** Where the segment before this one starts; 0 in the very first. */
  readonly previousFirstSequence: number;
  readonly incarnation: Uint8Array;
  /** The record before the first; null in the segment of the genesis. */
  readonly before: ChainLink | null;
  /** Random, new for every segment (F3). */
  readonly salt: Uint8Array;
}

export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  assert(header.salt.length === saltBytes, "a salt has 16 bytes");
  assert((header.before?.sequence ?? 0) === header.firstSequence - 1, "a segment goes on where the one before it ends");
  const bytes = new Uint8Array(segmentHeaderBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, segmentMagic, true);
  view.setUint16(4, segmentFormatVersion, true);
  view.setUint16(6, segmentFormatVersion, true);
  setWhole(view, 8, header.segmentBytes);
  setWhole(view, 16, header.firstSequence);
  setWhole(view, 24, header.previousFirstSequence);
  bytes.set(header.incarnation, 32);
  setWhole(view, 48, header.before?.epoch ?? 0);
  setWhole(view, 56, header.before?.timeMs ?? 0);
  if (header.before !== null) bytes.set(header.before.hash, 64);
  bytes.set(header.salt, 96);
  view.setUint32(508, crc32(bytes.subarray(0, 508)), true);
  return bytes;
}

/** A header, or why these bytes are none, as a clause, or the reader version that they need. */
export type DecodedSegmentHeader =
  | { readonly kind: "header"; readonly header: SegmentHeader }
  | { readonly kind: "bad"; readonly reason: string }
  | { readonly kind: "newer"; readonly neededVersion: number };

export function decodeSegmentHeader(bytes: Uint8Array): DecodedSegmentHeader {
  if (bytes.length < segmentHeaderBytes) return { kind: "bad", reason: "the file is shorter than a segment's header" };
  const view = new DataView(bytes.buffer, bytes.byteOffset, segmentHeaderBytes);
  if (view.getUint32(0, true) !== segmentMagic) return { kind: "bad", reason: "the segment's magic number is wrong" };
  if (view.getUint32(508, true) !== crc32(bytes.subarray(0, 508))) {
    return { kind: "bad", reason: "the segment header's checksum is wrong" };
  }
  const neededVersion = view.getUint16(6, true);
  if (neededVersion > segmentFormatVersion) return { kind: "newer", neededVersion };
  const firstSequence = getWhole(view, 16);
  const incarnation = new Uint8Array(bytes.subarray(32, 32 + incarnationBytes));
  const before: ChainLink | null =
    firstSequence === 1
      ? null
      : {
          incarnation,
          epoch: getWhole(view, 48),
          timeMs: getWhole(view, 56),
          sequence: firstSequence - 1,
          hash: new Uint8Array(bytes.subarray(64, 64 + sha256Bytes)),
        };
  return {
    kind: "header",
    header: {
      segmentBytes: getWhole(view, 8),
      firstSequence,
      previousFirstSequence: getWhole(view, 24),
      incarnation,
      before,
      salt: new Uint8Array(bytes.subarray(96, 96 + saltBytes)),
    },
  };
}

// ------------------------------------------------------------------------------------------------------------- frames

export interface FrameHeader {
  readonly recordBytes: number;
  readonly sequence: number;
  /** XORed over the record, byte i of the frame with mask[i mod 4]; 0 where that is not needed (F2). */
  readonly mask: number;
}

/** The part of a frame header's checksum that comes from its segment. */
export function saltChecksum(salt: Uint8Array): number {
  return crc32(salt);
}

/** The frame header in a sector, or undefined where there is none that is whole. `sector` may be longer than a sector. */
export function decodeFrameHeader(sector: Uint8Array, saltCrc: number): FrameHeader | undefined {
  if (sector.length < frameHeaderBytes) return undefined;
  const view = new DataView(sector.buffer, sector.byteOffset, frameHeaderBytes);
  if (view.getUint32(0, true) !== frameMagic) return undefined;
  if (view.getUint32(28, true) !== crc32(sector.subarray(0, 28), saltCrc)) return undefined;
  const recordBytes = view.getUint32(4, true);
  if (recordBytes === 0 || recordBytes > recordBytesMax) return undefined;
  return { recordBytes, sequence: getWhole(view, 8), mask: view.getUint32(16, true) };
}

/** The record inside a whole frame: a view of `frame` where no mask was needed, else a copy. */
export function unmaskRecord(frame: Uint8Array, header: FrameHeader): Uint8Array {
  const end = frameHeaderBytes + header.recordBytes;
  if (header.mask === 0) return frame.subarray(frameHeaderBytes, end);
  const record = new Uint8Array(frame.subarray(frameHeaderBytes, end));
  for (let i = 0; i < record.length; i++) record[i]! ^= maskByte(header.mask, i);
  return record;
}

/** True where the bytes between the record's end and the frame's are as they were written. */
export function paddingIsWhole(frame: Uint8Array, header: FrameHeader): boolean {
  for (let i = header.recordBytes; i < frame.length - frameHeaderBytes; i++) {
    if (frame[frameHeaderBytes + i] !== maskByte(header.mask, i)) return false;
  }
  return true;
}

/** Frame headers have a length that is a multiple of 4, so counting from the record's start is counting from the frame's. */
function maskByte(mask: number, index: number): number {
  return (mask >>> (8 * (index & 3))) & 0xff;
}

/** Encodes frames, one at a time, into a buffer of its own that the next `encode` overwrites. */
export class FrameEncoder {
  #bytes = new Uint8Array(64 * 1024);
  #words = new Uint32Array(this.#bytes.buffer);

  /** The whole frame, padded to sectors. Valid until the next call. */
  encode(record: Uint8Array, sequence: number, saltCrc: number): Uint8Array {
    assert(record.length > 0 && record.length <= recordBytesMax, "a frame holds one record within the limits");
    const length = frameBytesFor(record.length);
    this.#reserve(length);
    const frame = this.#bytes.subarray(0, length);
    frame.fill(0, 0, frameHeaderBytes);
    frame.set(record, frameHeaderBytes);
    frame.fill(0, frameHeaderBytes + record.length);
    const mask = this.#mask(length);
    const view = new DataView(frame.buffer, 0, frameHeaderBytes);
    view.setUint32(0, frameMagic, true);
    view.setUint32(4, record.length, true);
    setWhole(view, 8, sequence);
    view.setUint32(16, mask, true);
    view.setUint32(28, crc32(frame.subarray(0, 28), saltCrc), true);
    return frame;
  }

  #reserve(length: number): void {
    if (this.#bytes.length >= length) return;
    this.#bytes = new Uint8Array(Math.min(frameBytesMax, Math.max(length, 2 * this.#bytes.length)));
    this.#words = new Uint32Array(this.#bytes.buffer);
  }

  /** Finds a mask for which F2 holds, applies it, and returns it. Almost always that is 0, after a glance at each sector. */
  #mask(length: number): number {
    const sectors = length / sectorBytes;
    if (!this.#hasFaintSector(sectors, 0)) return 0;
    // A sector is faint under one mask at most, so one of any sectors + 1 masks does.
    for (let candidate = 1; candidate <= sectors + 1; candidate++) {
      const mask = Math.imul(candidate, 0x9e3779b1) >>> 0;
      const inMemory = wordOf(mask);
      if (this.#hasFaintSector(sectors, inMemory)) continue;
      for (let i = frameHeaderBytes / 4; i < length / 4; i++) this.#words[i]! ^= inMemory;
      return mask;
    }
    throw new Error("unreachable: every mask leaves a faint sector");
  }

  /** True if a sector but the first, which holds the frame's header, has fewer than two bits set under the mask. */
  #hasFaintSector(sectors: number, inMemory: number): boolean {
    for (let sector = 1; sector < sectors; sector++) {
      if (this.#isFaint(sector * wordsPerSector, inMemory)) return true;
    }
    return false;
  }

  #isFaint(start: number, inMemory: number): boolean {
    let seen = 0;
    for (let i = start; i < start + wordsPerSector; i++) {
      const word = (this.#words[i]! ^ inMemory) >>> 0;
      if (word === 0) continue;
      if (seen !== 0 || (word & (word - 1)) !== 0) return false;
      seen = word;
    }
    return true;
  }
}

/** The word that reads as these four bytes, least significant first, on this machine whatever its byte order. */
function wordOf(mask: number): number {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, mask, true);
  return new Uint32Array(bytes.buffer)[0]!;
}

// -------------------------------------------------------------------------------------------------------------- names

export const anchorFileName = "anchors";
export const reserveFileName = "reserve";
/** Being filled with zeros; worthless after a crash. */
export const preparingFileName = "next.preparing";
/** All zeros past its first sector, and durable: the next segment. */
export const preparedFileName = "next.prepared";

export function segmentFileName(firstSequence: number): string {
  return `${String(firstSequence).padStart(16, "0")}.segment`;
}

/** The first sequence in a segment file's name; undefined for other names. */
export function parseSegmentFileName(name: string): number | undefined {
  const digits = /^(\d{16})\.segment$/.exec(name)?.[1];
  const firstSequence = Number(digits);
  return digits !== undefined && Number.isSafeInteger(firstSequence) && firstSequence >= 1 ? firstSequence : undefined;
}

// ------------------------------------------------------------------------------------------------------------ numbers

/** Writes a whole number from 0 to 2^53 - 1 as 8 little-endian bytes. */
export function setWhole(view: DataView, offset: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, "formats hold whole numbers from 0 to 2^53 - 1");
  view.setUint32(offset, value % 0x1_0000_0000, true);
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true);
}

/** Reads one. Larger ones, which nobody writes, lose precision. */
export function getWhole(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 0x1_0000_0000;
}
