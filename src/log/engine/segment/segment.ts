/**
 * One segment file as the engine knows it: its header, and a sparse index that says near which byte a record starts.
 * And the reader that steps from frame to frame and says of each place what it is.
 */
import { OnefoldError } from "../../../base/errors.ts";
import type { Disk, DiskFile } from "../../../host/host.ts";
import { damagedLog, reasonOf } from "../../damage.ts";
import { decodeRecord, type LogRecord } from "../../record.ts";
import {
  decodeFrameHeader,
  type FrameHeader,
  frameBytesFor,
  paddingIsWhole,
  type SegmentHeader,
  saltChecksum,
  sectorBytes,
  segmentHeaderBytes,
  unmaskRecord,
} from "./format.ts";

/** Bytes that one entry of an index covers; a read of one record reads about as much. */
const indexStrideBytes = 64 * 1024;
/** Bytes that walking from frame to frame reads at once. */
export const walkBytes = 1024 * 1024;

export interface Segment {
  readonly name: string;
  readonly path: string;
  readonly header: SegmentHeader;
  readonly saltCrc: number;
  readonly index: SegmentIndex;
}

export function makeSegment(directory: string, name: string, header: SegmentHeader): Segment {
  const index = new SegmentIndex(header.firstSequence);
  return { name, path: `${directory}/${name}`, header, saltCrc: saltChecksum(header.salt), index };
}

/** Where some of a segment's records start: at most one entry for every 64 KiB. */
export class SegmentIndex {
  readonly #sequences: number[];
  readonly #offsets: number[] = [segmentHeaderBytes];

  constructor(firstSequence: number) {
    this.#sequences = [firstSequence];
  }

  /** Learns where a record starts; those that come in order and far enough apart are kept. */
  note(sequence: number, offset: number): void {
    if (offset < this.#offsets.at(-1)! + indexStrideBytes) return;
    this.#sequences.push(sequence);
    this.#offsets.push(offset);
  }

  /** The last place known at or before a record. */
  floor(sequence: number): { readonly sequence: number; readonly offset: number } {
    let low = 0;
    let high = this.#sequences.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#sequences[middle]! <= sequence) low = middle;
      else high = middle - 1;
    }
    return { sequence: this.#sequences[low]!, offset: this.#offsets[low]! };
  }
}

/** What stands at a place in a segment. */
export type FrameStep =
  | { readonly kind: "frame"; readonly offset: number; readonly frameBytes: number; readonly record: LogRecord }
  /** A sector of zeros, or the segment's end: no frame begins here. */
  | { readonly kind: "empty"; readonly offset: number }
  /** A frame of which some sectors were never written (F2). */
  | { readonly kind: "torn"; readonly offset: number; readonly frameBytes: number; readonly sequence: number }
  | {
      readonly kind: "bad";
      readonly offset: number;
      readonly sequence: number | undefined;
      readonly reason: string;
      readonly cause?: unknown;
    };

/** What a look at a frame's first sector tells. */
type HeaderStep =
  | { readonly kind: "header"; readonly offset: number; readonly frameBytes: number; readonly header: FrameHeader }
  | Extract<FrameStep, { kind: "empty" | "bad" }>;

/** Steps through a segment's frames in order. Reads ahead `readBytes` at a time. */
export class FrameReader {
  readonly #file: DiskFile;
  readonly #segment: Segment;
  readonly #readBytes: number;
  #offset: number;
  #chunk: Uint8Array = new Uint8Array(0);
  #chunkOffset = 0;

  constructor(
    file: DiskFile,
    segment: Segment,
    options: { readonly offset?: number; readonly readBytes?: number } = {},
  ) {
    this.#file = file;
    this.#segment = segment;
    this.#offset = options.offset ?? segmentHeaderBytes;
    this.#readBytes = options.readBytes ?? walkBytes;
  }

  /** Where the next step looks. */
  get offset(): number {
    return this.#offset;
  }

  /**
   * Reads and verifies the frame here, and goes on behind it if it is whole. The record is a view of what was read.
   * Throws `unsupported-version` for a record that only a newer reader understands, `DiskError` where the disk refuses.
   */
  async next(options: { readonly checkPadding?: boolean } = {}): Promise<FrameStep> {
    const step = await this.#header();
    if (step.kind !== "header") return step;
    const { offset, frameBytes, header } = step;
    const frame = await this.#bytes(offset, frameBytes);
    const { sequence } = header;
    if (frame.length < frameBytes) return { kind: "bad", offset, sequence, reason: "the file ends inside the frame" };
    let record: LogRecord;
    try {
      record = decodeRecord(unmaskRecord(frame, header));
    } catch (cause) {
      if (!(cause instanceof OnefoldError) || cause.code !== "damaged") throw cause;
      if (hasZeroSector(frame)) return { kind: "torn", offset, frameBytes, sequence };
      return { kind: "bad", offset, sequence, reason: reasonOf(cause), cause };
    }
    if (record.sequence !== sequence) {
      return { kind: "bad", offset, sequence, reason: `the frame holds record ${record.sequence}` };
    }
    if (options.checkPadding === true && !paddingIsWhole(frame, header)) {
      return { kind: "bad", offset, sequence, reason: "the bytes that fill the frame up have changed" };
    }
    this.#offset = offset + frameBytes;
    return { kind: "frame", offset, frameBytes, record };
  }

  /** Goes on behind the frame here after a look at its first sector only. */
  async skip(): Promise<HeaderStep> {
    const step = await this.#header();
    if (step.kind === "header") this.#offset = step.offset + step.frameBytes;
    return step;
  }

  async #header(): Promise<HeaderStep> {
    const offset = this.#offset;
    const { segmentBytes } = this.#segment.header;
    if (offset + sectorBytes > segmentBytes) return { kind: "empty", offset };
    const sector = (await this.#bytes(offset, sectorBytes)).subarray(0, sectorBytes);
    if (sector.length < sectorBytes) {
      return { kind: "bad", offset, sequence: undefined, reason: "the file ends before its segment does" };
    }
    const header = decodeFrameHeader(sector, this.#segment.saltCrc);
    if (header === undefined) {
      if (isZero(sector)) return { kind: "empty", offset };
      return { kind: "bad", offset, sequence: undefined, reason: "the frame's header is damaged" };
    }
    const frameBytes = frameBytesFor(header.recordBytes);
    if (offset + frameBytes > segmentBytes) {
      return { kind: "bad", offset, sequence: header.sequence, reason: "the frame is longer than its segment" };
    }
    return { kind: "header", offset, frameBytes, header };
  }

  async #bytes(offset: number, length: number): Promise<Uint8Array> {
    const start = offset - this.#chunkOffset;
    if (start < 0 || start + length > this.#chunk.length) {
      const wanted = Math.max(length, Math.min(this.#readBytes, this.#segment.header.segmentBytes - offset));
      // A disk may give a Buffer, whose `slice` shares memory where everybody expects a copy.
      const { buffer, byteOffset, length: readLength } = await this.#file.read(offset, wanted);
      this.#chunk = new Uint8Array(buffer, byteOffset, readLength);
      this.#chunkOffset = offset;
      return this.#chunk.subarray(0, length);
    }
    return this.#chunk.subarray(start, start + length);
  }
}

/**
 * Reads one record of a segment and verifies it by itself. Throws `damaged` (retry `never`) where it isn't there as it was
 * written.
 */
export async function readRecord(file: DiskFile, segment: Segment, sequence: number): Promise<LogRecord> {
  const step = await findFrame(file, segment, sequence);
  if (step.kind === "frame") return step.record;
  const reason = step.kind === "bad" ? step.reason : "the record is missing";
  throw damagedLog(
    { file: segment.name, offset: step.offset, sequence, reason },
    step.kind === "bad" ? step.cause : undefined,
  );
}

/** A reader that stands before a record. Throws `damaged` where frames before it can't be followed. */
export async function readerAt(file: DiskFile, segment: Segment, sequence: number): Promise<FrameReader> {
  const near = segment.index.floor(sequence);
  const readBytes = near.sequence === sequence ? walkBytes : indexStrideBytes;
  const reader = new FrameReader(file, segment, { offset: near.offset, readBytes });
  for (let at = near.sequence; at < sequence; at++) {
    const step = await reader.skip();
    if (step.kind !== "header" || step.header.sequence !== at) {
      const reason = step.kind === "bad" ? step.reason : "the record is missing";
      throw damagedLog({ file: segment.name, offset: step.offset, sequence: at, reason });
    }
    segment.index.note(at + 1, reader.offset);
  }
  return reader;
}

async function findFrame(file: DiskFile, segment: Segment, sequence: number): Promise<FrameStep> {
  const reader = await readerAt(file, segment, sequence);
  const step = await reader.next();
  if (step.kind !== "frame" || step.record.sequence === sequence) return step;
  return { kind: "bad", offset: step.offset, sequence, reason: `record ${step.record.sequence} stands in its place` };
}

/** Opens a file, lets `body` use it, and closes it. */
export async function withFile<T>(disk: Disk, path: string, body: (file: DiskFile) => Promise<T>): Promise<T> {
  const file = await disk.open(path);
  try {
    return await body(file);
  } finally {
    await file.close();
  }
}

const zeros = new Uint8Array(walkBytes);

/** True where every byte is zero. `bytes` has at most 1 MiB. */
export function isZero(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, zeros.subarray(0, bytes.length)) === 0;
}

function hasZeroSector(frame: Uint8Array): boolean {
  for (let at = 0; at < frame.length; at += sectorBytes) {
    if (isZero(frame.subarray(at, at + sectorBytes))) return true;
  }
  return false;
}
