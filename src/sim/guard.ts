/**
 * A simulated guard. Nothing can interrupt a synchronous function from outside in a simulation that is to be repeatable, so
 * workloads say how long their commands take (`spend`), and the guard stops them there.
 *
 * W1  What user code did before it was stopped stands, as with the real guard; and however its code reacts to the stop, the
 *     turn ends there.
 */
import { assert } from "../base/assert.ts";
import { type Guard, GuardTimeout, type Timers, type TurnHandlers, type Turns } from "../host/host.ts";
import { ThrownTurns } from "../host/thrown-turns.ts";
import type { FaultCounts } from "./faults.ts";
import type { Scheduler } from "./scheduler.ts";

interface GuardedCall {
  readonly limitMs: number;
  readonly mustStop: boolean;
  spentMs: number;
  stopped: boolean;
  /** User code has called back (`own`). */
  isLent: boolean;
}

export class SimulatedGuard implements Guard {
  readonly #scheduler: Scheduler;
  readonly #timers: Timers;
  readonly #counts: FaultCounts;
  readonly #callsToStop = new Set<number>();
  #callCount = 0;
  /** Until the armed strike; 0 for none. */
  #momentsLeft = 0;
  #isInTurn = false;
  #call: GuardedCall | undefined;

  /** `timers` are those of the present life: its turns end with it. */
  constructor(options: { readonly scheduler: Scheduler; readonly timers: Timers; readonly counts: FaultCounts }) {
    this.#scheduler = options.scheduler;
    this.#timers = options.timers;
    this.#counts = options.counts;
  }

  turns(handlers: TurnHandlers): Turns {
    const later = (callback: () => void): void => this.#timers.soon(callback);
    const setInTurn = (isInTurn: boolean): void => {
      this.#isInTurn = isInTurn;
    };
    return new ThrownTurns(handlers, { later, setInTurn });
  }

  call<R>(limitMs: number, userCode: () => R): R {
    assert(Number.isInteger(limitMs) && limitMs >= 1, "a guard's limit is in whole milliseconds, at least 1");
    assert(this.#isInTurn, "guarded code is called in a turn");
    assert(this.#call === undefined, "guarded code must not start a guarded call");
    const mustStop = this.#callsToStop.delete(++this.#callCount);
    const call: GuardedCall = { limitMs, mustStop, spentMs: 0, stopped: false, isLent: false };
    this.#call = call;
    try {
      return userCode();
    } finally {
      this.#call = undefined;
      if (mustStop || call.stopped) {
        this.#counts.add("guard-timeout");
        // biome-ignore lint/correctness/noUnsafeFinally: the stop outranks whatever the stopped code returned or threw (W1).
        throw new GuardTimeout(`stopped after ${limitMs} ms`);
      }
    }
  }

  own<R>(code: () => R): R {
    const call = this.#call;
    if (call === undefined || call.isLent) return code();
    call.isLent = true;
    try {
      return code();
    } finally {
      call.isLent = false;
      // biome-ignore lint/correctness/noUnsafeFinally: the stop outranks what its code returned or threw (W1).
      if (call.stopped) throw new GuardTimeout("stopped by the simulated guard");
    }
  }

  /** Stops the `nth` call from now (1 is the next): where it first spends time, else at its very end. */
  stopCall(nth = 1): void {
    assert(Number.isInteger(nth) && nth >= 1, "calls are counted from 1");
    this.#callsToStop.add(this.#callCount + nth);
  }

  /** Forgets every stop and strike that has not happened yet. */
  disarm(): void {
    this.#callsToStop.clear();
    this.#momentsLeft = 0;
  }

  /** The running command takes this much virtual time; `Infinity` is an endless loop. Outside of a call only time passes. */
  spend(durationMs: number): void {
    const call = this.#call;
    if (call === undefined) {
      this.#scheduler.spend(durationMs);
      return;
    }
    const leftMs = call.limitMs - call.spentMs;
    const spentMs = Math.min(durationMs, leftMs);
    call.spentMs += spentMs;
    this.#scheduler.spend(spentMs);
    if (durationMs > leftMs || call.mustStop) this.#stop(call);
  }

  /**
   * Arms a strike at the `nth` of the moments from now that user code passes through (`passMoment`), wherever that is: the real
   * watchdog does not wait until the user's code takes its time.
   */
  strikeAt(nth: number): void {
    assert(Number.isInteger(nth) && nth >= 1, "moments are counted from 1");
    this.#momentsLeft = nth;
  }

  /** Called where user code reaches one of the ports. Outside of a call, nothing happens. */
  passMoment(): void {
    const call = this.#call;
    if (call === undefined || this.#momentsLeft === 0 || --this.#momentsLeft > 0) return;
    this.#stop(call);
  }

  #stop(call: GuardedCall): void {
    call.stopped = true;
    if (!call.isLent) throw new GuardTimeout("stopped by the simulated guard");
  }
}
