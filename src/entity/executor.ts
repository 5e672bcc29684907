/**
 * The executor: runs a shard's works one at a time, in slices, and hands their effects to the committer without waiting for
 * them to be durable. A slice is a turn of the watchdog.
 *
 * E1  Works run in the order of their submission, except those that wait for a lock or a turn.
 * E2  A work whose user code loops for ever is stopped within the command limit; only it fails (G10).
 * E3  Nothing but user code is ever stopped: what it leaves is its own draft, so nothing half-done stays.
 * E4  Everything that waits is bounded in number, bytes and time (G9).
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { resetDecoder } from "../base/value.ts";
import { GuardTimeout, type Host, type StopReason, type Timer, type Turns } from "../host/host.ts";
import type { Committer } from "./committer.ts";
import type { Work } from "./work.ts";

const deadlineSweepMs = 100;

export class Executor {
  readonly #host: Host;
  readonly #turns: Turns;
  readonly #limits: Limits;
  readonly #committer: Committer;
  /** Called when a slice is over. */
  readonly #afterSlice: () => void;
  /** What waits elsewhere than here: whether there is any, and the moment to look for what has waited too long. */
  readonly #elsewhere: { hasOpen(): boolean; failExpired(nowMs: number): void };
  /** A work threw what it should have settled: memory can't be trusted any more. */
  readonly #onBug: (error: unknown) => void;
  /** From `#head` on; nothing is kept of those before it. */
  #queue: (Work | undefined)[] = [];
  #head = 0;
  #queuedBytes = 0;
  readonly #parked = new Set<Work>();
  #isScheduled = false;
  #current: Work | undefined;
  #paused = 0;
  #stopped: OnefoldError | undefined;
  /** Works that are being failed, while they are. */
  #failing: Work[] = [];
  #sweep: Timer | undefined;

  constructor(parts: {
    readonly host: Host;
    readonly limits: Limits;
    readonly committer: Committer;
    readonly afterSlice: () => void;
    readonly onBug: (error: unknown) => void;
    readonly elsewhere: { hasOpen(): boolean; failExpired(nowMs: number): void };
  }) {
    this.#host = parts.host;
    this.#turns = parts.host.guard.turns({
      run: () => this.#runSlice(),
      stopped: (reason) => this.#afterStop(reason),
    });
    this.#limits = parts.limits;
    this.#committer = parts.committer;
    this.#afterSlice = parts.afterSlice;
    this.#onBug = parts.onBug;
    this.#elsewhere = parts.elsewhere;
  }

  get queuedCount(): number {
    return this.#queue.length - this.#head + this.#parked.size;
  }

  /** Queues work from outside. Throws `overloaded`, or what stopped the executor. */
  submit(work: Work): void {
    if (this.#stopped !== undefined) throw this.#stopped;
    if (
      this.queuedCount + this.#committer.heldCount >= this.#limits.queuedCallsMax ||
      this.#queuedBytes + work.sizeBytes > this.#limits.queuedBytesMax
    ) {
      throw new OnefoldError(
        "overloaded",
        "The shard's queue is full; nothing was changed. Try again a little later.",
        {
          retryAfterMs: 100,
        },
      );
    }
    this.resubmit(work);
  }

  /** Queues work that was accepted before, or is the shard's own: past the limits, which have counted it already. */
  resubmit(work: Work): void {
    if (this.#stopped !== undefined) return this.#failAll([work], this.#stopped);
    this.#parked.delete(work);
    this.#queue.push(work);
    this.#queuedBytes += work.sizeBytes;
    this.#schedule();
  }

  /** What was stopped runs again before anything else: whoever came later has waited for it anyway (E1). */
  resubmitFirst(work: Work): void {
    if (this.#stopped !== undefined) return this.#failAll([work], this.#stopped);
    if (this.#head === 0) this.#queue.unshift(work);
    else this.#queue[--this.#head] = work;
    this.#queuedBytes += work.sizeBytes;
    this.#schedule();
  }

  /** After a drop: every lock that somebody waited for is gone with the memory that it stood for. */
  resubmitParked(): void {
    for (const work of [...this.#parked]) this.resubmit(work);
  }

  /** A parked work has its lock. Harmless where it waits no more: a drop may have come first. */
  grant(work: Work): void {
    if (this.#parked.has(work)) this.resubmit(work);
  }

  /** Remembers a work that waits for a lock, for its deadline. `grant` takes it back. */
  park(work: Work): void {
    this.#parked.add(work);
    this.#scheduleSweep();
  }

  unpark(work: Work): void {
    this.#parked.delete(work);
  }

  /** No work runs until as many `resume`s have been called. */
  pause(): void {
    this.#paused++;
  }

  resume(): void {
    this.#paused--;
    this.#schedule();
  }

  /** Fails everything that has not begun, and everything that comes. */
  stop(error: OnefoldError): void {
    this.#stopped = error;
    this.#sweep?.cancel();
    const waiting = [...(this.#queue.slice(this.#head) as Work[]), ...this.#parked];
    this.#queue = [];
    this.#head = 0;
    this.#queuedBytes = 0;
    this.#parked.clear();
    this.#failAll(waiting, error);
    // What has entered the open batch counts as done, and its callers wait. In a slice, its end sees to that.
    if (this.#current === undefined) this.#committer.kick();
  }

  /** One after the other: the next one often comes from inside of `fail`, by the lock that a failed work lets go of. */
  #failAll(works: readonly Work[], error: OnefoldError): void {
    for (const work of works) this.#failing.push(work);
    if (this.#failing.length > works.length) return;
    for (const work of this.#failing) work.fail(error);
    this.#failing = [];
  }

  /** Looks again whether there is something to do. */
  wake(): void {
    if (this.#head < this.#queue.length) this.#schedule();
  }

  /** Whether effects may enter the open batch outside of a slice. */
  get canCommitNow(): boolean {
    return this.#paused === 0 && this.#stopped === undefined && this.#current === undefined && this.#committer.hasRoom;
  }

  /** Sees to it that what entered the open batch outside of a slice is appended. */
  commitSoon(): void {
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled || this.#paused > 0 || this.#stopped !== undefined) return;
    this.#isScheduled = true;
    this.#turns.soon();
    this.#scheduleSweep();
  }

  #runSlice(): void {
    this.#isScheduled = false;
    if (this.#paused > 0 || this.#stopped !== undefined) return;
    try {
      this.#slice();
    } catch (error) {
      // So a simulated watchdog ends a turn.
      if (error instanceof GuardTimeout) throw error;
      return this.#onBug(error);
    }
    this.#endSlice();
  }

  #slice(): void {
    const { sliceMs, sliceCommandsMax } = this.#limits;
    const clock = this.#host.clock;
    const began = clock.monotonicMs();
    for (let done = 0; done < sliceCommandsMax && this.#head < this.#queue.length; done++) {
      if (!this.#committer.hasRoom) return;
      const work = this.#queue[this.#head]!;
      this.#queue[this.#head++] = undefined;
      this.#queuedBytes -= work.sizeBytes;
      this.#current = work;
      if (!work.isSettled) work.execute();
      this.#current = undefined;
      // Others want their turn too: I/O, timers, requests that arrive.
      if (clock.monotonicMs() - began > sliceMs) return;
    }
  }

  /** E3. The slice ended in the middle of the present work's user code. */
  #afterStop(reason: StopReason): void {
    resetDecoder();
    const culprit = this.#current;
    this.#current = undefined;
    try {
      culprit?.stopped(reason);
    } catch (error) {
      return this.#onBug(error);
    }
    this.#endSlice();
  }

  #endSlice(): void {
    if (this.#head > 1024 && this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    this.#afterSlice();
    this.#committer.kick();
    // With a full batch the next slice waits for the append, whose end wakes the executor.
    if (this.#head < this.#queue.length && this.#committer.hasRoom) this.#schedule();
  }

  #scheduleSweep(): void {
    if (this.#sweep !== undefined || this.#stopped !== undefined) return;
    this.#sweep = this.#host.timers.after(deadlineSweepMs, () => {
      this.#sweep = undefined;
      this.#failExpired();
      const isOpen = this.queuedCount > 0 || this.#committer.isBusy || this.#elsewhere.hasOpen();
      if (isOpen) this.#scheduleSweep();
    });
  }

  #failExpired(): void {
    const now = this.#host.clock.monotonicMs();
    const notBegun = () =>
      new OnefoldError("deadline-passed", "The deadline passed before the request began; nothing was changed.", {
        retry: "safe",
      });
    for (let i = this.#head; i < this.#queue.length; i++) {
      const work = this.#queue[i]!;
      if (work.deadlineMs < now && !work.isSettled) work.fail(notBegun());
    }
    for (const work of [...this.#parked]) {
      if (work.deadlineMs < now && !work.isSettled) {
        this.#parked.delete(work);
        work.fail(notBegun());
      }
    }
    this.#elsewhere.failExpired(now);
    for (const work of this.#committer.held()) {
      if (work.deadlineMs < now && !work.isSettled) {
        work.fail(new OnefoldError("deadline-passed", "The deadline passed while the request was being made durable."));
      }
    }
  }
}
