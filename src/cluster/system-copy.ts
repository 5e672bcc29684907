/**
 * This node's own copy of the system log, verified, in segment files: what it starts from, what tells a rolled-back log, and what a
 * successor is begun from when the engine's log is damaged (G8).
 *
 * SK1 Records are contiguous and chained from where the copy begins, and each is durable at the return of `append`: so the copy's end is
 *     the anchor of all that this node has acted upon.
 * SK2 There is a copy of one log at a time. That of a log's successor takes its place once the successor's first record is durable in it.
 * SK3 A copy that the disk has damaged is given up, and told of: the engine and the other nodes have the same.
 */
import { OnefoldError } from "../base/errors.ts";
import { type Disk, DiskError, type Random, type Trace } from "../host/host.ts";
import { beginSegmentLog } from "../log/engine/segment/beginning.ts";
import { openSegmentLog, type SegmentLog } from "../log/engine/segment/engine.ts";
import { makeDirectories } from "../log/engine/segment/recovery.ts";
import type { LogRecord } from "../log/record.ts";
import { indexOfName, indexOfSequence, systemLogName } from "./system-names.ts";

export interface SystemCopyParts {
  readonly disk: Disk;
  readonly random: Random;
  readonly trace: Trace;
  /** Of the system logs alone; each has a directory in it. */
  readonly directory: string;
  /** Holds a record of any size, and is small. */
  readonly segmentBytes: number;
}

export class SystemCopy {
  readonly #parts: SystemCopyParts;
  #log: SegmentLog | undefined;
  #index = 0;

  private constructor(parts: SystemCopyParts) {
    this.#parts = parts;
  }

  /** Opens what there is. Throws `unsupported-version` (retry never), `DiskError`. */
  static async open(parts: SystemCopyParts): Promise<SystemCopy> {
    const copy = new SystemCopy(parts);
    const indexes = (await parts.disk.list(parts.directory)).flatMap((name) => indexOfName(name) ?? []);
    for (const index of indexes.sort((a, b) => b - a)) {
      const opened = copy.#log === undefined ? await copy.#openExisting(index) : undefined;
      if (opened === undefined) await copy.#remove(index);
      else copy.#take(opened, index);
    }
    return copy;
  }

  /** Which system log it is of; 0 where there is nothing. */
  get index(): number {
    return this.#index;
  }

  /** Its records, from the first that is here. */
  async *records(): AsyncIterable<LogRecord> {
    if (this.#log !== undefined) yield* this.#log.scan(this.#log.firstSequence);
  }

  /**
   * Makes the next record durable; the caller has verified it. `isBeginning`: nothing that is here stands before it, and the copy begins
   * anew with it. Throws `unavailable` (retry safe) where the disk is full, `stopped`, `DiskError`.
   */
  async append(record: LogRecord, { isBeginning }: { readonly isBeginning: boolean }): Promise<void> {
    try {
      if (isBeginning || this.#log === undefined) await this.#begin(record);
      else await append(this.#log, record);
    } catch (error) {
      if (!(error instanceof DiskError) || error.code !== "full") throw error;
      throw full(error);
    }
  }

  /** Gives up what is before `sequence`, in whole segments. Throws `stopped`. */
  async trim(sequence: number): Promise<void> {
    const log = this.#log;
    if (log !== undefined && sequence > log.firstSequence && indexOfSequence(sequence) === this.#index) {
      await log.trim(sequence);
    }
  }

  async close(): Promise<void> {
    await this.#log?.close();
  }

  #take(log: SegmentLog, index: number): void {
    this.#log = log;
    this.#index = index;
  }

  #directoryOf(index: number): string {
    return `${this.#parts.directory}/${systemLogName(index)}`;
  }

  /** SK2. */
  async #begin(record: LogRecord): Promise<void> {
    const { disk, random, segmentBytes } = this.#parts;
    const old = this.#log === undefined ? undefined : { log: this.#log, index: this.#index };
    const index = indexOfSequence(record.sequence);
    const directory = this.#directoryOf(index);
    if (old?.index === index) {
      this.#log = undefined;
      await old.log.close();
    }
    await this.#remove(index);
    await makeDirectories(disk, directory);
    if (record.sequence > 1) {
      const { incarnation, epoch, sequence, previousHash: hash, timeMs } = record;
      const before = { incarnation, epoch, sequence: sequence - 1, hash, timeMs };
      await beginSegmentLog({ disk, random, directory, before, segmentBytes });
    }
    const log = await this.#openLog(index);
    try {
      await append(log, record);
    } catch (error) {
      await log.close();
      throw error;
    }
    this.#take(log, index);
    if (old === undefined || old.index === index) return;
    await old.log.close();
    await this.#remove(old.index);
  }

  #openLog(index: number): Promise<SegmentLog> {
    return openSegmentLog({ ...this.#parts, directory: this.#directoryOf(index), reserveBytes: 0 });
  }

  /** SK3. Undefined also for one without a record. */
  async #openExisting(index: number): Promise<SegmentLog | undefined> {
    const { disk, trace } = this.#parts;
    const directory = this.#directoryOf(index);
    if ((await disk.list(directory)).length === 0) return undefined;
    try {
      const log = await this.#openLog(index);
      if (log.end !== null && log.end.sequence >= log.firstSequence) return log;
      await log.close();
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
      const message = "The node's copy of the system log is damaged; it is made anew. Check the disk.";
      trace("warn", message, { directory, error });
    }
    return undefined;
  }

  async #remove(index: number): Promise<void> {
    const { disk } = this.#parts;
    const directory = this.#directoryOf(index);
    const names = await disk.list(directory);
    for (const name of names) await disk.remove(`${directory}/${name}`);
    if (names.length > 0) await disk.syncDirectory(directory);
  }
}

async function append(log: SegmentLog, record: LogRecord): Promise<void> {
  const outcome = await log.append(record.bytes, record.hash);
  if (outcome.kind === "appended") return;
  const cause = "cause" in outcome ? outcome.cause : undefined;
  if (outcome.kind === "full") throw full(cause);
  throw new OnefoldError("stopped", "The node's own copy of the system log could not be written. Check its disk.", {
    cause,
  });
}

function full(cause: unknown): OnefoldError {
  const message = "The node's disk has no space for its copy of the system log. Free some.";
  return new OnefoldError("unavailable", message, { cause, retryAfterMs: 1000 });
}
