/**
 * The watchdog: stops synchronous code wherever it is, through the time limit of `node:vm`, which ends JavaScript by a
 * termination that no `catch` and no `finally` sees.
 *
 * W2  What guarded code throws passes through unchanged, also an error that looks like the limit's own.
 * W3  Runs don't nest: code that starts one inside of another is a bug.
 *
 * One run costs about 60 µs (a thread and its loop are made for each; measured on a 2-core cloud machine), so callers guard a
 * slice of many commands at once.
 */
import vm from "node:vm";
import { assert } from "../../base/assert.ts";
import { type Guard, GuardTimeout } from "../host.ts";

type Outcome =
  | { readonly kind: "stopped" }
  | { readonly kind: "returned" }
  | { readonly kind: "threw"; readonly error: unknown };

export class NodeGuard implements Guard {
  #run: (() => void) | undefined;
  #outcome: Outcome = { kind: "stopped" };
  readonly #script = new vm.Script("invoke()", { filename: "guarded" });
  // A context of its own, so that the function to call need not be a global that user code could see or replace.
  readonly #context = vm.createContext({ invoke: () => this.#invoke() });

  #invoke(): void {
    try {
      this.#run?.();
      this.#outcome = { kind: "returned" };
    } catch (error) {
      this.#outcome = { kind: "threw", error };
    }
  }

  run(limitMs: number, run: () => void): void {
    assert(Number.isInteger(limitMs) && limitMs >= 1, "a guard's limit is in whole milliseconds, at least 1");
    assert(this.#run === undefined, "guarded code must not start a guarded run");
    this.#run = run;
    this.#outcome = { kind: "stopped" };
    let failure: unknown;
    try {
      this.#script.runInContext(this.#context, { timeout: limitMs, displayErrors: false });
    } catch (error) {
      failure = error;
    }
    this.#run = undefined;
    const outcome = this.#outcome as Outcome;
    switch (outcome.kind) {
      case "returned":
        return;
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
