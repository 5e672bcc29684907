/**
 * A simulated guard. Nothing can interrupt a synchronous function from outside in a simulation that is to be repeatable, so
 * workloads say how long their commands take (`spend`), and the guard stops them there.
 *
 * W1  What `run` did before it was stopped stands, as with the real guard; and however its code reacts to the stop, `run`
 *     throws `GuardTimeout`.
 */
import { assert } from "../base/assert.ts";
import { type Guard, GuardTimeout } from "../host/host.ts";
import type { FaultCounts } from "./faults.ts";
import type { Scheduler } from "./scheduler.ts";

interface GuardedRun {
  readonly limitMs: number;
  readonly mustStop: boolean;
  spentMs: number;
  stopped: boolean;
}

export class SimulatedGuard implements Guard {
  readonly #scheduler: Scheduler;
  readonly #counts: FaultCounts;
  readonly #runsToStop = new Set<number>();
  #runCount = 0;
  /** Until the armed strike; 0 for none. */
  #momentsLeft = 0;
  #run: GuardedRun | undefined;

  constructor(options: { readonly scheduler: Scheduler; readonly counts: FaultCounts }) {
    this.#scheduler = options.scheduler;
    this.#counts = options.counts;
  }

  /** Stops the `nth` run from now (1 is the next): where it first spends time, else at its very end. */
  stopRun(nth = 1): void {
    assert(Number.isInteger(nth) && nth >= 1, "runs are counted from 1");
    this.#runsToStop.add(this.#runCount + nth);
  }

  /** The running command takes this much virtual time; `Infinity` is an endless loop. Outside of a run only time passes. */
  spend(durationMs: number): void {
    const run = this.#run;
    if (run === undefined) {
      this.#scheduler.spend(durationMs);
      return;
    }
    const leftMs = run.limitMs - run.spentMs;
    const spentMs = Math.min(durationMs, leftMs);
    run.spentMs += spentMs;
    this.#scheduler.spend(spentMs);
    if (durationMs > leftMs || run.mustStop) {
      run.stopped = true;
      throw new GuardTimeout("stopped by the simulated guard");
    }
  }

  /**
   * Arms a strike at the `nth` of the moments from now that the code under guard passes through (`passMoment`), wherever
   * that is: the real watchdog does not wait until the user's code takes its time.
   */
  strikeAt(nth: number): void {
    assert(Number.isInteger(nth) && nth >= 1, "moments are counted from 1");
    this.#momentsLeft = nth;
  }

  /** Called where the code under guard reaches one of its ports. Outside of a run, nothing happens. */
  passMoment(): void {
    const run = this.#run;
    if (run === undefined || this.#momentsLeft === 0 || --this.#momentsLeft > 0) return;
    run.stopped = true;
    throw new GuardTimeout("stopped by the simulated guard");
  }

  run(limitMs: number, run: () => void): void {
    assert(Number.isInteger(limitMs) && limitMs >= 1, "a guard's limit is in whole milliseconds, at least 1");
    assert(this.#run === undefined, "guarded code must not start a guarded run");
    const mustStop = this.#runsToStop.delete(++this.#runCount);
    const state: GuardedRun = { limitMs, mustStop, spentMs: 0, stopped: false };
    this.#run = state;
    try {
      run();
    } finally {
      this.#run = undefined;
      if (mustStop || state.stopped) {
        this.#counts.add("guard-timeout");
        // biome-ignore lint/correctness/noUnsafeFinally: the stop outranks whatever the stopped code returned or threw (W1).
        throw new GuardTimeout(`stopped after ${limitMs} ms`);
      }
    }
  }
}
