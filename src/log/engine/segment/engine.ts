/**
 * The log of one machine: checksummed, preallocated segment files on a `Disk`. Its bytes are specified in `docs/format.md`,
 * what is verified at open in `walk.ts` and `recovery.ts`. Keeps L1–L5 of the contract, and:
 *
 * E1  An append is one durable write into space that was allocated before, at sectors that no acknowledged record shares.
 * E2  `full` is given before anything of the record is written; nothing but a new segment needs space.
 * E3  Any other refusal of the disk stops the engine for good (L4): what is on the disk is known again after a restart.
 * E4  A segment's header and name are durable before its first record is written.
 */
import { assert } from "../../../base/assert.ts";
import { equalBytes } from "../../../base/bytes.ts";
import { OnefoldError } from "../../../base/errors.ts";
import { limits } from "../../../base/limits.ts";
import { type Disk, DiskError, type DiskFile, type Random, type Trace } from "../../../host/host.ts";
import { type ChainLink, chainFault } from "../../chain.ts";
import type { AppendOutcome, Log, LogPosition } from "../../log.ts";
import { decodeRecord, decodeRecordHeader, type LogRecord, positionOf } from "../../record.ts";
import type { AnchorFile } from "./anchors.ts";
import {
  encodeSegmentHeader,
  FrameEncoder,
  frameBytesFor,
  type SegmentHeader,
  saltBytes,
  sectorBytes,
  segmentFileName,
  segmentHeaderBytes,
} from "./format.ts";
import { Preparation } from "./preparation.ts";
import { recoverLog } from "./recovery.ts";
import { RecordReader } from "./reading.ts";
import { makeSegment, type Segment, withFile } from "./segment.ts";

export interface SegmentLogOptions {
  readonly disk: Disk;
  readonly random: Random;
  readonly trace: Trace;
  /** Below the disk's root; made if absent. The caller holds the lock that keeps other processes out. */
  readonly directory: string;
  /** A multiple of 512 that holds several records of the largest size. Default `segmentBytesDefault`. */
  readonly segmentBytes?: number;
  /** Space kept back for trimming on a full disk; 0 for none. Default `reserveBytesDefault`. */
  readonly reserveBytes?: number;
  /**
   * Free space that a new segment must leave on the disk; asked whenever one is prepared. Without that much `append` says
   * `full`. Default 0: the log takes what there is.
   */
  readonly keepFreeBytes?: () => number;
  /** What the store and the snapshots have seen: the log must hold all of it, or is damaged. */
  readonly verifiedThrough?: readonly LogPosition[];
  /**
   * Records from the segment that holds this sequence on are verified at open, those before it when they are read.
   * Default 1: all.
   */
  readonly verifyFromSequence?: number;
}

export interface SegmentLog extends Log {
  /**
   * True since the next segment could not be prepared for want of space: soon `append` will say `full`, or does already.
   * Until a segment could be prepared, or a trim has given space back.
   */
  readonly isShortOfSpace: boolean;
  /**
   * Gives the reserve's space back to the disk, so that a snapshot can be written where `append` has said `full`. The next
   * `trim`, or `restoreReserve`, takes it again. Throws `stopped` (retry unknown), as `restoreReserve` does.
   */
  releaseReserve(): Promise<void>;
  /** Takes the reserve again. Where there is no room for it there is none, until there is. */
  restoreReserve(): Promise<void>;
  /**
   * Where there is no room for a whole segment, prepares one for a few records: so that there can be a snapshot behind them,
   * and more can be trimmed. False where there is no room for that either. Throws `stopped` (retry unknown).
   */
  prepareShortSegment(): Promise<boolean>;
}

/**
 * Opens the log of a directory, after a crash too, or makes a new one there: it has no end until its first record, a
 * genesis, is appended. At return everything up to `end` is verified from `verifyFromSequence` on, and durable.
 * Throws `damaged` (retry `never`; `details` name file, offset, sequence and reason; nothing was changed),
 * `unsupported-version` (retry `never`), `DiskError`.
 */
export async function openSegmentLog(options: SegmentLogOptions): Promise<SegmentLog> {
  const segmentBytes = options.segmentBytes ?? limits.segmentBytesDefault;
  const reserveBytes = options.reserveBytes ?? limits.reserveBytesDefault;
  assert(segmentBytes % sectorBytes === 0 && segmentBytes >= 4 * sectorBytes, "a segment has at least four sectors");
  const { disk, trace, directory } = options;
  const recovered = await recoverLog({
    disk,
    trace,
    directory,
    verifiedThrough: options.verifiedThrough ?? [],
    verifyFromSequence: options.verifyFromSequence ?? 1,
  });
  const keepFreeBytes = options.keepFreeBytes ?? (() => 0);
  const preparation = new Preparation({ disk, directory, segmentBytes, reserveBytes, keepFreeBytes });
  const { segments, end, anchors, tailOffset } = recovered;
  const segment = segments.at(-1);
  const tail = segment && { segment, file: await disk.open(segment.path), offset: tailOffset };
  return new SegmentFileLog({ ...options, segmentBytes }, { preparation, anchors, segments, end, tail });
}

/** The segment that grows. */
interface Tail {
  readonly segment: Segment;
  readonly file: DiskFile;
  offset: number;
}

interface Parts {
  readonly preparation: Preparation;
  readonly anchors: AnchorFile;
  readonly segments: Segment[];
  readonly end: ChainLink | null;
  readonly tail: Tail | undefined;
}

class SegmentFileLog implements SegmentLog {
  readonly #options: SegmentLogOptions & { readonly segmentBytes: number };
  readonly #preparation: Preparation;
  readonly #anchors: AnchorFile;
  readonly #encoder = new FrameEncoder();
  readonly #records: RecordReader;
  #segments: Segment[];
  #end: ChainLink | null;
  #tail: Tail | undefined;
  #appending: Promise<AppendOutcome> | undefined;
  /** Anchors and trims, one after the other. Never rejects. */
  #maintenance: Promise<void> = Promise.resolve();
  #upkeep: Promise<void> | undefined;
  /** The disk had no space for the next segment in advance; an append that needs it, or a trim, tries again. */
  #awaitsSpace = false;
  #stopped: unknown;
  #closed: Promise<void> | undefined;

  constructor(options: SegmentLogOptions & { readonly segmentBytes: number }, parts: Parts) {
    this.#options = options;
    this.#preparation = parts.preparation;
    this.#anchors = parts.anchors;
    this.#segments = parts.segments;
    this.#end = parts.end;
    this.#tail = parts.tail;
    this.#records = new RecordReader(options.disk, () => this.#segments);
    this.#startUpkeep();
  }

  get end(): LogPosition | null {
    return this.#end;
  }

  get firstSequence(): number {
    return this.#segments[0]?.header.firstSequence ?? 1;
  }

  // ------------------------------------------------------------------------------------------------------------- append

  async append(bytes: Uint8Array, hash?: Uint8Array): Promise<AppendOutcome> {
    assert(this.#appending === undefined, "at most one append may be under way");
    if (this.#stopped !== undefined) return { kind: "failed", cause: this.#stopped };
    const record = hash === undefined ? decodeRecord(bytes) : { ...decodeRecordHeader(bytes), hash };
    if (record.sequence !== (this.#end?.sequence ?? 0) + 1) return { kind: "conflict" };
    if (this.#end !== null && !equalBytes(record.previousHash, this.#end.hash)) return { kind: "conflict" };
    const fault = chainFault(this.#end, record);
    assert(fault === undefined, `appended out of order: ${fault}`);
    const isFirst = record.sequence === this.firstSequence;
    assert(record.kind !== "genesis" || isFirst, "a genesis is the first record of its log");
    const frameBytes = frameBytesFor(bytes.length);
    assert(segmentHeaderBytes + frameBytes <= this.#options.segmentBytes, "a record must fit in a segment");
    this.#appending = this.#append(bytes, record, frameBytes);
    try {
      return await this.#appending;
    } finally {
      this.#appending = undefined;
    }
  }

  async #append(bytes: Uint8Array, record: ChainLink, frameBytes: number): Promise<AppendOutcome> {
    if (!this.#hasRoom(frameBytes)) {
      try {
        await this.#preparation.prepare();
        this.#awaitsSpace = false;
      } catch (error) {
        return isFull(error) ? this.#full(error) : this.#stop(error);
      }
    }
    // A maintenance that failed meanwhile has stopped the engine.
    if (this.#stopped !== undefined) return { kind: "failed", cause: this.#stopped };
    try {
      const tail = this.#hasRoom(frameBytes) ? this.#tail! : await this.#roll(record);
      const frame = this.#encoder.encode(bytes, record.sequence, tail.segment.saltCrc);
      await tail.file.writeDurable(tail.offset, frame);
      tail.segment.index.note(record.sequence, tail.offset);
      tail.offset += frame.length;
    } catch (error) {
      return this.#stop(error);
    }
    const { incarnation, epoch, sequence, timeMs, hash } = record;
    this.#end = { incarnation, epoch, sequence, timeMs, hash };
    this.#startUpkeep();
    return { kind: "appended" };
  }

  #hasRoom(frameBytes: number): boolean {
    return this.#tail !== undefined && this.#tail.offset + frameBytes <= this.#tail.segment.header.segmentBytes;
  }

  /** Makes the prepared file the last segment (E4). */
  async #roll(record: ChainLink): Promise<Tail> {
    const { disk, directory, random } = this.#options;
    const header: SegmentHeader = {
      segmentBytes: this.#preparation.readyBytes,
      firstSequence: record.sequence,
      previousFirstSequence: this.#segments.at(-1)?.header.firstSequence ?? 0,
      incarnation: record.incarnation,
      before: this.#end,
      salt: random.bytes(saltBytes),
    };
    const segment = makeSegment(directory, segmentFileName(record.sequence), header);
    const { preparedPath } = this.#preparation;
    await withFile(disk, preparedPath, (file) => file.writeDurable(0, encodeSegmentHeader(header)));
    this.#preparation.taken();
    await disk.rename(preparedPath, segment.path);
    await disk.syncDirectory(directory);
    const file = await disk.open(segment.path);
    const previous = this.#tail;
    this.#tail = { segment, file, offset: segmentHeaderBytes };
    this.#segments = [...this.#segments, segment];
    await previous?.file.close();
    return this.#tail;
  }

  #full(cause: unknown): AppendOutcome {
    this.#awaitsSpace = true;
    return { kind: "full", cause };
  }

  /** L4, E3. */
  #stop(cause: unknown): AppendOutcome {
    if (this.#stopped === undefined) {
      this.#options.trace("error", "The disk refused; the log has stopped. Check the disk, then restart the node.", {
        directory: this.#options.directory,
        cause: String(cause),
      });
      this.#stopped = cause;
    }
    return { kind: "failed", cause };
  }

  // ------------------------------------------------------------------------------------------------------------- upkeep

  /** Prepares space in the background once a quarter of the last segment is used, and the reserve. */
  #startUpkeep(): void {
    if (this.#upkeep !== undefined || this.#stopped !== undefined || this.#awaitsSpace) return;
    const tail = this.#tail;
    const isDue = tail !== undefined && tail.offset * 4 >= tail.segment.header.segmentBytes && !this.#preparation.ready;
    if (!isDue && this.#preparation.reserveChecked) return;
    this.#upkeep = this.#keepUp(isDue).finally(() => {
      this.#upkeep = undefined;
    });
  }

  async #keepUp(isDue: boolean): Promise<void> {
    try {
      await this.#preparation.makeReserve();
      if (isDue) await this.#preparation.prepare();
    } catch (error) {
      if (isFull(error)) {
        this.#awaitsSpace = true;
        this.#options.trace(
          "warn",
          "The disk has no space to prepare for the log. Free some; writes stop when it is used up.",
          {
            directory: this.#options.directory,
          },
        );
      } else if (this.#closed === undefined) {
        this.#stop(error);
      }
    }
  }

  /** Runs `body` when all maintenance before it is over. */
  #maintain(body: () => Promise<void>): Promise<void> {
    const result = this.#maintenance.then(async () => {
      if (this.#stopped !== undefined) {
        throw new OnefoldError("stopped", "The log has stopped. Restart the node.", { cause: this.#stopped });
      }
      try {
        await body();
      } catch (error) {
        this.#stop(error);
        throw new OnefoldError("stopped", "The disk refused; the log has stopped. Restart the node.", { cause: error });
      }
    });
    // Whoever asked for it gets the error; the next in the row only waits.
    this.#maintenance = result.catch(() => undefined);
    return result;
  }

  anchor(): Promise<void> {
    return this.#maintain(async () => {
      const end = this.#end;
      if (end !== null && end.sequence !== this.#anchors.state.anchor?.sequence) {
        await this.#anchors.anchor(positionOf(end));
      }
    });
  }

  trim(sequence: number): Promise<void> {
    assert(sequence <= (this.#end?.sequence ?? 0) + 1, "a log is trimmed up to its end at most");
    return this.#maintain(async () => {
      const kept = this.#segments.findLastIndex(({ header }) => header.firstSequence <= sequence);
      if (kept <= 0) return;
      await this.#anchors.trim(this.#segments[kept]!.header.firstSequence);
      const given = this.#segments.slice(0, kept);
      this.#segments = this.#segments.slice(kept);
      await this.#removeSegments(given);
      this.#awaitsSpace = false;
      this.#preparation.recheckReserve();
      this.#startUpkeep();
    });
  }

  async #removeSegments(segments: readonly Segment[]): Promise<void> {
    const { disk, directory } = this.#options;
    const remove = async (): Promise<void> => {
      for (const segment of segments) await disk.remove(segment.path);
      await disk.syncDirectory(directory);
    };
    try {
      await remove();
    } catch (error) {
      if (!isFull(error)) throw error;
      // Even removing needs space on file systems that copy on write; that is what the reserve is for.
      await this.#preparation.releaseReserve();
      await remove();
    }
  }

  get isShortOfSpace(): boolean {
    return this.#awaitsSpace;
  }

  releaseReserve(): Promise<void> {
    return this.#maintain(async () => {
      // What is being made just now would outlive its name.
      await this.#upkeep;
      await this.#preparation.releaseReserve();
    });
  }

  restoreReserve(): Promise<void> {
    return this.#maintain(async () => {
      await this.#upkeep;
      this.#preparation.recheckReserve();
      await unlessFull(() => this.#preparation.makeReserve());
    });
  }

  async prepareShortSegment(): Promise<boolean> {
    const shortBytes = Math.min(limits.shortSegmentBytes, this.#options.segmentBytes);
    await this.#maintain(async () => {
      await this.#upkeep;
      await unlessFull(() => this.#preparation.prepareShort(shortBytes));
    });
    return this.#preparation.ready;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#appending;
    await this.#preparation.stop();
    await this.#upkeep;
    try {
      if (this.#stopped === undefined) await this.anchor();
      else await this.#maintenance;
    } finally {
      this.#stopped ??= new OnefoldError("stopped", "The log is closed.");
      await this.#anchors.close();
      await this.#tail?.file.close();
    }
  }

  // --------------------------------------------------------------------------------------------------------------- read

  async read(sequence: number): Promise<LogRecord | undefined> {
    return this.#records.read(sequence, this.#end);
  }

  scan(fromSequence: number): AsyncIterable<LogRecord> {
    return this.#records.scan(fromSequence, this.#end);
  }
}

async function unlessFull(take: () => Promise<void>): Promise<void> {
  try {
    await take();
  } catch (error) {
    if (!isFull(error)) throw error;
  }
}

function isFull(error: unknown): boolean {
  return error instanceof DiskError && error.code === "full";
}
