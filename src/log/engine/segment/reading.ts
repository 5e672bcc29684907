/**
 * Reading records of an open log: one by its sequence, or all from one on. What was verified when the log was opened is
 * verified again here, because disks forget (L3).
 */
import { assert } from "../../../base/assert.ts";
import { equalBytes } from "../../../base/bytes.ts";
import { OnefoldError } from "../../../base/errors.ts";
import { type Disk, DiskError } from "../../../host/host.ts";
import { type ChainLink, chainFault } from "../../chain.ts";
import { damagedLog } from "../../damage.ts";
import type { LogRecord } from "../../record.ts";
import { type FrameReader, readerAt, readRecord, type Segment, withFile } from "./segment.ts";

/** A disk may fail for a moment; one that fails so often in a row has lost what it held. */
const readAttemptsMax = 3;

export class RecordReader {
  readonly #disk: Disk;
  readonly #segments: () => readonly Segment[];

  /** `segments` gives the segments as they are at the time, in order. */
  constructor(disk: Disk, segments: () => readonly Segment[]) {
    this.#disk = disk;
    this.#segments = segments;
  }

  /** As `Log.read`, of a log that ends at `end`. */
  async read(sequence: number, end: ChainLink | null): Promise<LogRecord | undefined> {
    assert(Number.isSafeInteger(sequence) && sequence >= 1, "sequences are whole numbers from 1");
    if (end === null || sequence > end.sequence) return undefined;
    const { segment } = this.#find(sequence);
    const record = await this.#translated(segment, sequence, () =>
      withFile(this.#disk, segment.path, (file) => readRecord(file, segment, sequence)),
    );
    checkEnd(record, end, segment);
    return record;
  }

  /** As `Log.scan`, of a log that ends at `end`. */
  async *scan(fromSequence: number, end: ChainLink | null): AsyncGenerator<LogRecord> {
    assert(Number.isSafeInteger(fromSequence) && fromSequence >= 1, "sequences are whole numbers from 1");
    let link: ChainLink | undefined;
    let next = fromSequence;
    while (end !== null && next <= end.sequence) {
      const { segment, lastSequence } = this.#find(next);
      const file = await this.#translated(segment, next, () => this.#disk.open(segment.path));
      try {
        const first = next;
        const reader = await this.#translated(segment, first, () => readerAt(file, segment, first));
        while (next <= Math.min(lastSequence, end.sequence)) {
          const record: LogRecord = await this.#next(reader, segment, next, link);
          checkEnd(record, end, segment);
          link = record;
          next++;
          yield record;
        }
      } finally {
        await this.#translated(segment, fromSequence, () => file.close());
      }
    }
  }

  async #next(
    reader: FrameReader,
    segment: Segment,
    sequence: number,
    link: ChainLink | undefined,
  ): Promise<LogRecord> {
    const step = await this.#translated(segment, sequence, () => reader.next());
    const file = segment.name;
    if (step.kind !== "frame") {
      const reason = step.kind === "bad" ? step.reason : "the record is missing";
      throw damagedLog({ file, offset: step.offset, sequence, reason });
    }
    const { record, offset } = step;
    const before = link ?? (sequence === segment.header.firstSequence ? segment.header.before : undefined);
    if (before === undefined && record.sequence === sequence) return record;
    const fault = before === undefined ? `record ${record.sequence} stands in its place` : chainFault(before, record);
    if (fault !== undefined) throw damagedLog({ file, offset, sequence, reason: fault });
    return record;
  }

  /** The segment of a record, and the last sequence that it can hold. Throws `not-found` where it was trimmed. */
  #find(sequence: number): { readonly segment: Segment; readonly lastSequence: number } {
    const segments = this.#segments();
    const index = segments.findLastIndex(({ header }) => header.firstSequence <= sequence);
    const segment = segments[index];
    if (segment === undefined) throw new OnefoldError("not-found", `Record ${sequence} has been trimmed from the log.`);
    const next = segments[index + 1];
    return { segment, lastSequence: next === undefined ? Number.POSITIVE_INFINITY : next.header.firstSequence - 1 };
  }

  /**
   * What the disk can't read any more is damage, unless a trim took it away meanwhile. A read that fails once is not: it is
   * tried again. `body` can be run again after it has failed.
   */
  async #translated<T>(segment: Segment, sequence: number, body: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await body();
      } catch (error) {
        if (!(error instanceof DiskError)) throw error;
        this.#find(sequence);
        if (error.code !== "not-found" && attempt < readAttemptsMax) continue;
        const reason = error.code === "not-found" ? "the file is missing" : "the disk can't read it";
        throw damagedLog({ file: segment.name, offset: 0, sequence, reason }, error);
      }
    }
  }
}

/** The last record must be the one that was appended or verified last. */
function checkEnd(record: LogRecord, end: ChainLink, segment: Segment): void {
  if (record.sequence !== end.sequence || equalBytes(record.hash, end.hash)) return;
  const reason = "the record is not the one that was appended";
  throw damagedLog({ file: segment.name, offset: 0, sequence: record.sequence, reason });
}
