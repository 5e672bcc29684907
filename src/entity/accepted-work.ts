/** Work that was accepted, as promises to those who asked: counted until each is settled, so that a shard can finish it all. */

import type { Timers } from "../host/host.ts";
import type { Settle } from "./settle.ts";

export class AcceptedWork {
  #count = 0;
  readonly #waiting: (() => void)[] = [];

  get count(): number {
    return this.#count;
  }

  /** Answers the asker of a work, and counts that. The work is counted from `accepted` on. */
  settlement<T>(asker: Settle<T>): Settle<T> {
    return new Settlement(this, asker);
  }

  /** A work with such a settlement was not refused: it counts until it is settled. */
  accepted(): void {
    this.#count++;
  }

  /** The same as a promise, which rejects where `submit` throws. */
  promise<T>(submit: (settle: Settle<T>) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      submit(this.settlement({ resolve, reject }));
      this.accepted();
    });
  }

  /** Resolves when all that was accepted has been settled, or after `atMostMs`, if that is given. */
  whenSettled(timers: Timers, atMostMs: number | undefined): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = atMostMs === undefined ? undefined : timers.after(atMostMs, resolve, { keepsAlive: true });
      this.#waiting.push(() => {
        timer?.cancel();
        resolve();
      });
    });
  }

  settled(): void {
    this.#count--;
    if (this.#count > 0) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** An object and no closures: one is made for every call. */
class Settlement<T> implements Settle<T> {
  readonly #work: AcceptedWork;
  readonly #asker: Settle<T>;

  constructor(work: AcceptedWork, asker: Settle<T>) {
    this.#work = work;
    this.#asker = asker;
  }

  resolve(reply: T): void {
    this.#work.settled();
    this.#asker.resolve(reply);
  }

  reject(error: Error): void {
    this.#work.settled();
    this.#asker.reject(error);
  }
}
