/** What a shard does for another one, or for itself: in its turn between the calls, and heard of only once it is durable. */
import { OnefoldError } from "../base/errors.ts";
import type { Core } from "../entity/core.ts";
import type { Work } from "../entity/work.ts";

/** What is to be said, and the batch that must be durable before (G3). */
export interface Said<T> {
  readonly value: T;
  readonly sequence: number;
}

/**
 * Calls `execute` in its turn; it runs no user code. Resolves once what it says is durable. Rejects with what it throws, if that
 * is expected, with what the batch failed of (then nothing of it happened, or that will be known after a restart), or with what
 * stopped the shard.
 */
export function inTurn<T>(core: Core, execute: () => Said<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    core.executor.resubmit(new Turn(core, execute, { resolve, reject }));
  });
}

class Turn<T> implements Work {
  readonly #core: Core;
  readonly #execute: () => Said<T>;
  readonly #settle: { resolve(value: T): void; reject(error: Error): void };
  /** The shard's own: what it does is bounded where it comes from, and who asked looks after his own deadline. */
  readonly deadlineMs = Number.POSITIVE_INFINITY;
  readonly sizeBytes = 0;
  isSettled = false;
  #said: Said<T> | undefined = undefined;

  constructor(core: Core, execute: () => Said<T>, settle: { resolve(value: T): void; reject(error: Error): void }) {
    this.#core = core;
    this.#execute = execute;
    this.#settle = settle;
  }

  execute(): void {
    try {
      this.#said = this.#execute();
    } catch (error) {
      if (!(error instanceof OnefoldError)) throw error;
      this.fail(error);
      if (error.code === "damaged") this.#core.onDamage(error);
      return;
    }
    this.#core.committer.hold(this, this.#said.sequence);
  }

  release(): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.#settle.resolve(this.#said!.value);
  }

  fail(error: OnefoldError): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.#settle.reject(error);
  }

  stopped(): void {
    // It has no user code that could be stopped.
  }
}
