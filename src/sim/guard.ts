/**
 * A simulated guard. Nothing can interrupt a synchronous function from outside in a simulation that is to be repeatable, so
 * workloads say how long their commands take (`spend`), and the guard stops them there. Users' own code says nothing of the
 * kind: where `realLimit` is given, a call that takes that long in real time is taken for one that never ends.
 *
 * W1  What user code did before it was stopped stands, as with the real guard; and however its code reacts to the stop, the
 *     turn ends there.
 * W2  A call that has taken half of its time is noted; a note is only ever seen if the process dies in that call (`dieAtCall`).
 */
import { assert } from "../base/assert.ts";
import {
  type CallNotes,
  type CallNotesListener,
  type CallSubject,
  type Guard,
  GuardTimeout,
  type Timers,
  type TurnHandlers,
  type Turns,
} from "../host/host.ts";
import { ThrownTurns } from "../host/thrown-turns.ts";
import { type NotedCall, SimulatedCallNotes } from "./call-notes.ts";
import type { FaultCounts } from "./faults.ts";
import type { Scheduler } from "./scheduler.ts";

/** Calls `code`; throws `GuardTimeout` where it doesn't come to an end. */
export type RealLimit = <R>(code: () => R) => R;

interface GuardedCall extends NotedCall {
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
  readonly #realLimit: RealLimit | undefined;
  readonly #notes: SimulatedCallNotes;
  /** The number of the call that the process is to die of; 0 for none. */
  #lastCall = 0;

  /** `timers` are those of the present life: its turns end with it. `die` ends that life, and leaves a file. */
  constructor(options: {
    readonly scheduler: Scheduler;
    readonly timers: Timers;
    readonly counts: FaultCounts;
    readonly realLimit?: RealLimit;
    readonly die: ConstructorParameters<typeof SimulatedCallNotes>[0]["die"];
  }) {
    this.#notes = new SimulatedCallNotes(options);
    this.#scheduler = options.scheduler;
    this.#realLimit = options.realLimit;
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

  call<R>(limitMs: number, userCode: () => R, subject?: CallSubject): R {
    assert(Number.isInteger(limitMs) && limitMs >= 1, "a guard's limit is in whole milliseconds, at least 1");
    assert(this.#isInTurn, "guarded code is called in a turn");
    assert(this.#call === undefined, "guarded code must not start a guarded call");
    const mustStop = this.#callsToStop.delete(++this.#callCount);
    const facts = { limitMs, mustStop, spentMs: 0, stopped: false, isLent: false };
    const call: GuardedCall = { ...facts, subject, isNoted: false };
    this.#call = call;
    try {
      return this.#realLimit === undefined ? userCode() : this.#realLimit(userCode);
    } finally {
      this.#call = undefined;
      if (this.#callCount === this.#lastCall) {
        this.#notes.die(call, this.#scheduler.nowMs);
        // biome-ignore lint/correctness/noUnsafeFinally: nobody is left to be told what the code returned or threw.
        throw new GuardTimeout("the simulated process died");
      }
      if (!mustStop && !call.stopped) this.#notes.endedWell(call);
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

  noteCalls(path: string, listener: CallNotesListener): CallNotes {
    return this.#notes.begin(path, listener);
  }

  /** The process dies of the `nth` call from now (1 is the next), at its end and long enough after its beginning to be noted. */
  dieAtCall(nth = 1): void {
    assert(Number.isInteger(nth) && nth >= 1, "calls are counted from 1");
    this.#lastCall = this.#callCount + nth;
  }

  /** Forgets every stop and strike that has not happened yet. */
  disarm(): void {
    this.#callsToStop.clear();
    this.#lastCall = 0;
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
    if (2 * call.spentMs >= call.limitMs) this.#notes.note(call);
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
