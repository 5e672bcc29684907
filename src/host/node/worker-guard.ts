/**
 * The guard of threads that are not the process's main one, as some test runners use them: `node:vm`'s time limit, because no
 * other thread's inspector reaches a worker. It makes a thread for each call (some 50 µs), so it is for tests, not for speed.
 *
 * U1  A stop ends the user's code like any other's (W1, W2). It goes on from there as an exception, `GuardTimeout`, that what
 *     called user code lets through to the turn.
 */
import vm from "node:vm";
import { assert } from "../../base/assert.ts";
import { type Guard, GuardTimeout, type TurnHandlers, type Turns } from "../host.ts";
import { ThrownTurns } from "../thrown-turns.ts";

type Outcome =
  | { readonly kind: "stopped" }
  | { readonly kind: "returned"; readonly value: unknown }
  | { readonly kind: "threw"; readonly error: unknown };

export class WorkerGuard implements Guard {
  #userCode: (() => unknown) | undefined;
  #outcome: Outcome = { kind: "stopped" };
  #isInTurn = false;
  readonly #script = new vm.Script("invoke()", { filename: "guarded" });
  // A context of its own, so that the function to call need not be a global that user code could see or replace.
  readonly #context = vm.createContext({ invoke: () => this.#invoke() });

  turns(handlers: TurnHandlers): Turns {
    const later = (callback: () => void): void => void setImmediate(callback);
    const setInTurn = (isInTurn: boolean): void => {
      this.#isInTurn = isInTurn;
    };
    return new ThrownTurns(handlers, { later, setInTurn });
  }

  #invoke(): void {
    try {
      this.#outcome = { kind: "returned", value: this.#userCode?.() };
    } catch (error) {
      this.#outcome = { kind: "threw", error };
    }
  }

  /** Here it may be stopped like all of the call. */
  own<R>(code: () => R): R {
    return code();
  }

  call<R>(limitMs: number, userCode: () => R): R {
    assert(Number.isInteger(limitMs) && limitMs >= 1, "a guard's limit is in whole milliseconds, at least 1");
    assert(this.#isInTurn, "guarded code is called in a turn");
    assert(this.#userCode === undefined, "guarded code must not start a guarded call");
    this.#userCode = userCode;
    this.#outcome = { kind: "stopped" };
    let failure: unknown;
    try {
      this.#script.runInContext(this.#context, { timeout: limitMs, displayErrors: false });
    } catch (error) {
      failure = error;
    }
    this.#userCode = undefined;
    const outcome = this.#outcome as Outcome;
    switch (outcome.kind) {
      case "returned":
        return outcome.value as R;
      case "threw":
        throw outcome.error;
      case "stopped":
        if (isTimeout(failure)) throw new GuardTimeout(`stopped after ${limitMs} ms`);
        throw failure;
    }
  }
}

/** The error comes from the guard's own context, so it is no instance of this realm's `Error`. */
function isTimeout(error: unknown): boolean {
  return (
    typeof error === "object" && error !== null && "code" in error && error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT"
  );
}
