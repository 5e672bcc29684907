/**
 * Simulated clocks and timers, on the scheduler's virtual time. A node's clock runs at its own rate, and its wall clock may
 * jump; nobody but the scheduler knows the true time.
 *
 * T1  The monotonic clock never goes back and is never set: a node's clocks survive its restart with the same rate. The rate itself
 *     may be changed (`drift`); a timer that would then be early waits for the rest.
 * T2  A timer fires once the node's own monotonic clock has passed its delay, never synchronously, never while the
 *     node is paused, and never after its life has ended.
 */
import { assert } from "../base/assert.ts";
import type { SeededRandom } from "../base/random.ts";
import type { Clock, Timer, Timers } from "../host/host.ts";
import type { NodeLife } from "./life.ts";
import type { Scheduled, Scheduler } from "./scheduler.ts";
import { boundToScopes } from "./scope.ts";

/** What wall clocks show at virtual time 0, if they are not told otherwise: 2026-01-01T00:00:00Z. */
export const wallStartMs = 1_767_225_600_000;
/** Timers are late by up to this much, as they are in a real process. */
const latenessMsMax = 1;
const latenessMsMin = 0.001;

export interface SimulatedClockOptions {
  readonly scheduler: Scheduler;
  /** Local milliseconds that pass per true one, minus 1, in millionths: 100 gains 8.6 s a day. Default 0. */
  readonly driftPpm?: number;
  /** What the wall clock shows at virtual time 0. */
  readonly wallStartMs?: number;
}

export class SimulatedClock implements Clock {
  readonly #scheduler: Scheduler;
  #rate: number;
  /** Since when the rate is what it is: true time, and what the monotonic clock showed. */
  #sinceMs = 0;
  #shownMs = 0;
  #wallOffsetMs: number;

  constructor(options: SimulatedClockOptions) {
    this.#scheduler = options.scheduler;
    this.#rate = rateOf(options.driftPpm ?? 0);
    this.#wallOffsetMs = options.wallStartMs ?? wallStartMs;
  }

  wallMs(): number {
    return Math.floor(this.#wallOffsetMs + this.monotonicMs());
  }

  monotonicMs(): number {
    return this.#shownMs + (this.#scheduler.nowMs - this.#sinceMs) * this.#rate;
  }

  /** From now on the clock gains so much on true time, or loses where it is negative. */
  drift(driftPpm: number): void {
    this.#shownMs = this.monotonicMs();
    this.#sinceMs = this.#scheduler.nowMs;
    this.#rate = rateOf(driftPpm);
  }

  /** True milliseconds in which this clock advances by `localMs`. */
  trueMs(localMs: number): number {
    return localMs / this.#rate;
  }

  /** Sets the wall clock forward, or back where `byMs` is negative, as an operator or NTP would. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }
}

function rateOf(driftPpm: number): number {
  const rate = 1 + driftPpm / 1e6;
  assert(rate > 0, "a clock must run forward");
  return rate;
}

export interface SimulatedTimersOptions {
  readonly scheduler: Scheduler;
  readonly clock: SimulatedClock;
  readonly life: NodeLife;
  readonly random: SeededRandom;
}

export class SimulatedTimers implements Timers {
  readonly #scheduler: Scheduler;
  readonly #clock: SimulatedClock;
  readonly #life: NodeLife;
  readonly #random: SeededRandom;

  constructor(options: SimulatedTimersOptions) {
    this.#scheduler = options.scheduler;
    this.#clock = options.clock;
    this.#life = options.life;
    this.#random = options.random;
  }

  after(delayMs: number, callback: () => void): Timer {
    const latenessMs = latenessMsMin + this.#random.next() * (latenessMsMax - latenessMsMin);
    return this.#fire(Math.max(0, delayMs) + latenessMs, callback);
  }

  soon(callback: () => void): void {
    this.#fire(0, callback);
  }

  #fire(localDelayMs: number, callback: () => void): Timer {
    if (!this.#life.alive) return { cancel: () => undefined };
    return new SimulatedTimer(
      { scheduler: this.#scheduler, clock: this.#clock, life: this.#life },
      localDelayMs,
      callback,
    );
  }
}

interface TimerWorld {
  readonly scheduler: Scheduler;
  readonly clock: SimulatedClock;
  readonly life: NodeLife;
}

/** A class, since there are many: closures made for each would cost several times as much. */
class SimulatedTimer implements Timer {
  readonly #world: TimerWorld;
  readonly #callback: () => void;
  readonly #dueMs: number;
  #event: Scheduled;
  #isCancelled = false;

  constructor(world: TimerWorld, localDelayMs: number, callback: () => void) {
    this.#world = world;
    // As with real timers, values of a `Scope` follow from where a timer was set to where it fires.
    this.#callback = boundToScopes(callback);
    this.#dueMs = world.clock.monotonicMs() + localDelayMs;
    this.#event = this.#wait(localDelayMs);
  }

  cancel(): void {
    // The event may have passed while the node was paused.
    this.#isCancelled = true;
    this.#event.cancel();
  }

  #wait(forLocalMs: number): Scheduled {
    const { scheduler, clock } = this.#world;
    return scheduler.at(clock.trueMs(forLocalMs), () => {
      const earlyMs = this.#dueMs - clock.monotonicMs();
      // Rounding is no change of rate.
      if (earlyMs > latenessMsMin / 2) this.#event = this.#wait(earlyMs);
      else this.#world.life.whenAwake(() => this.#fire());
    });
  }

  #fire(): void {
    if (this.#isCancelled) return;
    const { life } = this.#world;
    const moment = life.count();
    if (moment === "before" || moment === "during") {
      life.end();
      return;
    }
    this.#callback();
    if (moment === "after") life.end();
  }
}
