/**
 * Writes a history down while it happens.
 *
 * HR1  Every invocation and every completion gets a number of its own, in the order of the calls (HI1).
 * HR2  An operation is completed at most once. One that never is stands in the history as unknown (HI3).
 */
import { assert } from "../../base/assert.ts";
import type { History, Operation, Outcome } from "./history.ts";

/** An operation under way. */
export interface Invocation<Output> {
  /** Writes the outcome down. Once: a second call is a bug and throws. */
  complete(outcome: Outcome<Output>): void;
}

interface Entry<Input, Output> {
  readonly process: string;
  readonly invoked: number;
  readonly input: Input;
  completed: number | null;
  outcome: Outcome<Output>;
}

export class HistoryRecorder<Input, Output> {
  readonly #entries: Entry<Input, Output>[] = [];
  #events = 0;

  /** To be called before the request leaves the client. */
  invoke(process: string, input: Input): Invocation<Output> {
    const entry: Entry<Input, Output> = {
      process,
      invoked: this.#events++,
      input,
      completed: null,
      outcome: { kind: "unknown" },
    };
    this.#entries.push(entry);
    return {
      complete: (outcome) => {
        assert(entry.completed === null, "HR2: an operation is completed once");
        entry.completed = this.#events++;
        entry.outcome = outcome;
      },
    };
  }

  /** What has happened until now, in the order of invocation; later events don't change it. */
  history(): History<Input, Output> {
    return this.#entries.map((entry): Operation<Input, Output> => ({ ...entry }));
  }
}
