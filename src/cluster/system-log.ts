/**
 * The system log on one node: reads, verifies and folds it as it grows, appends to it, and goes on with its successor when it had to be
 * repaired. The cluster's state is what it says.
 *
 *     opening ──▶ following ──sealed, damaged──▶ stopped ──successor found──▶ following
 *
 * SL1 `state` is the fold of a verified prefix of the log (`system-chain.ts`), all of it durable in this node's copy
 *     (`system-copy.ts`), and never goes back within a life of the node.
 * SL2 A log that does not hold what this node has verified is damaged. A node takes and appends nothing more of a log that it knows to be
 *     damaged or sealed; what was proposed waits for the successor.
 * SL3, SL4 are those of `system-reader.ts`.
 * SL5 Everything ends with `close`.
 */
import type { Limits } from "../base/limits.ts";
import type { Host } from "../host/host.ts";
import type { EngineLog, LogEngine } from "../log/engine-log.ts";
import type { LogRecord } from "../log/record.ts";
import { isDiskRefusal } from "./disk-refusal.ts";
import { SystemChain } from "./system-chain.ts";
import { SystemCopy } from "./system-copy.ts";
import { checkpointOf } from "./system-fold.ts";
import { firstSequenceOf, newestSystemLog, type SystemLogPlace, systemLogName } from "./system-names.ts";
import type { SystemPeers, SystemPosition, SystemQuestion } from "./system-positions.ts";
import { type LogEnding, SystemReader } from "./system-reader.ts";
import { isUnavailable } from "./system-seal.ts";
import type { SystemState } from "./system-state.ts";
import { findSuccessor } from "./system-succession.ts";
import { type Decide, type ProposalOutcome, SystemWriter } from "./system-writer.ts";

export interface SystemLogParts {
  readonly host: Pick<Host, "clock" | "timers" | "random" | "disk" | "trace">;
  readonly limits: Limits;
  readonly engine: LogEngine;
  readonly peers: SystemPeers;
  /** The node's name. */
  readonly node: string;
  /** On the node's disk, of the system logs alone. */
  readonly directory: string;
  readonly segmentBytes: number;
  /** The node can't go on: another cluster's log, `unsupported-version`, its own disk's error. Called at most once. */
  readonly onFailed: (error: unknown) => void;
}

const retryMs = 200;
/** How often a node looks whether the others have gone on without it. */
const successorLookMs = 5000;

export class SystemLog {
  readonly #parts: SystemLogParts;
  readonly #copy: SystemCopy;
  readonly #chain = new SystemChain();
  readonly #writer: SystemWriter;
  readonly #listeners = new Set<(state: SystemState) => void>();
  #place: SystemLogPlace | undefined;
  #reader: SystemReader | undefined;
  #isReady = false;
  /** System logs up to this index are known to be sealed: the node takes nothing of them. */
  #sealedIndex = -1;
  readonly #whenStopped = new Set<() => void>();
  #failure: { readonly error: unknown } | undefined;
  #isClosed = false;
  readonly #sleepers = new Set<() => void>();
  #running: Promise<unknown> | undefined;

  private constructor(parts: SystemLogParts, copy: SystemCopy) {
    const { host, limits } = parts;
    this.#parts = parts;
    this.#copy = copy;
    this.#writer = new SystemWriter({
      host,
      limits,
      log: () => this.#place?.log,
      end: () => (this.#isReady ? { state: this.#chain.state, link: this.#chain.link } : undefined),
      onRecord: (log, { sequence, bytes }) => this.#found(log, sequence, bytes),
      onFailed: (error) => this.#fail(error),
    });
  }

  /**
   * Opens this node's copy, folds it, and begins to read the engine's log behind it. Throws `unsupported-version` (retry never),
   * `DiskError`.
   */
  static async open(parts: SystemLogParts): Promise<SystemLog> {
    const { disk, random, trace } = parts.host;
    const { directory, segmentBytes } = parts;
    const copy = await SystemCopy.open({ disk, random, trace, directory, segmentBytes });
    const log = new SystemLog(parts, copy);
    try {
      await log.#foldCopy();
    } catch (error) {
      await copy.close();
      throw error;
    }
    log.#running = Promise.all([log.#run(), log.#watchForSuccessor()]);
    return log;
  }

  /** Nothing is in it before this node has read the log for the first time. */
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

  /** Whether the last checkpoint is `checkpointRecordsMax` records old, as far as this node has read. */
  get isCheckpointDue(): boolean {
    return this.#needsCheckpoint(this.state);
  }

  /** Appends a checkpoint, if one is due. For the controller. */
  checkpoint(options: { readonly deadlineMs: number }): Promise<ProposalOutcome> {
    return this.propose((state) => (this.#needsCheckpoint(state) ? [checkpointOf(state)] : undefined), options);
  }

  #needsCheckpoint({ sequence, checkpoints }: SystemState): boolean {
    return sequence - (checkpoints.at(-1) ?? 0) >= this.#parts.limits.checkpointRecordsMax;
  }

  /** Has the engine forget what is before the older of two checkpoints. For the controller. Throws `unavailable` (retry safe). */
  async trim(): Promise<void> {
    const [older, newer] = this.state.checkpoints;
    const isHere = older !== undefined && this.#place !== undefined && older >= firstSequenceOf(this.#place.index);
    if (isHere && newer !== undefined) await this.#place?.log.trim(older);
  }

  /**
   * Another node repairs the system log of this index, which is sealed: this node takes nothing more of it. At return its position is
   * final, unless it is closing.
   */
  async stopAt({ index }: SystemQuestion): Promise<SystemPosition> {
    if (index > this.#sealedIndex) {
      this.#sealedIndex = index;
      this.#reader?.stop();
    }
    const isStill = (): boolean => this.#reader === undefined || (this.#place?.index ?? 0) > index;
    while (!isStill() && !this.#isOver) await new Promise<void>((resolve) => this.#whenStopped.add(resolve));
    return { sequence: this.#chain.link?.sequence ?? 0, isFinal: !this.#isOver };
  }

  /** Lets go of everything, whether the disk likes it or not; what is proposed and undecided is `unknown`. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#reader?.stop();
    this.#wakeAll();
    await this.#writer.stop();
    await this.#running;
    try {
      await this.#copy.close();
    } catch (error) {
      if (!isDiskRefusal(error)) throw error;
      // What it holds is durable: only how far it was looked at last is not written down.
      const message = "The node's copy of the cluster's log could not be closed. Check the disk.";
      this.#parts.host.trace("warn", message, { error });
    }
  }

  get #isOver(): boolean {
    return this.#isClosed || this.#failure !== undefined;
  }

  async #foldCopy(): Promise<void> {
    for await (const record of this.#copy.records()) {
      const step = this.#chain.examine(record, { isFirst: this.#chain.link === null && record.sequence > 1 });
      if (step !== undefined) this.#chain.accept(step);
    }
  }

  async #run(): Promise<void> {
    try {
      let place = await this.#locate();
      while (place !== undefined && !this.#isOver) {
        this.#place = place;
        const ending = await this.#follow(place);
        if (ending === undefined) return;
        place = await this.#succeed(place, ending);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The newest log that there is, or the first, which is made. */
  async #locate(): Promise<SystemLogPlace | undefined> {
    const { engine, host } = this.#parts;
    const { index } = this.#copy;
    while (!this.#isOver) {
      try {
        const newest = await newestSystemLog(engine, index);
        if (newest !== undefined) return newest;
        return { index, log: await engine.create(systemLogName(index), { firstSequence: firstSequenceOf(index) }) };
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        host.trace("info", "The system log can't be reached; the node tries on.", { error });
      }
      await this.#pause(retryMs);
    }
    return undefined;
  }

  /** Follows the log until it ends; undefined when this node does. */
  async #follow({ index, log }: SystemLogPlace): Promise<LogEnding | undefined> {
    const sealed: LogEnding = { isSealed: true, detail: "another node repairs it" };
    if (index <= this.#sealedIndex) return sealed;
    const { host, limits } = this.#parts;
    this.#reader = new SystemReader({
      host,
      limits,
      log,
      next: () => Math.max(firstSequenceOf(index), (this.#chain.link?.sequence ?? 0) + 1),
      take: (record, options) => this.#take(record, options),
      changed: () => this.#told(),
      caughtUp: () => this.#caughtUp(),
    });
    try {
      const ending = await this.#reader.run();
      return ending ?? (this.#isOver ? undefined : sealed);
    } finally {
      this.#reader = undefined;
      this.#isReady = false;
      this.#writer.interrupt();
      for (const wake of this.#whenStopped) wake();
      this.#whenStopped.clear();
    }
  }

  /** The others may have gone on while this node could be asked nothing, and its log looks whole to it: it must not go on alone. */
  async #watchForSuccessor(): Promise<void> {
    while (!this.#isOver) {
      await this.#pause(successorLookMs);
      const place = this.#place;
      if (place === undefined || this.#reader === undefined || this.#isOver) continue;
      try {
        if ((await newestSystemLog(this.#parts.engine, place.index + 1)) === undefined) continue;
        this.#sealedIndex = Math.max(this.#sealedIndex, place.index);
        if (this.#place === place) this.#reader?.stop();
      } catch (error) {
        // What can't be reached is looked for again.
        if (!isUnavailable(error)) this.#fail(error);
      }
    }
  }

  #succeed(place: SystemLogPlace, ending: LogEnding): Promise<SystemLogPlace | undefined> {
    const { host, limits, engine, peers, node } = this.#parts;
    this.#sealedIndex = Math.max(this.#sealedIndex, ending.isSealed ? place.index : -1);
    host.trace(
      "error",
      "This node has stopped at the end of a system log that is not whole. It waits for its successor.",
      {
        log: place.log.name,
        detail: ending.detail,
      },
    );
    const { state, link } = this.#chain;
    const isWanted = (): boolean => !this.#isOver;
    return findSuccessor({ host, limits, engine, peers, node, place, ending, state, link, isWanted });
  }

  async #take(record: LogRecord, options: { readonly isFirst: boolean }): Promise<boolean> {
    const step = this.#chain.examine(record, options);
    if (step === undefined) return false;
    await this.#copy.append(record, step);
    this.#chain.accept(step);
    this.#writer.stands(record);
    const [older, newer] = step.state.checkpoints;
    if (newer === record.sequence && older !== undefined) await this.#copy.trim(older);
    return true;
  }

  #caughtUp(): void {
    if (!this.#isReady && this.#chain.isWhole) {
      this.#isReady = true;
      this.#told();
    }
  }

  /** The writer has found a record. */
  #found(log: EngineLog, sequence: number, bytes: Uint8Array): void {
    if (this.#reader?.log === log) this.#reader.offer(sequence, bytes);
  }

  #told(): void {
    for (const listener of [...this.#listeners]) listener(this.#chain.state);
    this.#writer.wake();
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { error };
    this.#isReady = false;
    const message = "The system log can't be followed any more. This node stops taking part; look at the cause.";
    this.#parts.host.trace("error", message, { log: this.#place?.log.name, error });
    this.#writer.abandon();
    this.#reader?.stop();
    this.#wakeAll();
    if (!this.#isClosed) this.#parts.onFailed(error);
  }

  async #pause(delayMs: number): Promise<void> {
    if (this.#isOver) return;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        timer.cancel();
        this.#sleepers.delete(wake);
        resolve();
      };
      const timer = this.#parts.host.timers.after(delayMs, wake);
      this.#sleepers.add(wake);
    });
  }

  #wakeAll(): void {
    for (const wake of [...this.#sleepers]) wake();
    for (const wake of this.#whenStopped) wake();
    this.#whenStopped.clear();
  }
}
