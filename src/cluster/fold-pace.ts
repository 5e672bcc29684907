/**
 * When the followers of one node fold. Each fold is a durable transaction of its shard's store, and all of them share the disk, and the
 * few threads that wait for it, with the owned shards' copies, which acknowledged calls wait for.
 *
 * FP1 Folds begin so far apart that they take a tenth of the time together, as far as FP2 allows. What is gathered meanwhile is folded once.
 * FP2 No follower waits longer than `foldMsMax` after its last fold, nor less than `foldMsMin`.
 */
import type { Clock } from "../host/host.ts";

const foldMsMin = 50;
const foldMsMax = 250;
/** A fold that takes so long keeps the others back for so many times as long. */
const foldShare = 10;

export class FoldPace {
  readonly #clock: Pick<Clock, "monotonicMs">;
  /** Monotonic time up to which moments are given away. */
  #givenMs = Number.NEGATIVE_INFINITY;
  #lastTookMs = 0;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /**
   * The moment, by the monotonic clock, at which a follower folds that has folded last at `foldedAtMs` and has something to fold now. Asked
   * once for each fold: so they come in the order in which they asked.
   */
  next(foldedAtMs: number): number {
    const nowMs = this.#clock.monotonicMs();
    const earliestMs = Math.max(nowMs, foldedAtMs + foldMsMin);
    const latestMs = Math.max(nowMs, foldedAtMs + foldMsMax);
    const dueMs = Math.min(latestMs, Math.max(earliestMs, this.#givenMs));
    // What was slow once does not keep the others back for longer than the bound.
    this.#givenMs = Math.min(nowMs + foldMsMax, Math.max(this.#givenMs, dueMs) + foldShare * this.#lastTookMs);
    return dueMs;
  }

  /** Folds, and learns how long that takes; rejects as `fold` does. */
  async run(fold: () => Promise<void>): Promise<void> {
    const beganMs = this.#clock.monotonicMs();
    await fold();
    this.#lastTookMs = this.#clock.monotonicMs() - beganMs;
  }
}
