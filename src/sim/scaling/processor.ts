/**
 * Processors of a simulation that counts what work takes.
 *
 * PR1 A node's code runs on one processor (Node's main thread): a step begins when all steps before it are done, in the order of coming.
 * PR2 What a step has cost is known when it and its microtasks are over, so whatever it sends leaves at its beginning: the delay falls on
 *     what comes after it.
 * PR3 Servers have several processors; they are taken together as one that is so much faster, which is right when they are busy.
 */
import type { TurnTaker } from "../life.ts";
import type { Scheduler } from "../scheduler.ts";

export class Processor implements TurnTaker {
  readonly #scheduler: Scheduler;
  readonly #turnUs: number;
  #freeAtMs = 0;
  #busyMs = 0;
  #waiting: (() => void)[] = [];
  #head = 0;
  #isWaking = false;

  constructor(scheduler: Scheduler, options: { readonly turnUs: number }) {
    this.#scheduler = scheduler;
    this.#turnUs = options.turnUs;
  }

  /** Milliseconds for which it has worked, or is going to with what it has. */
  get busyMs(): number {
    return this.#busyMs;
  }

  /** The step that is under way takes so much longer. */
  charge(costUs: number): void {
    const costMs = costUs / 1000;
    this.#freeAtMs = Math.max(this.#freeAtMs, this.#scheduler.nowMs) + costMs;
    this.#busyMs += costMs;
  }

  /** PR1. */
  take(step: () => void): void {
    if (this.#head === this.#waiting.length && this.#freeAtMs <= this.#scheduler.nowMs) {
      this.#run(step);
      return;
    }
    this.#waiting.push(step);
    this.#wakeLater();
  }

  #run(step: () => void): void {
    this.charge(this.#turnUs);
    step();
  }

  #wakeLater(): void {
    if (this.#isWaking) return;
    this.#isWaking = true;
    this.#scheduler.at(Math.max(0, this.#freeAtMs - this.#scheduler.nowMs), () => {
      this.#isWaking = false;
      // Microtasks of the step before may have charged more.
      if (this.#freeAtMs <= this.#scheduler.nowMs) this.#run(this.#next());
      if (this.#head < this.#waiting.length) this.#wakeLater();
    });
  }

  #next(): () => void {
    const step = this.#waiting[this.#head++]!;
    if (this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    return step;
  }
}

/** A thing that does one work after the other: several processors taken together (PR3), or a disk. */
export class WorkQueue {
  readonly #scheduler: Scheduler;
  readonly #speed: number;
  #freeAtMs = 0;
  #busyMs = 0;

  constructor(scheduler: Scheduler, options: { readonly speed: number }) {
    this.#scheduler = scheduler;
    this.#speed = options.speed;
  }

  /** Milliseconds for which all of it has worked, or is going to with what it has. */
  get busyMs(): number {
    return this.#busyMs;
  }

  /** Milliseconds until all that it has is done. */
  get backlogMs(): number {
    return Math.max(0, this.#freeAtMs - this.#scheduler.nowMs);
  }

  /** Has it do work; gives the milliseconds from now until that is done. */
  work(costUs: number, { afterMs = 0 }: { readonly afterMs?: number } = {}): number {
    const costMs = costUs / 1000 / this.#speed;
    this.#freeAtMs = Math.max(this.#freeAtMs, this.#scheduler.nowMs + afterMs) + costMs;
    this.#busyMs += costMs;
    return this.#freeAtMs - this.#scheduler.nowMs;
  }
}
