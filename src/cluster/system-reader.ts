/**
 * Reading one system log of the engine in order, as it grows, until it ends: with a seal, or because it is damaged.
 *
 * SL3 Tails skip, repeat and fall silent (EL3): what counts is what was read in order, and where the tail has told of nothing for `pollMs`
 *     there is a look at the log's end. That other records come in, one by one, from whoever met them is no reason to wait: the log may
 *     grow faster than that.
 * SL4 A valid record that does not follow is damage at once. A hole, wrong bytes, an end before what was verified may be a stale or broken
 *     server's answer: they are damage only once they have stood for `systemLogDoubtMs`, in which the engine did answer. A seal at the log's
 *     end settles it at once. What is wrong with records that were taken before is no matter here.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Host } from "../host/host.ts";
import type { EngineLog } from "../log/engine-log.ts";
import { decodeRecord, type LogRecord } from "../log/record.ts";
import { LogFault } from "./log-fault.ts";
import { RecordInbox } from "./record-inbox.ts";
import { isSeal, isSealed, isUnavailable } from "./system-seal.ts";

export interface SystemReaderParts {
  readonly host: Pick<Host, "clock" | "timers">;
  readonly limits: Pick<Limits, "systemLogDoubtMs">;
  readonly log: EngineLog;
  /** The sequence of the record that is due. */
  readonly next: () => number;
  /**
   * Verifies and takes the record, durably; false if it was here. `isFirst`: nothing of the log is there before it. Throws `LogFault`,
   * `unavailable`, and what ends the node.
   */
  readonly take: (record: LogRecord, options: { readonly isFirst: boolean }) => Promise<boolean>;
  /** Some were taken. */
  readonly changed: () => void;
  /** All that the engine shows was taken. */
  readonly caughtUp: () => void;
}

export interface LogEnding {
  /** A seal is known to stand in it. */
  readonly isSealed: boolean;
  readonly detail: string;
}

const pollMs = 300;
const retryMs = 200;
const readBytes = 1024 * 1024;
const inboxBytesMax = 4 * 1024 * 1024;

export class SystemReader {
  readonly #parts: SystemReaderParts;
  readonly #inbox = new RecordInbox(inboxBytesMax);
  #tail: { close(): void } | undefined;
  #mustLook = true;
  #toldAtMs = 0;
  #doubtSinceMs: number | undefined;
  #ending: LogEnding | undefined;
  #isStopped = false;
  #wake: (() => void) | undefined;

  constructor(parts: SystemReaderParts) {
    this.#parts = parts;
  }

  get log(): EngineLog {
    return this.#parts.log;
  }

  /** Reads until the log ends, or `stop`: then undefined. Throws what `take` does, but for `LogFault` and `unavailable`. */
  async run(): Promise<LogEnding | undefined> {
    try {
      while (!this.#isOver) await this.#step();
      return this.#ending;
    } finally {
      this.#tail?.close();
    }
  }

  /** Takes nothing more; `run` resolves when what is under way is done. */
  stop(): void {
    this.#isStopped = true;
    this.#wake?.();
  }

  /** A record that stands in the log. */
  offer(sequence: number, bytes: Uint8Array): void {
    if (this.#isOver || sequence < this.#parts.next()) return;
    if (!this.#inbox.put(sequence, bytes)) this.#mustLook = true;
    this.#wake?.();
  }

  get #isOver(): boolean {
    return this.#isStopped || this.#ending !== undefined;
  }

  async #step(): Promise<void> {
    try {
      const count = await this.#takeInbox();
      if (this.#isOver) return;
      if (this.#parts.host.clock.monotonicMs() - this.#toldAtMs >= pollMs) this.#mustLook = true;
      else if (count > 0) return;
      if (this.#mustLook) return await this.#look();
      if (await this.#wait(pollMs)) this.#mustLook = true;
    } catch (error) {
      await this.#afterFailure(error);
    }
  }

  /** Reads to the end, as the engine shows it. */
  async #look(): Promise<void> {
    const { log, next, changed, caughtUp } = this.#parts;
    this.#mustLook = false;
    // So that the next look comes after `pollMs`, and not at once.
    this.#toldAtMs = this.#parts.host.clock.monotonicMs();
    for (;;) {
      const records = await log.readMany(next(), readBytes);
      let count = 0;
      for (const bytes of records) {
        if (this.#isOver) return;
        count += (await this.#take(bytes)) ? 1 : 0;
      }
      if (count > 0) changed();
      if (this.#isOver) return;
      if (count === 0) break;
    }
    const { first, last } = await log.bounds();
    if (this.#isOver) return;
    const due = next();
    if (first > due) return await this.#beginAt(first);
    if (last >= due) throw this.#fault("hole", due, "a record is missing though later ones are there");
    if (last < due - 1)
      throw this.#fault("short", last + 1, `it ends before record ${due - 1}, which this node has verified`);
    this.#doubtSinceMs = undefined;
    this.#tail ??= this.#openTail();
    caughtUp();
  }

  /** The log was trimmed farther than this node has read. */
  async #beginAt(first: number): Promise<void> {
    const bytes = await this.#parts.log.read(first);
    if (this.#isOver) return;
    if (bytes === undefined || !(await this.#take(bytes, first)))
      throw this.#fault("hole", first, "its first record is missing");
    this.#tail?.close();
    this.#tail = undefined;
    this.#mustLook = true;
    this.#parts.changed();
  }

  /** Takes a record if it is the next one, or the log's first; false if it is not, or is the seal. */
  async #take(bytes: Uint8Array, first?: number): Promise<boolean> {
    const due = first ?? this.#parts.next();
    const record = this.#decode(bytes, due);
    if (record.sequence !== due) return false;
    if (isSeal(record)) {
      this.#ending = { isSealed: true, detail: "it is sealed" };
      return false;
    }
    return this.#parts.take(record, { isFirst: first !== undefined });
  }

  async #takeInbox(): Promise<number> {
    let count = 0;
    while (!this.#isOver) {
      const bytes = this.#inbox.take(this.#parts.next());
      if (bytes === undefined || !(await this.#take(bytes))) break;
      count++;
    }
    if (this.#inbox.isStuck) {
      // Something was skipped; what is read from the engine makes the rest superfluous.
      this.#inbox.clear();
      this.#mustLook = true;
    }
    if (count > 0) this.#parts.changed();
    return count;
  }

  #openTail(): { close(): void } {
    return this.#parts.log.tail(this.#parts.next(), {
      record: (sequence, bytes) => {
        this.#toldAtMs = this.#parts.host.clock.monotonicMs();
        this.offer(sequence, bytes);
      },
      ended: () => {
        this.#tail = undefined;
        this.#mustLook = true;
        this.#wake?.();
      },
    });
  }

  /** SL4. */
  async #afterFailure(error: unknown): Promise<void> {
    const { host, limits } = this.#parts;
    this.#inbox.clear();
    this.#mustLook = true;
    if (error instanceof LogFault) {
      const isAtSeal = await this.#isSealed();
      this.#doubtSinceMs ??= host.clock.monotonicMs();
      const isLasting = host.clock.monotonicMs() - this.#doubtSinceMs >= limits.systemLogDoubtMs;
      if (isAtSeal || error.kind === "fork" || isLasting) {
        this.#ending = { isSealed: isAtSeal, detail: error.message };
        return;
      }
    } else if (isUnavailable(error)) this.#doubtSinceMs = undefined;
    else throw error;
    await this.#wait(retryMs);
  }

  /** False proves nothing. */
  async #isSealed(): Promise<boolean> {
    try {
      return await isSealed(this.#parts.log);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      return false;
    }
  }

  /** Bytes that are no record prove nothing: another server of the engine may have the right ones. */
  #decode(bytes: Uint8Array, sequence: number): LogRecord {
    try {
      return decodeRecord(bytes);
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
      throw this.#fault("damaged", sequence, error.message);
    }
  }

  #fault(kind: LogFault["kind"], sequence: number, reason: string): LogFault {
    return new LogFault(kind, this.#parts.log.name, sequence, reason);
  }

  /** True if the whole time has passed and nothing has come. */
  async #wait(atMostMs: number): Promise<boolean> {
    if (this.#isOver) return false;
    const isPast = await new Promise<boolean>((resolve) => {
      const timer = this.#parts.host.timers.after(atMostMs, () => resolve(true));
      this.#wake = () => {
        timer.cancel();
        resolve(false);
      };
    });
    this.#wake = undefined;
    return isPast;
  }
}
