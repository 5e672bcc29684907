/**
 * One life of a simulated node, from its start to its crash. Every port of the node belongs to a life; when the life ends,
 * its operations never settle and its timers never fire, so that its code can have no effect on the world any more.
 *
 * N1  A life ends once and never comes back; a restarted node has a new one.
 * N2  Every message sent or received, every awaited operation and every timer that fires is counted, so that a test can crash the node
 *     at each of them.
 * N3  While a life is paused none of its code runs; what happened to it meanwhile it learns afterwards, in order.
 * N4  Where the time that code takes is counted (`TurnTaker`), a step waits until the steps before it are done.
 */
import { assert } from "../base/assert.ts";

/**
 * Where in an operation a planned crash falls: `before` it has any effect; `during` it, so that its effect is partial;
 * `after` its whole effect, but before the code that awaits it learns of that.
 */
export type CrashMoment = "before" | "during" | "after";

export const crashMoments: readonly CrashMoment[] = ["before", "during", "after"];

interface CrashPlan {
  readonly operation: number;
  readonly moment: CrashMoment;
}

/** Who says when the code of a life may go on: a processor that does one thing after the other. */
export interface TurnTaker {
  /** Runs `step` at once, or later, in the order of the calls. */
  take(step: () => void): void;
}

export class NodeLife {
  readonly #turns: TurnTaker | undefined;
  #alive = true;
  #operationCount = 0;
  #plan: CrashPlan | undefined;
  readonly #listeners: (() => void)[] = [];
  /** Of a paused life: what its code will be told. */
  #waiting: (() => void)[] | undefined;

  /** Without `turns` code takes no time. */
  constructor(turns?: TurnTaker) {
    this.#turns = turns;
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** Operations that were begun, messages sent and received, and timers that fired, in this life. */
  get operationCount(): number {
    return this.#operationCount;
  }

  /** Ends the life at the `operation`-th operation from now (1 is the next one). Replaces an earlier plan. */
  crashAt(operation: number, moment: CrashMoment): void {
    assert(Number.isInteger(operation) && operation >= 1, "operations are counted from 1");
    this.#plan = { operation: this.#operationCount + operation, moment };
  }

  /** Takes back `crashAt`. */
  cancelCrash(): void {
    this.#plan = undefined;
  }

  /** Counts one operation of a port; returns the moment in it at which the port must call `end`, if any. */
  count(): CrashMoment | undefined {
    this.#operationCount++;
    return this.#plan?.operation === this.#operationCount ? this.#plan.moment : undefined;
  }

  get paused(): boolean {
    return this.#waiting !== undefined;
  }

  /** Idempotent. To be called between events, when none of the life's code is in the middle of anything. */
  pause(): void {
    this.#waiting ??= [];
  }

  /** Hands each waiting step to `schedule`, which runs it in an event of its own. Idempotent. */
  resume(schedule: (step: () => void) => void): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const step of waiting) schedule(() => this.whenAwake(step));
  }

  /** How a port reaches the life's code: runs `step` at once, after the pause, or, if the life has ended, never. */
  whenAwake(step: () => void): void {
    if (!this.#alive) return;
    if (this.#waiting !== undefined) this.#waiting.push(step);
    else if (this.#turns === undefined) step();
    else this.#turns.take(() => this.#alive && step());
  }

  /** Calls `listener`, once, when the life ends; in order of registration. */
  onEnd(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** The crash. Idempotent. */
  end(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#waiting = undefined;
    for (const listener of this.#listeners) listener();
  }
}
