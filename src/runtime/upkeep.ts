/**
 * The upkeep of an open node: anchors the log, decides when a snapshot is due, and scrubs, beside the node's work.
 *
 * U1  What the log has acknowledged is anchored within about a second (G8).
 * U2  A snapshot is due after so much log; sooner where space for the log gets short, so that it is trimmed before writes
 *     have to stop; and on a full disk at once, then again and again, ever more rarely.
 * U3  What fails here harms no call: it is traced, shown in the node's health, and tried again.
 */
import type { Limits } from "../base/limits.ts";
import type { Shard } from "../entity/shard.ts";
import type { Host, Timer } from "../host/host.ts";
import type { SegmentLog } from "../log/engine/segment/engine.ts";
import { scrubLog } from "./scrub.ts";
import type { Snapshots } from "./snapshots.ts";

const retryFirstMs = 5000;
const retryMaxMs = 60_000;
const scrubRestMs = 100;
const scrubIntervalMs = 24 * 3_600_000;
const scrubFirstMs = 60_000;
/** Where space is short, a snapshot after every so-manieth part of a segment. */
const shortOfSpaceParts = 8;

export interface UpkeepParts {
  readonly host: Pick<Host, "clock" | "timers" | "trace">;
  readonly limits: Limits;
  readonly shard: Shard;
  readonly log: SegmentLog;
  readonly snapshots: Snapshots;
  readonly snapshotBytes: number;
  readonly segmentBytes: number;
}

export class Upkeep {
  readonly #parts: UpkeepParts;
  readonly #timers = new Map<Timer, () => void>();
  #anchoring: Promise<void> | undefined;
  #isOver = false;
  #retryMs = retryFirstMs;
  #notBeforeMs = 0;

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#after(this.#parts.limits.anchorIntervalMs, () => this.#tick());
    this.#after(scrubFirstMs, () => this.#scrub());
  }

  /** Ends it; resolves when nothing of it is under way any more, but for a snapshot, which is its owner's to await. */
  async stop(): Promise<void> {
    this.#isOver = true;
    for (const [timer, onEnd] of this.#timers) {
      timer.cancel();
      onEnd();
    }
    this.#timers.clear();
    await this.#anchoring;
  }

  /** Runs `run` after a while, or `onEnd` where the upkeep ends before. */
  #after(delayMs: number, run: () => void, onEnd: () => void = () => undefined): void {
    if (this.#isOver) return onEnd();
    const timer = this.#parts.host.timers.after(delayMs, () => {
      this.#timers.delete(timer);
      run();
    });
    this.#timers.set(timer, onEnd);
  }

  #tick(): void {
    this.#anchoring = this.#anchor().finally(() => {
      this.#anchoring = undefined;
      this.#after(this.#parts.limits.anchorIntervalMs, () => this.#tick());
    });
    if (this.#isSnapshotDue()) this.#snapshot();
  }

  /** U1. Never rejects. */
  async #anchor(): Promise<void> {
    const { log, shard, host } = this.#parts;
    try {
      await log.anchor();
    } catch (cause) {
      host.trace("error", "The log's end could not be anchored; a rollback could go unnoticed. Check the disk.", {
        cause,
      });
      shard.setProblem("anchor", "The log's end could not be anchored.");
    }
  }

  // ---------------------------------------------------------------------------------------------------------- snapshots

  /** U2. */
  #isSnapshotDue(): boolean {
    const { log, snapshots, host, snapshotBytes, segmentBytes } = this.#parts;
    if (snapshots.isUnderWay || host.clock.monotonicMs() < this.#notBeforeMs) return false;
    if (this.#isDiskFull()) return true;
    const { grownBytes } = snapshots;
    return grownBytes >= snapshotBytes || (log.isShortOfSpace && grownBytes >= segmentBytes / shortOfSpaceParts);
  }

  #isDiskFull(): boolean {
    const { shard } = this.#parts;
    return shard.isLogFull || shard.applier.isFull;
  }

  #snapshot(): void {
    const { shard, host, log, snapshots } = this.#parts;
    const { firstSequence } = log;
    snapshots.take().then(
      () => {
        shard.setProblem("snapshot", undefined);
        // Where it doesn't help it is not done again with every breath.
        if (this.#isDiskFull() && log.firstSequence === firstSequence) this.#backOff();
        else this.#retryMs = retryFirstMs;
      },
      (cause: unknown) => {
        if (this.#isOver) return;
        host.trace("warn", "A snapshot failed; the log grows until the next one succeeds. Look at the cause.", {
          cause,
        });
        shard.setProblem("snapshot", `The last snapshot failed: ${reasonOf(cause)}`);
        this.#backOff();
      },
    );
  }

  #backOff(): void {
    this.#notBeforeMs = this.#parts.host.clock.monotonicMs() + this.#retryMs;
    this.#retryMs = Math.min(2 * this.#retryMs, retryMaxMs);
  }

  // -------------------------------------------------------------------------------------------------------------- scrub

  #scrub(): void {
    const { log, shard, host } = this.#parts;
    const rest = (): Promise<"on" | "end"> =>
      new Promise((resolve) => {
        this.#after(
          scrubRestMs,
          () => resolve("on"),
          () => resolve("end"),
        );
      });
    scrubLog(log, rest).then(
      () => {
        if (!this.#isOver) shard.setProblem("scrub", undefined);
      },
      (cause: unknown) => {
        if (this.#isOver) return;
        host.trace("error", "The log is damaged; run `onefold verify` and restore a backup.", { cause });
        shard.setProblem("scrub", `The log is damaged: ${reasonOf(cause)}`);
      },
    );
    this.#after(scrubIntervalMs, () => this.#scrub());
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
