/** One command or query of a transaction, on one entity. */
import { OnefoldError } from "../base/errors.ts";
import type { CommandDefinition, EntityDefinition, QueryDefinition } from "../entity/definition.ts";
import { failureOf } from "../entity/failure.ts";
import { runCommand, runQuery } from "../entity/run-command.ts";
import type { Work } from "../entity/work.ts";
import type { Aborted, Transaction } from "./transaction.ts";

export type StepTarget =
  | { readonly type: "command"; readonly command: CommandDefinition }
  | { readonly type: "query"; readonly query: QueryDefinition };

export class Step implements Work {
  readonly #transaction: Transaction;
  readonly #definition: EntityDefinition;
  readonly #id: string;
  readonly #target: StepTarget;
  readonly #input: unknown;
  readonly #resolve: (output: unknown) => void;
  readonly #reject: (error: Error) => void;
  readonly #ended: (step: Step) => void;
  readonly deadlineMs = Number.POSITIVE_INFINITY;
  readonly sizeBytes = 0;
  readonly runsUserCode = true;
  isSettled = false;
  #wasStopped = false;

  constructor(parts: {
    readonly transaction: Transaction;
    readonly definition: EntityDefinition;
    readonly id: string;
    readonly target: StepTarget;
    readonly input: unknown;
    readonly resolve: (output: unknown) => void;
    readonly reject: (error: Error) => void;
    readonly ended: (step: Step) => void;
  }) {
    this.#ended = parts.ended;
    this.#transaction = parts.transaction;
    this.#definition = parts.definition;
    this.#id = parts.id;
    this.#target = parts.target;
    this.#input = parts.input;
    this.#resolve = parts.resolve;
    this.#reject = parts.reject;
  }

  get #what(): string {
    const { name } = this.#target.type === "command" ? this.#target.command : this.#target.query;
    return `${this.#definition.name}.${name}`;
  }

  execute(): void {
    const transaction = this.#transaction;
    const { core, caller } = transaction;
    try {
      transaction.assertOpen();
      const live = core.entity(this.#definition, caller.tenant, this.#id);
      const mode = this.#target.type === "command" ? "exclusive" : "shared";
      // A stop in the middle of this would leave a lock that nobody releases.
      core.executor.beginTakingIn();
      if (!transaction.lock(live, mode, () => core.executor.grant(this))) return core.executor.park(this);
      core.executor.endTakingIn();
      const entity = transaction.entity(live);
      const surroundings = core.surroundings(caller);
      if (this.#target.type === "query") {
        return this.#succeed(runQuery(entity, this.#target.query, this.#input, surroundings).output);
      }
      const result = runCommand(entity, this.#target.command, this.#input, surroundings);
      // Nor may it leave a transaction that goes on with half of this.
      core.executor.beginTakingIn();
      entity.merge(result);
      transaction.messages.push(...result.messages);
      this.#succeed(result.output);
    } catch (error) {
      // Not by its class: what user code threw may not even let itself be asked.
      if (transaction.aborted !== undefined && error === transaction.aborted) return this.#refuse(transaction.aborted);
      const failure = failureOf(error, this.#what);
      core.reportFailure(failure, this.#what);
      this.#refuse(failure);
      if (failure.code === "damaged") core.onDamage(failure as OnefoldError);
    }
  }

  #succeed(output: unknown): void {
    // First, because the watchdog may strike in here: what is settled without an answer would wait for ever.
    this.#resolve(output);
    this.isSettled = true;
    this.#ended(this);
  }

  #refuse(error: Error): void {
    if (this.isSettled) return;
    this.#reject(error);
    this.isSettled = true;
    this.#ended(this);
    this.#transaction.core.executor.unpark(this);
  }

  /** The transaction was aborted while the step waited. */
  abandon(reason: Aborted): void {
    this.#refuse(reason);
  }

  release(): void {
    // Its output is given out at once, inside the transaction; see G3.
  }

  fail(error: OnefoldError): void {
    this.#refuse(error);
  }

  /** Once may have been a pause of the whole process. */
  stopped(): void {
    if (!this.#wasStopped && !this.isSettled) {
      this.#wasStopped = true;
      return this.#transaction.core.executor.resubmit(this);
    }
    const { limits } = this.#transaction.core;
    this.#refuse(
      new OnefoldError("command-too-slow", `${this.#what} ran longer than ${limits.commandMs} ms and was stopped.`),
    );
  }
}
