/**
 * The system log on one node: reads, verifies and folds it as it grows, and appends to it. The cluster's state is what it says.
 *
 * SL1 `state` is the fold of a verified prefix of the log (`system-chain.ts`) and never goes back within a life of the node.
 * SL2 The verified end is on the node's disk at most a second later (`system-anchor.ts`). A log that does not hold it is `damaged`: this
 *     node tells so once, and takes and appends nothing more.
 * SL3 Tails skip, repeat and fall silent (EL3): what counts is what was read in order, and there is a look at the log's end at least every
 *     `pollMs`.
 * SL4 A valid record that does not follow is damage at once. A hole, wrong bytes, an end before what was verified may be a stale or broken
 *     server's answer: they are damage only once they have stood for `systemLogDoubtMs`, in which the engine did answer.
 * SL5 Everything ends with `close`.
 */
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Host } from "../host/host.ts";
import type { AnchorFile } from "../log/engine/segment/anchors.ts";
import type { EngineLog } from "../log/engine-log.ts";
import type { LogPosition } from "../log/log.ts";
import { decodeRecord, type LogRecord } from "../log/record.ts";
import { RecordInbox } from "./record-inbox.ts";
import { openSystemAnchor } from "./system-anchor.ts";
import { damagedSystemLog, SystemChain } from "./system-chain.ts";
import { checkpointOf } from "./system-fold.ts";
import type { SystemState } from "./system-state.ts";
import { type Decide, type ProposalOutcome, SystemWriter } from "./system-writer.ts";

export interface SystemLogParts {
  readonly host: Pick<Host, "clock" | "timers" | "random" | "disk" | "trace">;
  readonly limits: Limits;
  readonly log: EngineLog;
  /** On the node's disk, of this log alone. */
  readonly directory: string;
  /** The node can't go on with this log: `damaged`, `unsupported-version`, or its own disk's error. Called at most once. */
  readonly onFailed: (error: unknown) => void;
}

const pollMs = 300;
const retryMs = 200;
const readBytes = 1024 * 1024;
const inboxBytesMax = 4 * 1024 * 1024;

/** Something that is wrong, if it stays so (SL4). */
class Doubt extends Error {
  override readonly name = "Doubt";
  readonly sequence: number;

  constructor(sequence: number, reason: string) {
    super(reason);
    this.sequence = sequence;
  }
}

export class SystemLog {
  readonly #parts: SystemLogParts;
  readonly #anchorFile: AnchorFile;
  readonly #chain: SystemChain;
  readonly #writer: SystemWriter;
  readonly #inbox = new RecordInbox(inboxBytesMax);
  readonly #listeners = new Set<(state: SystemState) => void>();
  #anchored: LogPosition | null;
  #anchoredAtMs: number;
  #tail: { close(): void } | undefined;
  #mustLook = true;
  #isReady = false;
  #doubtSinceMs: number | undefined;
  #failure: { readonly error: unknown } | undefined;
  #isClosed = false;
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;

  private constructor(parts: SystemLogParts, anchorFile: AnchorFile) {
    const { host, limits, log } = parts;
    this.#parts = parts;
    this.#anchorFile = anchorFile;
    this.#anchored = anchorFile.state.anchor;
    this.#anchoredAtMs = host.clock.monotonicMs();
    this.#chain = new SystemChain(log.name, this.#anchored);
    this.#writer = new SystemWriter({
      host,
      limits,
      log,
      end: () => (this.#isReady ? { state: this.#chain.state, link: this.#chain.link } : undefined),
      onRecord: ({ sequence, bytes }) => this.#found(sequence, bytes),
      onFailed: (error) => this.#fail(error),
    });
  }

  /** Opens it and begins to read. Throws `damaged` (retry never) where the node's own anchor can't be read, `DiskError`. */
  static async open(parts: SystemLogParts): Promise<SystemLog> {
    const { disk, trace } = parts.host;
    const log = new SystemLog(parts, await openSystemAnchor(disk, parts.directory, trace));
    log.#running = log.#run();
    return log;
  }

  /** Nothing is in it before the log was read for the first time. */
  get state(): SystemState {
    return this.#chain.state;
  }

  /** Whether the log has been read to its end, as the engine showed it, and holds what this node has verified before. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Calls `listener` after each change of the state, until the result is called. It must not throw. */
  onChange(listener: (state: SystemState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** See `SystemWriter`. A node that has failed or is closed gets `unknown`. */
  propose(decide: Decide, options: { readonly deadlineMs: number }): Promise<ProposalOutcome> {
    return this.#writer.propose(decide, options);
  }

  /** Appends a checkpoint, if the last one is `checkpointRecordsMax` records old. For the controller. */
  checkpoint(options: { readonly deadlineMs: number }): Promise<ProposalOutcome> {
    const { checkpointRecordsMax } = this.#parts.limits;
    const isDue = (state: SystemState): boolean =>
      state.sequence - (state.checkpoints.at(-1) ?? 0) >= checkpointRecordsMax;
    return this.propose((state) => (isDue(state) ? [checkpointOf(state)] : undefined), options);
  }

  /** Has the engine forget what is before the older of two checkpoints. For the controller. Throws `unavailable` (retry safe). */
  async trim(): Promise<void> {
    const [older, newer] = this.state.checkpoints;
    if (older !== undefined && newer !== undefined) await this.#parts.log.trim(older);
  }

  /** Remembers the end on disk, and lets go of everything; what is proposed and undecided is `unknown`. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#wake?.();
    await this.#writer.stop();
    await this.#running;
    await this.#anchorFile.close();
  }

  get #isOver(): boolean {
    return this.#isClosed || this.#failure !== undefined;
  }

  async #run(): Promise<void> {
    try {
      while (!this.#isOver) await this.#step();
      if (this.#failure === undefined) await this.#anchor();
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#tail?.close();
    }
  }

  async #step(): Promise<void> {
    try {
      if (this.#takeInbox() > 0) return await this.#anchorIfDue();
      if (this.#mustLook) return await this.#look();
      await this.#anchorIfDue();
      if (await this.#wait(pollMs)) this.#mustLook = true;
    } catch (error) {
      await this.#afterFailure(error);
    }
  }

  // ------------------------------------------------------------------------------------------------------------ reading

  /** Reads to the end, as the engine shows it. Throws `Doubt`, `unavailable`, `damaged`, `unsupported-version`. */
  async #look(): Promise<void> {
    const { log } = this.#parts;
    this.#mustLook = false;
    for (;;) {
      const records = await log.readMany(this.#nextSequence, readBytes);
      if (this.#isOver) return;
      let count = 0;
      for (const bytes of records) count += this.#take(bytes) ? 1 : 0;
      if (count === 0) break;
      this.#told();
    }
    const { first, last } = await log.bounds();
    if (this.#isOver) return;
    const next = this.#nextSequence;
    if (first > next) return await this.#beginAt(first);
    if (last >= next) throw new Doubt(next, "a record is missing though later ones are there");
    if (last < this.#chain.knownSequence) throw new Doubt(last + 1, "it ends before what this node has verified");
    this.#doubtSinceMs = undefined;
    this.#tail ??= this.#openTail();
    if (!this.#isReady && this.#chain.isWhole) {
      this.#isReady = true;
      this.#told();
    }
  }

  /** The log was trimmed farther than this node has read. */
  async #beginAt(first: number): Promise<void> {
    const bytes = await this.#parts.log.read(first);
    if (this.#isOver) return;
    if (bytes === undefined || !this.#take(bytes, { isFirst: true }))
      throw new Doubt(first, "its first record is missing");
    this.#tail?.close();
    this.#tail = undefined;
    this.#mustLook = true;
    this.#told();
  }

  get #nextSequence(): number {
    return (this.#chain.link?.sequence ?? 0) + 1;
  }

  /** Takes a record if it is the next one, or the first; false if it is not. Throws as `#look` does. */
  #take(bytes: Uint8Array, { isFirst = false } = {}): boolean {
    const next = this.#nextSequence;
    const record = decodeFound(bytes, next);
    if (record.sequence > next && !isFirst) return false;
    if (!this.#chain.take(record, { isFirst })) return false;
    this.#writer.stands(record);
    return true;
  }

  #takeInbox(): number {
    let count = 0;
    for (;;) {
      const bytes = this.#inbox.take(this.#nextSequence);
      if (bytes === undefined || !this.#take(bytes)) break;
      count++;
    }
    if (this.#inbox.isStuck) {
      // Something was skipped; what is read from the engine makes the rest superfluous.
      this.#inbox.clear();
      this.#mustLook = true;
    }
    if (count > 0) this.#told();
    return count;
  }

  /** The writer has found a record. */
  #found(sequence: number, bytes: Uint8Array): void {
    if (this.#isOver || sequence !== this.#nextSequence) return;
    this.#take(bytes);
    this.#told();
  }

  #openTail(): { close(): void } {
    return this.#parts.log.tail(this.#nextSequence, {
      record: (sequence, bytes) => {
        if (sequence < this.#nextSequence) return;
        if (!this.#inbox.put(sequence, bytes)) this.#mustLook = true;
        this.#wake?.();
      },
      ended: () => {
        this.#tail = undefined;
        this.#mustLook = true;
        this.#wake?.();
      },
    });
  }

  #told(): void {
    for (const listener of [...this.#listeners]) listener(this.#chain.state);
    this.#writer.wake();
  }

  // ------------------------------------------------------------------------------------------------------ when it is wrong

  async #afterFailure(error: unknown): Promise<void> {
    const { host, limits, log } = this.#parts;
    const isOutOfReach = error instanceof OnefoldError && error.code === "unavailable";
    if (!isOutOfReach && !(error instanceof Doubt)) throw error;
    this.#inbox.clear();
    this.#mustLook = true;
    const nowMs = host.clock.monotonicMs();
    if (error instanceof Doubt) {
      this.#doubtSinceMs ??= nowMs;
      if (nowMs - this.#doubtSinceMs >= limits.systemLogDoubtMs)
        throw damagedSystemLog(log.name, error.sequence, error.message);
    } else this.#doubtSinceMs = undefined;
    await this.#wait(retryMs);
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { error };
    this.#isReady = false;
    const message = "The system log can't be followed any more. This node stops taking part; look at the cause.";
    this.#parts.host.trace("error", message, { log: this.#parts.log.name, error });
    this.#writer.abandon();
    this.#wake?.();
    if (!this.#isClosed) this.#parts.onFailed(error);
  }

  // ------------------------------------------------------------------------------------------------------------- anchoring

  async #anchorIfDue(): Promise<void> {
    const { host, limits } = this.#parts;
    if (host.clock.monotonicMs() - this.#anchoredAtMs >= limits.anchorIntervalMs) await this.#anchor();
  }

  /** SL2. Throws `DiskError`. */
  async #anchor(): Promise<void> {
    const { link } = this.#chain;
    this.#anchoredAtMs = this.#parts.host.clock.monotonicMs();
    if (link === null || !this.#chain.isWhole || isAt(this.#anchored, link)) return;
    await this.#anchorFile.anchor(link);
    this.#anchored = link;
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

function isAt(anchor: LogPosition | null, { sequence, hash }: LogPosition): boolean {
  return anchor !== null && anchor.sequence === sequence && equalBytes(anchor.hash, hash);
}

/** Bytes that are no record prove nothing: another server of the engine may have the right ones. */
function decodeFound(bytes: Uint8Array, sequence: number): LogRecord {
  try {
    return decodeRecord(bytes);
  } catch (error) {
    if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
    throw new Doubt(sequence, error.message);
  }
}
