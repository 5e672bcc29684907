/**
 * Ends synchronous code that has run for too long, by `node:vm`'s time limit: for where no other thread's inspector reaches the
 * code. A thread is made for each call (some 50 µs), so it is for tests, not for speed.
 */
import vm from "node:vm";
import { assert } from "../../base/assert.ts";
import { GuardTimeout } from "../host.ts";

type Outcome =
  | { readonly kind: "stopped" }
  | { readonly kind: "returned"; readonly value: unknown }
  | { readonly kind: "threw"; readonly error: unknown };

/** Calls don't nest. */
export class TimeLimit {
  #code: (() => unknown) | undefined;
  #outcome: Outcome = { kind: "stopped" };
  readonly #script = new vm.Script("invoke()", { filename: "guarded" });
  // A context of its own, so that the function to call need not be a global that user code could see or replace.
  readonly #context = vm.createContext({ invoke: () => this.#invoke() });

  /**
   * Returns or throws what `code` does. Once it has run for `limitMs`, whole milliseconds of real time, it ends where it is (no
   * `catch` or `finally` of it sees that), and this throws `GuardTimeout`.
   */
  call<R>(limitMs: number, code: () => R): R {
    assert(this.#code === undefined, "calls under a time limit don't nest");
    this.#code = code;
    this.#outcome = { kind: "stopped" };
    let failure: unknown;
    try {
      this.#script.runInContext(this.#context, { timeout: limitMs, displayErrors: false });
    } catch (error) {
      failure = error;
    }
    this.#code = undefined;
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

  #invoke(): void {
    try {
      this.#outcome = { kind: "returned", value: this.#code?.() };
    } catch (error) {
      this.#outcome = { kind: "threw", error };
    }
  }
}

/** The error comes from another context, so it is no instance of this realm's `Error`. */
function isTimeout(error: unknown): boolean {
  return (
    typeof error === "object" && error !== null && "code" in error && error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT"
  );
}
