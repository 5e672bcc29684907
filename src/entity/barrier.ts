/** Waiting until what is durable may be told (`Committer`, M5): for reads that run outside of the executor. */
import type { OnefoldError } from "../base/errors.ts";
import type { Settle } from "./settle.ts";
import type { Core } from "./core.ts";
import type { Work } from "./work.ts";

/** Settles `settle` when everything that was acknowledged before this call may be told: at once on a log of one machine. */
export function waitForBarrier(core: Core, deadlineMs: number, settle: Settle<void>): void {
  core.committer.hold(new Barrier(deadlineMs, settle), core.committer.durable.sequence);
  core.executor.commitSoon();
}

/** Only waits. */
export class Barrier implements Work {
  readonly deadlineMs: number;
  readonly sizeBytes = 0;
  readonly #settle: Settle<void>;
  isSettled = false;

  constructor(deadlineMs: number, settle: Settle<void>) {
    this.deadlineMs = deadlineMs;
    this.#settle = settle;
  }

  execute(): void {
    // It is held at once, and never queued.
  }

  release(): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.#settle.resolve();
  }

  fail(error: OnefoldError): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.#settle.reject(error);
  }

  stopped(): void {
    // It runs no user code.
  }
}
