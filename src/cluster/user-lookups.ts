/**
 * Calls of users' pure functions that decide where something is (affinities, homes of transactions): under the watchdog, in turns of
 * their own, in the order in which they were asked for.
 *
 * UL1  Each is settled once. One that is stopped is tried once more, since it may have been a pause of this thread.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { resetDecoder } from "../base/value.ts";
import { stoppedFailure } from "../entity/failure.ts";
import { type Clock, type Guard, GuardTimeout, type StopReason, type Turns } from "../host/host.ts";

interface Lookup {
  readonly what: string;
  run(): void;
  reject(error: unknown): void;
  wasStopped: boolean;
}

export interface UserLookupsParts {
  readonly guard: Guard;
  readonly clock: Clock;
  readonly limits: Limits;
}

export class UserLookups {
  readonly #parts: UserLookupsParts;
  readonly #turns: Turns;
  #queue: Lookup[] = [];
  #current: Lookup | undefined = undefined;

  constructor(parts: UserLookupsParts) {
    this.#parts = parts;
    this.#turns = parts.guard.turns({ run: () => this.#run(), stopped: (reason) => this.#stopped(reason) });
  }

  /** What `find` gives, which calls the user's code by `callUserCode`, once. Rejects with what it throws, and with `overloaded`. */
  find<T>(what: string, find: () => T): Promise<T> {
    if (this.#queue.length >= this.#parts.limits.slotLookupsMax) {
      const message = "As many calls as this node accepts wait to learn where they belong. Try again a little later.";
      return Promise.reject(new OnefoldError("overloaded", message, { retryAfterMs: 100 }));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ what, run: () => resolve(find()), reject, wasStopped: false });
      this.#turns.soon();
    });
  }

  #run(): void {
    const { clock, limits } = this.#parts;
    const began = clock.monotonicMs();
    while (this.#queue.length > 0 && clock.monotonicMs() - began <= limits.sliceMs) {
      const lookup = this.#queue.shift()!;
      this.#current = lookup;
      try {
        lookup.run();
      } catch (error) {
        // So a simulated watchdog ends a turn.
        if (error instanceof GuardTimeout) throw error;
        lookup.reject(error);
      }
      this.#current = undefined;
    }
    if (this.#queue.length > 0) this.#turns.soon();
  }

  #stopped(reason: StopReason): void {
    resetDecoder();
    const lookup = this.#current;
    this.#current = undefined;
    if (lookup?.wasStopped === false) {
      lookup.wasStopped = true;
      this.#queue.unshift(lookup);
    } else {
      lookup?.reject(stoppedFailure(lookup.what, reason, this.#parts.limits));
    }
    if (this.#queue.length > 0) this.#turns.soon();
  }
}
