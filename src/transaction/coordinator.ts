/**
 * The coordinator: which transactions are open, which of their bodies may run, and who answers other shards.
 *
 * N1  So many transactions are open at most; one more is refused, having changed nothing (G9).
 * N2  Bodies begin in the order in which their requests were ready, and so many run at once: more of them would mostly wait for
 *     and wound each other. One that waits for something foreign doesn't count as running any more, and bodies that wait
 *     for the locks of such a one hold up the others for `patienceMs` at most.
 * N3  Bodies begin between works, never inside of one, and no call of theirs runs anything at once: the watchdog, which ends
 *     all that is on the stack, must never find a body there (T5).
 * N4  Where there are other shards, of one request at most one body is open at a time: repetitions wait for its outcome.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Core } from "../entity/core.ts";
import type { DurableBatch } from "../entity/committer.ts";
import type { TransactionRequest, TransactionRunner } from "../entity/transaction-runner.ts";
import type { Value } from "../base/value.ts";
import type { Scope, Timer } from "../host/host.ts";
import { Attempts } from "./attempts.ts";
import type { Attempt } from "./attempt.ts";
import { asking } from "./asking.ts";
import { homeOf, type TransactionId } from "../entity/transaction-parts.ts";
import { Repetitions } from "./repetitions.ts";
import { Participants } from "./participants.ts";
import { parse } from "./protocol.ts";
import { Run, type RunOwner } from "./run.ts";
import { Aborted, type Transaction } from "./transaction.ts";

/** So long a queue of bodies waits for running ones that do not end. */
const patienceMs = 5;

export class Coordinator implements TransactionRunner, RunOwner {
  readonly #core: Core;
  /** Marks everything that a transaction's body calls, to notice an ordinary client in there. */
  readonly #scope: Scope<Transaction>;
  readonly #open = new Set<Run>();
  /** Bodies to begin (N2), from `#begun` on; nothing is kept of those before it. */
  #toBegin: (Run | undefined)[] = [];
  #begun = 0;
  readonly #running = new Set<Run>();
  #willLook = false;
  /** Set while bodies wait for others to end. */
  #patience: Timer | undefined;
  readonly #repetitions = new Repetitions<Run>();
  readonly #attempts: Attempts;
  readonly #participants: Participants;

  constructor(core: Core, scope: Scope<Transaction>) {
    this.#core = core;
    this.#scope = scope;
    const ask = asking(core, (type, body) => this.answer(type, body));
    this.#attempts = new Attempts(core, ask);
    this.#participants = new Participants(core, ask);
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
    if (this.#isFirst(run)) this.#core.executor.submit(run);
    this.#open.add(run);
  }

  /** N4. */
  #isFirst(run: Run): boolean {
    if (run.request === undefined || this.#core.neighbours === undefined) return true;
    return this.#repetitions.enter(run.request, run);
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
    if (run.request === undefined || this.#core.neighbours === undefined) return;
    const next = this.#repetitions.leave(run.request, run);
    if (next !== undefined) this.#core.executor.resubmit(next);
  }

  beginAttempt(homeSlot: number, parts: { readonly command: string; readonly number: number }): Attempt | undefined {
    return this.#core.neighbours === undefined ? undefined : this.#attempts.begin(homeSlot, parts);
  }

  // ------------------------------------------------------------------------------------------------------- other shards

  readonly #answers: Readonly<Record<string, (body: Value) => Promise<Value>>> = {
    "transaction.step": async (body) =>
      (await this.#participants.step(this.#own(parse.step(body)))) as unknown as Value,
    "transaction.prepare": async (body) =>
      (await this.#participants.prepare(this.#own(parse.vote(body)))) as unknown as Value,
    "transaction.confirm": async (body) =>
      (await this.#participants.confirm(this.#own(parse.vote(body)))) as unknown as Value,
    "transaction.outcome": async (body) => this.#participants.outcome(this.#own(parse.outcome(body))),
    "transaction.decision": async (body) => this.#attempts.decision(this.#atHome(parse.id(body))),
    "transaction.wounded": async (body) => {
      this.#attempts.wounded(parse.id(body));
      return null;
    },
  };

  async answer(type: string, body: Value): Promise<Value> {
    const answer = this.#answers[type];
    if (answer === undefined) throw new OnefoldError("malformed", `No shard answers '${type}'.`);
    return answer(body);
  }

  #own<Q extends { readonly slot: number }>(question: Q): Q {
    if (!this.#core.isOwn(question.slot)) throw new OnefoldError("not-owner", "The slot is another shard's.");
    return question;
  }

  #atHome(id: TransactionId): TransactionId {
    this.#own(homeOf(id));
    return id;
  }

  load(): void {
    this.#participants.load();
  }

  start(): void {
    this.#participants.start();
    this.#attempts.start();
  }

  durable(batch: DurableBatch): void {
    // What a lone shard has of this comes from another life of its data, and is over soon.
    if (this.#core.neighbours !== undefined) this.#attempts.durable(batch);
  }

  // ------------------------------------------------------------------------------------------------------------- bodies

  /** N3. */
  afterSlice(): void {
    this.#begin(this.#core.limits.transactionsRunningMax);
  }

  /** Begins bodies until `runningMax` of them run. */
  #begin(runningMax: number): void {
    while (this.#begun < this.#toBegin.length && this.#running.size < runningMax) {
      const run = this.#toBegin[this.#begun]!;
      this.#toBegin[this.#begun++] = undefined;
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
    this.#attempts.dropped();
    this.#participants.dropped();
  }

  /** Ends every open transaction whose caller has stopped waiting. */
  failExpired(nowMs: number): void {
    for (const run of [...this.#open]) run.failExpired(nowMs);
  }

  stop(error: OnefoldError): void {
    this.#attempts.stop();
    this.#participants.stop();
    for (const run of [...this.#open]) run.failUnlessHeld(error);
  }
}
