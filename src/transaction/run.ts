/**
 * One transaction from its request to its answer, over all its attempts: strict two-phase locking with wound-wait (design 8).
 * Where all that it touches is in the home's log, one entry in one batch is the commit, and there is no second phase.
 *
 * T1  Nothing that a transaction did is visible before its entry is in a batch, nor told to anyone before that is durable.
 * T2  A transaction that is aborted, throws, or loses leaves nothing; a caught refusal undoes that command alone.
 * T3  A retry keeps its first age, so that every transaction is the oldest in the end; retries are bounded all the same.
 * T4  With a request's identity, the outcome is kept at the home's slot, in the same entry as the effects.
 * T5  Its body runs outside the watchdog (it is asynchronous), each of its steps and its `.at` inside.
 * T6  Where it has left its shard, it commits only when all participants have agreed, by one entry at its home, the decision;
 *     and what it fails of is told only when they have confirmed what it was found from.
 *
 *     queued ──execute──► ready ──attempt──► body runs ──its end──► finish ──► held ──durable──► answered
 *       ▲                                        │ aborted          │  ▲ │ aborted
 *       │                                        │                  ▼  │ │
 *       │                                        │       others vote or  │
 *       └────────────────── retry ◄──────────────┴───────── confirm ◄────┘
 */
import { OnefoldError, type Refused } from "../base/errors.ts";
import { cloneValue, type Value } from "../base/value.ts";
import { replayed } from "../entity/command-call.ts";
import type { Core } from "../entity/core.ts";
import { failureOf, stoppedFailure, withoutClaimOfDamage } from "../entity/failure.ts";
import { callUserCode } from "../entity/run-command.ts";
import type { CallReply } from "../entity/service.ts";
import type { Age } from "../entity/locks.ts";
import type { RequestIdentity } from "../entity/requests.ts";
import type { TransactionRequest } from "../entity/transaction-runner.ts";
import type { Work } from "../entity/work.ts";
import type { Scope, StopReason } from "../host/host.ts";
import { agreement, type Ended } from "./agreement.ts";
import type { Attempt, Verdict } from "./attempt.ts";
import { callerOf } from "./calls.ts";
import { type EndingParts, takeInCommit, takeInFailure } from "./ending.ts";
import { checkInput, type HomeEntity, homeSlotAt } from "./home.ts";
import { Aborted, Transaction } from "./transaction.ts";

/** Longest wait before another attempt; attempts begin at once and wait twice as long each time. */
const retryDelayMsMax = 64;

export interface RunOwner {
  /** An attempt may begin when there is room for it. */
  readyToBegin(run: Run): void;
  /** The body of an attempt has ended, or will never be heard of again. */
  bodyEnded(run: Run): void;
  /** For an attempt that may leave its shard; undefined where there is no other. */
  beginAttempt(homeSlot: number, parts: { readonly command: string; readonly number: number }): Attempt | undefined;
  /** The request is answered. */
  over(run: Run): void;
}

type Answer = { readonly reply: CallReply } | { readonly error: Error };

const lostElsewhere = new Aborted("Another shard has let go of it.", { isRetried: true });

/** As a work it is its own beginning and its own end. */
export class Run implements Work {
  readonly #core: Core;
  readonly #request: TransactionRequest;
  readonly #owner: RunOwner;
  readonly #age: Age;
  readonly deadlineMs: number;
  readonly sizeBytes: number;
  isSettled = false;
  transaction: Transaction | undefined = undefined;
  /** What the present transaction is at other shards. */
  #attempt: Attempt | undefined = undefined;
  #isAgreed = false;
  #attempts = 0;
  #input: unknown = undefined;
  #home = 0;
  #wasStopped = false;
  /** What the body came to; set before the run is queued again to finish. */
  #ended: Ended | undefined = undefined;
  #answer: Answer | undefined = undefined;

  constructor(core: Core, request: TransactionRequest, owner: RunOwner) {
    this.#core = core;
    this.#request = request;
    this.#owner = owner;
    this.#age = core.nextAge();
    this.deadlineMs = request.deadlineMs;
    this.sizeBytes = request.sizeBytes;
  }

  get request(): RequestIdentity | undefined {
    return this.#request.request;
  }

  get #what(): string {
    return `transaction ${this.#request.definition.name}`;
  }

  // ---------------------------------------------------------------------------------------------------- before an attempt

  execute(): void {
    if (this.#ended !== undefined) return this.#finish(this.#ended);
    const { host, limits } = this.#core;
    try {
      const at = callUserCode({ guard: host.guard, limits }, this.#what, () => this.#checkInput());
      if (this.#attempts === 0) this.#home = homeSlotAt(this.#core, this.#request, at);
      if (this.#replays()) return;
      this.#owner.readyToBegin(this);
    } catch (error) {
      this.#reject(failureOf(error, this.#what));
    }
  }

  /** What the user's code says of the input: whether it is valid, and where its home is. */
  #checkInput(): HomeEntity | undefined {
    const { definition, input } = this.#request;
    const checked = checkInput(definition, input, { findsHome: this.#attempts === 0 });
    this.#input = checked.input;
    return checked.at;
  }

  /** T4. True if the request has an outcome already. */
  #replays(): boolean {
    const { request } = this.#request;
    if (request === undefined) return false;
    const kept = this.#core.requests.find(request, this.#home, this.#core.working, this.#core.committer.timeMs);
    if (kept === undefined) return false;
    this.transaction?.end();
    this.#hold(replayed(kept.outcome), kept.sequence);
    return true;
  }

  // ------------------------------------------------------------------------------------------------------------ the body

  /** Runs the body once. */
  attempt(scope: Scope<Transaction>): void {
    this.#attempts++;
    const { definition, caller } = this.#request;
    const attempt = this.#owner.beginAttempt(this.#home, { command: definition.name, number: this.#attempts });
    const onEnd = attempt && (() => attempt.abort());
    const transaction = new Transaction(this.#core, { age: this.#age, caller, onEnd });
    attempt?.begin(transaction);
    this.transaction = transaction;
    this.#attempt = attempt;
    this.#isAgreed = false;
    const input = this.#input as never;
    let body: Promise<unknown>;
    try {
      // What isn't a promise by mistake becomes one. One that is stays itself: each promise costs here.
      body = Promise.resolve(scope.run(transaction, () => definition.run(callerOf(transaction) as never, input)));
    } catch (error) {
      body = Promise.reject(error);
    }
    body.then(
      (output) => this.#bodyEnded(transaction, { output: output as Value | undefined }),
      (error: unknown) => this.#bodyEnded(transaction, { error }),
    );
  }

  /** Its body has no step under way at this shard. */
  get isAway(): boolean {
    return this.transaction?.isAway === true;
  }

  #bodyEnded(
    transaction: Transaction,
    ended: { readonly output: Value | undefined } | { readonly error: unknown },
  ): void {
    this.#conclude(transaction, ended);
    this.#owner.bodyEnded(this);
  }

  #conclude(
    transaction: Transaction,
    ended: { readonly output: Value | undefined } | { readonly error: unknown },
  ): void {
    if (this.isSettled || transaction !== this.transaction) return transaction.end();
    if (transaction.aborted !== undefined) return this.#retry();
    if (transaction.hasOpenSteps) {
      // Steps that the body did not await must not go on after it.
      const message = `${this.#what} ended before all of its steps; await every step.`;
      transaction.abandonSteps(new Aborted(message, { isRetried: false }));
      this.#ended = { error: new OnefoldError("command-failed", message) };
    } else if ("error" in ended) {
      // A step that met damage has told the shard of it.
      this.#ended = { error: failureOf(withoutClaimOfDamage(ended.error, this.#what), this.#what) };
    } else {
      this.#ended = ended;
    }
    // At once, where it may: every turn that its locks are held for is one that others wait. No user code runs in it.
    if (this.#core.executor.canCommitNow) {
      this.#finish(this.#ended);
      this.#core.executor.commitSoon();
    } else {
      this.#core.executor.resubmit(this);
    }
  }

  #retry(): void {
    if (this.isSettled) return;
    this.transaction = undefined;
    this.#ended = undefined;
    const { limits, host } = this.#core;
    if (this.#attempts >= limits.transactionAttemptsMax) {
      const message = `${this.#what} lost against others ${this.#attempts} times; nothing was changed.`;
      return this.#reject(new OnefoldError("conflict", message, { retryAfterMs: retryDelayMsMax }));
    }
    // At once the first time: it will wait its turn at the lock. Then with jitter, so that crowds disperse.
    if (this.#attempts === 1) return this.#core.executor.resubmit(this);
    const delayMs = host.random.next() * Math.min(retryDelayMsMax, 2 ** this.#attempts);
    const retry = () => {
      if (!this.isSettled) this.#core.executor.resubmit(this);
    };
    host.timers.after(delayMs, retry, { keepsAlive: true });
  }

  // ------------------------------------------------------------------------------------------------------------- its end

  /** Commits, or gives up. */
  #finish(ended: Ended): void {
    const transaction = this.transaction;
    if (transaction === undefined || transaction.aborted !== undefined) return this.#retry();
    try {
      if (this.#replays()) return;
      const attempt = this.#attempt;
      if (attempt?.isAlone === false && !this.#isAgreed) {
        void agreement(this.#core, attempt, ended).then((verdict) => this.#goOn(transaction, verdict));
        return;
      }
      if ("error" in ended) return this.#giveUp(transaction, ended.error);
      // Checked even where nothing keeps it, what a transaction returns must be a value; and from here on it is nobody else's.
      const output = cloneValue(ended.output);
      const sequence = takeInCommit(this.#parts, transaction, this.#attempt, output);
      transaction.committed();
      this.#hold({ reply: { output, sequence } }, sequence);
    } catch (error) {
      this.#giveUp(transaction, failureOf(error, this.#what));
    }
  }

  /** T6. They have answered; this goes on in its turn. */
  #goOn(transaction: Transaction, verdict: Verdict): void {
    if (this.isSettled || transaction !== this.transaction) return;
    this.#isAgreed = true;
    if (verdict.kind === "failed") this.#ended = { error: verdict.error };
    if (verdict.kind === "lost") transaction.abort(lostElsewhere);
    this.#core.executor.resubmit(this);
  }

  /** T2: nothing of it stays but, for a request that may be repeated, its outcome. */
  #giveUp(transaction: Transaction, error: OnefoldError | Refused): void {
    const { observedSequence } = transaction;
    transaction.end();
    this.#core.reportFailure(error, this.#what);
    try {
      this.#hold({ error }, takeInFailure(this.#parts, error) ?? observedSequence);
    } catch (unkeepable) {
      this.#hold({ error: failureOf(unkeepable, this.#what) }, observedSequence);
    }
  }

  get #parts(): EndingParts {
    return { core: this.#core, request: this.#request, homeSlot: this.#home };
  }

  // ------------------------------------------------------------------------------------------------------------ settling

  #hold(answer: Answer, sequence: number): void {
    this.#answer = answer;
    this.#core.committer.hold(this, sequence);
  }

  release(): void {
    const answer = this.#answer!;
    if ("error" in answer) return this.#reject(answer.error);
    if (this.isSettled) return;
    this.isSettled = true;
    this.#owner.over(this);
    this.#request.settle.resolve(answer.reply);
  }

  #reject(error: Error): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.#owner.over(this);
    this.#request.settle.reject(error);
    // A body that hangs may never end; it has nothing to say any more.
    this.#owner.bodyEnded(this);
    // Stored data that can't be trusted: the shard stops, and its store is rebuilt.
    if (error instanceof OnefoldError && error.code === "damaged") this.#core.onDamage(error);
  }

  fail(error: OnefoldError): void {
    this.#reject(error);
    this.transaction?.abort(new Aborted(error.message, { isRetried: false }));
  }

  /** Once its entry is in a batch, the committer knows better than this what became of it. */
  failUnlessHeld(error: OnefoldError): void {
    if (this.#answer === undefined) this.fail(error);
  }

  failExpired(nowMs: number): void {
    if (this.deadlineMs >= nowMs) return;
    this.failUnlessHeld(
      new OnefoldError("deadline-passed", `The deadline passed before ${this.#what} ended; nothing was changed.`, {
        retry: "safe",
      }),
    );
  }

  /** In the check of its input, or in `.at`. */
  stopped(reason: StopReason): void {
    // Once may have been a pause of this thread.
    if (!this.#wasStopped && !this.isSettled) {
      this.#wasStopped = true;
      return this.#core.executor.resubmit(this);
    }
    const { code, message, retry } = stoppedFailure(`the check of ${this.#what}'s input`, reason, this.#core.limits);
    // An earlier sending of the same request may have been done: its home would know, which could not be found.
    this.fail(new OnefoldError(code, message, { retry: this.#request.request === undefined ? retry : "unknown" }));
  }
}
