/**
 * The executor: runs a shard's works one at a time, in slices under the watchdog, and hands their effects to the committer
 * without waiting for them to be durable.
 *
 * E1  Works run in the order of their submission, except those that wait for a lock or a turn.
 * E2  A work that loops for ever is stopped within the command limit; only it fails (G10).
 * E3  If the watchdog strikes while effects are being taken in, the whole suffix is dropped: nothing half-done stays.
 * E4  Everything that waits is bounded in number, bytes and time (G9).
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { resetDecoder } from "../base/value.ts";
import { type Guard, GuardTimeout, type Host, type Timer } from "../host/host.ts";
import type { Committer } from "./committer.ts";
import type { Work } from "./work.ts";

/** How much longer than a slice and one command the watchdog waits: the time to take in the command's effects. */
const guardMarginMs = 50;
const deadlineSweepMs = 100;
/** So many works begin at once, whatever is under way; and fewer wait this long at most. See docs/performance.md. */
const worthASlice = 48;
const waitMs = 1;

export class Executor {
  readonly #host: Host;
  readonly #guard: Guard;
  readonly #limits: Limits;
  readonly #committer: Committer;
  /** Called when a slice is over, outside the watchdog. */
  readonly #afterSlice: () => void;
  /** What waits elsewhere than here: whether there is any, and the moment to look for what has waited too long. */
  readonly #elsewhere: { hasOpen(): boolean; failExpired(nowMs: number): void };
  /** A work threw what it should have settled: memory can't be trusted any more. */
  readonly #onBug: (error: unknown) => void;
  /** E3. */
  readonly #dropSuffix: () => void;
  #queue: Work[] = [];
  #head = 0;
  #queuedBytes = 0;
  readonly #parked = new Set<Work>();
  #isScheduled = false;
  #wait: Timer | undefined;
  #hasWaited = false;
  #current: Work | undefined;
  #hasTakenIn = false;
  /** Whether the present slice is watched. */
  #isGuarded = false;
  #paused = 0;
  #stopped: OnefoldError | undefined;
  /** Works that are being failed, while they are. */
  #failing: Work[] = [];
  #sweep: Timer | undefined;
  #sliceLimitMs: number;

  constructor(parts: {
    readonly host: Host;
    readonly limits: Limits;
    readonly committer: Committer;
    readonly afterSlice: () => void;
    readonly dropSuffix: () => void;
    readonly onBug: (error: unknown) => void;
    readonly elsewhere: { hasOpen(): boolean; failExpired(nowMs: number): void };
  }) {
    this.#host = parts.host;
    this.#guard = parts.host.guard;
    this.#limits = parts.limits;
    this.#committer = parts.committer;
    this.#afterSlice = parts.afterSlice;
    this.#dropSuffix = parts.dropSuffix;
    this.#onBug = parts.onBug;
    this.#elsewhere = parts.elsewhere;
    this.#sliceLimitMs = this.#limits.sliceMs + this.#limits.commandMs + guardMarginMs;
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
    // In this order: the watchdog may strike in here, and what is in neither of them would wait for ever.
    this.#queue.push(work);
    this.#parked.delete(work);
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
    this.#wait?.cancel();
    const waiting = [...this.#queue.slice(this.#head), ...this.#parked];
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
    if (this.#head >= this.#queue.length) return;
    this.#hasWaited = true;
    this.#schedule();
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
    // What runs now is appended only after the append that is under way. A slice costs a watchdog, so a small one waits for
    // the end of that append (which calls `wake`), though not long: reads need no append.
    if (this.#committer.isAppending && this.#queue.length - this.#head < worthASlice && !this.#hasWaited) {
      this.#wait ??= this.#host.timers.after(waitMs, () => {
        this.#wait = undefined;
        this.#hasWaited = true;
        this.#schedule();
      });
      return;
    }
    this.#isScheduled = true;
    this.#hasWaited = false;
    this.#host.timers.soon(this.#runSlice);
    this.#scheduleSweep();
  }

  readonly #runSlice = (): void => {
    this.#isScheduled = false;
    if (this.#paused > 0 || this.#stopped !== undefined) return;
    try {
      this.#isGuarded = this.#needsGuard();
      if (this.#isGuarded) this.#guard.run(this.#sliceLimitMs, this.#slice);
      else this.#slice();
    } catch (error) {
      if (error instanceof GuardTimeout) this.#afterTimeout();
      else return this.#onBug(error);
    }
    if (this.#head > 1024 && this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    this.#afterSlice();
    this.#committer.kick();
    // With a full batch the next slice waits for the append, whose end wakes the executor.
    if (this.#head < this.#queue.length && this.#committer.hasRoom) this.#schedule();
  };

  /** A thread of its own watches a slice, which costs some 60 µs: not worth it for a few works without user code. */
  #needsGuard(): boolean {
    const end = Math.min(this.#queue.length, this.#head + 8);
    if (this.#queue.length > end) return true;
    for (let i = this.#head; i < end; i++) if (this.#queue[i]!.runsUserCode) return true;
    return false;
  }

  readonly #slice = (): void => {
    const { sliceMs, sliceCommandsMax } = this.#limits;
    const clock = this.#host.clock;
    const began = clock.monotonicMs();
    for (let done = 0; done < sliceCommandsMax && this.#head < this.#queue.length; done++) {
      if (!this.#committer.hasRoom) return;
      const work = this.#queue[this.#head]!;
      if (!this.#isGuarded && work.runsUserCode) return;
      this.#current = work;
      // A transaction may have committed between two slices, which is nothing that a stop of this work would tear apart.
      this.#hasTakenIn = false;
      this.#head++;
      this.#queuedBytes -= work.sizeBytes;
      if (!work.isSettled) work.execute();
      this.#current = undefined;
      this.#hasTakenIn = false;
      // After every work: the watchdog's limit counts on no command to begin later than this into a slice.
      if (clock.monotonicMs() - began > sliceMs) return;
    }
    // The batch is appended when the watchdog is off (`#runSlice`). Appending in here would hide half of what the watchdog
    // costs at concurrency 1, but a stop in the middle of it leaves a write that nobody knows the end of, and a node that
    // has to stop: any pause of the process for longer than the limit could do that.
  };

  /**
   * The present work's effects begin to enter the memory and the batch. From here until its end a stop must take them back
   * with all that came before (E3): the work is told that it was stopped, which then means that nothing of it happened.
   */
  beginTakingIn(): void {
    this.#hasTakenIn = true;
  }

  /** What the present work has begun (at a lock, before it ran any user code) is whole. It has taken in nothing yet. */
  endTakingIn(): void {
    this.#hasTakenIn = false;
  }

  #afterTimeout(): void {
    resetDecoder();
    // The stop may have come between the mark and what it stands for. An additional slice harms nobody.
    this.#isScheduled = false;
    this.#hasWaited = true;
    const culprit = this.#current;
    this.#current = undefined;
    if (this.#hasTakenIn) {
      this.#host.trace("error", "The watchdog struck while effects were being taken in; the open batches are dropped.");
      this.#dropSuffix();
    }
    culprit?.stopped();
    // What the culprit has kept for its caller came in outside of the watchdog.
    this.#hasTakenIn = false;
  }

  #scheduleSweep(): void {
    if (this.#sweep !== undefined || this.#stopped !== undefined) return;
    this.#sweep = this.#host.timers.after(deadlineSweepMs, () => {
      this.#sweep = undefined;
      this.#failExpired();
      const isOpen = this.queuedCount > 0 || this.#committer.inFlightCount > 0 || this.#elsewhere.hasOpen();
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
