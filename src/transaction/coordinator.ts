/**
 * The coordinator of transactions whose participants are all in one log: strict two-phase locking with wound-wait, one entry
 * in one batch as commit, no second phase (design 8).
 *
 * T1  Nothing that a transaction did is visible before its entry is in a batch, nor told to anyone before that is durable.
 * T2  A transaction that is aborted, throws, or loses leaves nothing; a caught refusal undoes that command alone.
 * T3  A retry keeps its first age, so that every transaction is the oldest in the end; retries are bounded all the same.
 * T4  With a request's identity, the outcome is kept at the home's slot, in the same entry as the effects.
 * T5  Its body runs outside the watchdog (it is asynchronous), each of its steps and its `.at` inside.
 */
import { OnefoldError, type Refused } from "../base/errors.ts";
import { parseId, slotOfParts } from "../base/ids.ts";
import type { Value } from "../base/value.ts";
import { cloneValue } from "../base/value.ts";
import { replayed } from "../entity/command-call.ts";
import type { Core, KeptResult } from "../entity/core.ts";
import type { TransactionDefinition } from "../entity/definition.ts";
import { failureOf, withoutClaimOfDamage } from "../entity/failure.ts";
import { isKept } from "../entity/outcome.ts";
import type { CallReply } from "../entity/service.ts";
import type { TransactionRequest, TransactionRunner } from "../entity/shard.ts";
import { validate } from "../entity/validate.ts";
import type { Work } from "../entity/work.ts";
import type { Scope, Timer } from "../host/host.ts";
import { callerOf } from "./calls.ts";
import type { Step } from "./step.ts";
import { Aborted, Transaction } from "./transaction.ts";

/** So long a queue of bodies waits for running ones that do not end. */
const patienceMs = 10;
/** Longest wait before another attempt; attempts begin at once and wait twice as long each time. */
const retryDelayMsMax = 64;

export class Coordinator implements TransactionRunner {
  readonly #core: Core;
  /** Marks everything that a transaction's body calls, to notice an ordinary client in there. */
  readonly #scope: Scope<Transaction>;
  readonly #open = new Set<Run>();
  /** Bodies to begin when the slice is over (T5), oldest first. */
  #toBegin: Run[] = [];
  #begun = 0;
  #runningCount = 0;
  /** Set while bodies wait for others to end: those may be waiting for something foreign, so it does not wait for long. */
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
    const run = new Run(this.#core, request, {
      begin: () => this.#toBegin.push(run),
      over: () => this.#open.delete(run),
      bodyEnded: () => {
        this.#runningCount--;
        this.#begin(this.#core.limits.transactionsRunningMax);
      },
    });
    this.#core.executor.submit(run);
    this.#open.add(run);
  }

  /** Outside the watchdog. */
  afterSlice(): void {
    this.#begin(this.#core.limits.transactionsRunningMax);
  }

  /** Begins bodies until `runningMax` of them run. */
  #begin(runningMax: number): void {
    while (this.#begun < this.#toBegin.length && this.#runningCount < runningMax) {
      const run = this.#toBegin[this.#begun++]!;
      if (run.isSettled) continue;
      this.#runningCount++;
      run.attempt(this.#scope);
    }
    if (this.#begun === this.#toBegin.length) {
      this.#toBegin = [];
      this.#begun = 0;
      return;
    }
    if (this.#begun >= 1024) {
      this.#toBegin = this.#toBegin.slice(this.#begun);
      this.#begun = 0;
    }
    this.#patience ??= this.#waitFor(this.#toBegin[this.#begun]);
  }

  #waitFor(next: Run | undefined): Timer {
    const { host, limits } = this.#core;
    const impatient = () => {
      this.#patience = undefined;
      // Not one has begun meanwhile: those that run wait for something else than each other.
      const isStuck = this.#toBegin[this.#begun] === next;
      this.#begin(limits.transactionsRunningMax + (isStuck ? this.#runningCount : 0));
    };
    return host.timers.after(patienceMs, impatient, { keepsAlive: true });
  }

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

interface Lifecycle {
  /** An attempt may begin when there is room for it. */
  readonly begin: () => void;
  /** The body of an attempt has ended. */
  readonly bodyEnded: () => void;
  /** The request is answered. */
  readonly over: () => void;
}

/** A transaction from its request to its answer, over all attempts. As a work it is its own beginning and its own end. */
class Run implements Work {
  readonly #core: Core;
  readonly #request: TransactionRequest;
  readonly #lifecycle: Lifecycle;
  readonly #age: number;
  readonly deadlineMs: number;
  readonly sizeBytes: number;
  isSettled = false;
  transaction: Transaction | undefined = undefined;
  #attempts = 0;
  #input: unknown = undefined;
  #home = 0;
  /** The user's code that checks the input and finds the home has ended. */
  #isChecked = false;
  #wasStopped = false;
  /** What the body came to; set before the run is queued again to finish. */
  #ended: { readonly output: Value | undefined } | { readonly error: OnefoldError | Refused } | undefined = undefined;
  #answer: { readonly reply: CallReply } | { readonly error: Error } | undefined = undefined;
  readonly #steps = new Set<Step>();
  /** Gives back the present body's place among those that run. */
  #leave: (() => void) | undefined = undefined;

  constructor(core: Core, request: TransactionRequest, lifecycle: Lifecycle) {
    this.#core = core;
    this.#request = request;
    this.#lifecycle = lifecycle;
    this.#age = core.nextAge();
    this.deadlineMs = request.deadlineMs;
    this.sizeBytes = request.sizeBytes;
  }

  get #what(): string {
    return `transaction ${this.#request.definition.name}`;
  }

  /** Before an attempt: checking the input and finding the home are the user's code. */
  get runsUserCode(): boolean {
    return this.#ended === undefined;
  }

  execute(): void {
    if (this.#ended !== undefined) return this.#finish();
    try {
      const { definition, input } = this.#request;
      // Anew for each attempt: a body may change what it gets, and what a schema makes of the input need not be a value.
      this.#input = checkedInput(definition, cloneValue(input as Value | undefined));
      if (this.#attempts === 0) this.#home = this.#homeSlot();
      this.#isChecked = true;
      if (this.#replays()) return;
      this.#lifecycle.begin();
    } catch (error) {
      this.#reject(failureOf(error, this.#what));
    }
  }

  #homeSlot(): number {
    const { definition, caller, request } = this.#request;
    const at = definition.at?.(this.#input as never);
    const home = at && this.#core.entity(at.entity.definition, caller.tenant, parseId(at.id)).slot;
    // Where the outcome is kept must not depend on the input if another input under the same key is to be noticed.
    if (request?.type === "idempotency") return slotOfParts([caller.tenant, definition.name, request.digest]);
    if (home !== undefined) return home;
    // Without a home of its own: where its request's number leads. Without that either, nothing is kept.
    return request === undefined
      ? 0
      : slotOfParts([caller.tenant, definition.name, request.session, `${request.number}`]);
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

  /** Runs the body once. */
  attempt(scope: Scope<Transaction>): void {
    if (this.isSettled) return;
    this.#attempts++;
    const { definition, caller } = this.#request;
    const transaction = new Transaction({
      core: this.#core,
      age: this.#age,
      caller,
      deadlineMs: this.deadlineMs,
      onAbort: (reason) => this.#aborted(reason),
    });
    this.transaction = transaction;
    const input = this.#input as never;
    const body = async () => definition.run(callerOf(this.#core, transaction, this.#steps) as never, input);
    const leave = once(this.#lifecycle.bodyEnded);
    this.#leave = leave;
    scope.run(transaction, body).then(
      (output) => {
        this.#bodyEnded(transaction, { output: output as Value | undefined });
        leave();
      },
      (error: unknown) => {
        this.#bodyEnded(transaction, { error });
        leave();
      },
    );
  }

  #aborted(reason: Aborted): void {
    for (const step of [...this.#steps]) step.abandon(reason);
    this.#steps.clear();
  }

  #bodyEnded(
    transaction: Transaction,
    ended: { readonly output: Value | undefined } | { readonly error: unknown },
  ): void {
    if (this.isSettled || transaction !== this.transaction) return transaction.end();
    if (transaction.aborted !== undefined) return this.#retry();
    // Steps that the body did not await must not go on after it.
    const unawaited = [...this.#steps].some((step) => !step.isSettled);
    if (unawaited) {
      const message = `${this.#what} ended before all of its steps; await every step.`;
      for (const step of [...this.#steps]) step.abandon(new Aborted(message, { isRetried: false }));
      this.#ended = { error: new OnefoldError("command-failed", message) };
    } else {
      // A step that met damage has told the shard of it.
      const failed = (error: unknown) => failureOf(withoutClaimOfDamage(error, this.#what), this.#what);
      this.#ended = "error" in ended ? { error: failed(ended.error) } : ended;
    }
    this.#steps.clear();
    // At once, where it may: every turn that its locks are held for is one that others wait. No user code runs in it.
    if (this.#core.executor.canCommitNow) {
      this.#finish();
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
      return this.#reject(
        new OnefoldError(
          "conflict",
          `${this.#what} lost against others ${this.#attempts} times; nothing was changed.`,
          {
            retryAfterMs: retryDelayMsMax,
          },
        ),
      );
    }
    // At once the first time: it will wait its turn at the lock. Then with jitter, so that crowds disperse.
    if (this.#attempts === 1) return this.#core.executor.resubmit(this);
    const delayMs = host.random.next() * Math.min(retryDelayMsMax, 2 ** this.#attempts);
    const retry = () => {
      if (!this.isSettled) this.#core.executor.resubmit(this);
    };
    host.timers.after(delayMs, retry, { keepsAlive: true });
  }

  /** Commits, or gives up, inside a slice. */
  #finish(): void {
    const transaction = this.transaction;
    const ended = this.#ended;
    if (transaction === undefined || ended === undefined || transaction.aborted !== undefined) return this.#retry();
    try {
      if (this.#replays()) return;
      if ("error" in ended) return this.#giveUp(transaction, ended.error);
      const sequence = this.#commit(transaction, ended.output);
      transaction.end();
      this.#hold({ reply: { output: cloneValue(ended.output), sequence } }, sequence);
    } catch (error) {
      this.#giveUp(transaction, failureOf(error, this.#what));
    }
  }

  #commit(transaction: Transaction, output: Value | undefined): number {
    const { definition, caller } = this.#request;
    // Checked even where nothing keeps it: what a transaction returns must be a value.
    if (output !== undefined) cloneValue(output);
    const kept = this.#kept({ kind: "done", output });
    const effects = transaction.effects();
    const { messages } = transaction;
    if (effects.length === 0 && messages.length === 0 && kept === undefined) return transaction.observedSequence;
    const entry = this.#core.entry(
      { origin: "transaction", command: definition.name, subject: caller.subject, effects, messages },
      kept,
    );
    return this.#core.takeIn(entry);
  }

  #kept(outcome: KeptResult["outcome"]): KeptResult | undefined {
    const { request } = this.#request;
    if (request === undefined) return undefined;
    return { request, slot: this.#home, outcome, outputBytes: undefined };
  }

  /** T2: nothing of it stays but, for a request that may be repeated, its outcome. */
  #giveUp(transaction: Transaction, error: OnefoldError | Refused): void {
    const { definition, caller } = this.#request;
    let sequence = transaction.observedSequence;
    transaction.end();
    this.#core.reportFailure(error, this.#what);
    const kept = isKept(error) ? this.#kept({ kind: "failed", error }) : undefined;
    try {
      if (kept !== undefined) {
        const draft = { origin: "transaction", command: definition.name, subject: caller.subject } as const;
        sequence = this.#core.takeIn(this.#core.entry(draft, kept));
      }
      this.#hold({ error }, sequence);
    } catch (unkeepable) {
      this.#hold({ error: failureOf(unkeepable, this.#what) }, sequence);
    }
  }

  // ------------------------------------------------------------------------------------------------------------ settling

  #hold(answer: { readonly reply: CallReply } | { readonly error: Error }, sequence: number): void {
    this.#answer = answer;
    this.#core.committer.hold(this, sequence);
  }

  release(): void {
    const answer = this.#answer!;
    if ("error" in answer) return this.#reject(answer.error);
    if (this.isSettled) return;
    this.isSettled = true;
    this.#lifecycle.over();
    this.#request.settle.resolve(answer.reply);
  }

  #reject(error: Error): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.#lifecycle.over();
    this.#request.settle.reject(error);
    // A body that hangs may never end; it has nothing to say any more.
    this.#leave?.();
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

  stopped(): void {
    // Once may have been a pause of the whole process.
    if (!this.#isChecked && !this.#wasStopped && !this.isSettled) {
      this.#wasStopped = true;
      return this.#core.executor.resubmit(this);
    }
    const { limits } = this.#core;
    const took = `took longer than ${limits.commandMs} ms`;
    // Beyond the check nothing of the user's runs in here: what took so long was a pause of the process.
    const error = this.#isChecked
      ? new OnefoldError("command-too-slow", `${this.#what} ${took}; nothing was changed.`, { retry: "safe" })
      : new OnefoldError("command-too-slow", `${this.#what} ${took} to check its input.`);
    this.fail(error);
  }
}

function once(run: () => void): () => void {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    run();
  };
}

function checkedInput({ name, input: schema }: TransactionDefinition, input: unknown): unknown {
  if (schema !== undefined) return validate(schema, input, { what: `the input of ${name}` });
  if (input === undefined || input === null) return undefined;
  throw new OnefoldError("invalid-input", `${name} takes no input.`, {
    details: { issues: [{ path: [], message: "no input is expected" }] },
  });
}
