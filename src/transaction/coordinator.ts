/**
 * The coordinator: which transactions are open, and which of their bodies may run.
 *
 * N1  So many transactions are open at most; one more is refused, having changed nothing (G9).
 * N2  Bodies begin in the order in which their requests were ready, and so many run at once: more of them would mostly wait for
 *     and wound each other. One that waits for something foreign doesn't count as running any more, and bodies that wait
 *     for the locks of such a one hold up the others for `patienceMs` at most.
 * N3  Bodies begin between works, never inside of one, and no call of theirs runs anything at once: the watchdog, which ends
 *     all that is on the stack, must never find a body there (T5).
 */
import { OnefoldError } from "../base/errors.ts";
import type { Core } from "../entity/core.ts";
import type { TransactionRequest, TransactionRunner } from "../entity/shard.ts";
import type { Scope, Timer } from "../host/host.ts";
import { Run, type RunOwner } from "./run.ts";
import { Aborted, type Transaction } from "./transaction.ts";

/** So long a queue of bodies waits for running ones that do not end. */
const patienceMs = 5;

export class Coordinator implements TransactionRunner, RunOwner {
  readonly #core: Core;
  /** Marks everything that a transaction's body calls, to notice an ordinary client in there. */
  readonly #scope: Scope<Transaction>;
  readonly #open = new Set<Run>();
  /** Bodies to begin (N2), from `#begun` on. */
  #toBegin: Run[] = [];
  #begun = 0;
  readonly #running = new Set<Run>();
  #willLook = false;
  /** Set while bodies wait for others to end. */
  #patience: Timer | undefined;

  constructor(core: Core, scope: Scope<Transaction>) {
    this.#core = core;
    this.#scope = scope;
  }

  get openCount(): number {
    return this.#open.size;
  }

  /** Whether the code that runs now was called by a transaction's body. */
  get isInside(): boolean {
    return this.#scope.current() !== undefined;
  }

  /** Throws `overloaded`. The request is settled later. */
  submit(request: TransactionRequest): void {
    if (this.#open.size >= this.#core.limits.transactionsOpenMax) {
      throw new OnefoldError("overloaded", "Too many transactions are open; nothing was changed.", {
        retryAfterMs: 100,
      });
    }
    const run = new Run(this.#core, request, this);
    this.#core.executor.submit(run);
    this.#open.add(run);
  }

  // -------------------------------------------------------------------------------------------------- what runs tell it

  readyToBegin(run: Run): void {
    this.#toBegin.push(run);
  }

  bodyEnded(run: Run): void {
    this.#running.delete(run);
    this.#begin(this.#core.limits.transactionsRunningMax);
  }

  over(run: Run): void {
    this.#open.delete(run);
  }

  // ------------------------------------------------------------------------------------------------------------- bodies

  /** N3. */
  afterSlice(): void {
    this.#begin(this.#core.limits.transactionsRunningMax);
  }

  /** Begins bodies until `runningMax` of them run. */
  #begin(runningMax: number): void {
    while (this.#begun < this.#toBegin.length && this.#running.size < runningMax) {
      const run = this.#toBegin[this.#begun++]!;
      if (run.isSettled) continue;
      this.#running.add(run);
      run.attempt(this.#scope);
    }
    if (this.#begun === this.#toBegin.length) {
      this.#toBegin.length = 0;
      this.#begun = 0;
      return;
    }
    if (this.#begun >= 1024) {
      this.#toBegin = this.#toBegin.slice(this.#begun);
      this.#begun = 0;
    }
    this.#patience ??= this.#waitFor(this.#toBegin[this.#begun]);
    if (this.#willLook) return;
    this.#willLook = true;
    this.#core.host.timers.soon(this.#look);
  }

  /** In a turn of its own: what a body could do by itself it has done, and if no step of it is open it waits for another's work. */
  readonly #look = (): void => {
    this.#willLook = false;
    const countBefore = this.#running.size;
    for (const run of this.#running) if (run.isAway) this.#running.delete(run);
    if (this.#running.size < countBefore) this.#begin(this.#core.limits.transactionsRunningMax);
  };

  #waitFor(next: Run | undefined): Timer {
    const { host, limits } = this.#core;
    const impatient = () => {
      this.#patience = undefined;
      // Not one has begun meanwhile: those that run wait for something else than each other.
      const isStuck = this.#toBegin[this.#begun] === next;
      this.#begin(limits.transactionsRunningMax + (isStuck ? this.#running.size : 0));
    };
    return host.timers.after(patienceMs, impatient, { keepsAlive: true });
  }

  // ------------------------------------------------------------------------------------------------ what befalls the shard

  /** What was not durable is gone, and open attempts may have seen it: they are tried again. */
  dropped(): void {
    for (const run of this.#open)
      run.transaction?.abort(new Aborted("What it saw was rolled back.", { isRetried: true }));
  }

  /** Ends every open transaction whose caller has stopped waiting. */
  failExpired(nowMs: number): void {
    for (const run of [...this.#open]) run.failExpired(nowMs);
  }

  stop(error: OnefoldError): void {
    for (const run of [...this.#open]) run.failUnlessHeld(error);
  }
}
