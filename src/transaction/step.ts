/** One command or query of a transaction, on one entity. */
import type { OnefoldError } from "../base/errors.ts";
import type { CommandDefinition, EntityDefinition, QueryDefinition } from "../entity/definition.ts";
import { failureOf, stoppedFailure } from "../entity/failure.ts";
import type { LockWaiter } from "../entity/locks.ts";
import { runCommand, runQuery } from "../entity/run-command.ts";
import type { Work } from "../entity/work.ts";
import type { StopReason } from "../host/host.ts";
import type { Aborted, OpenStep, Transaction } from "./transaction.ts";

export type StepTarget =
  | { readonly type: "command"; readonly command: CommandDefinition }
  | { readonly type: "query"; readonly query: QueryDefinition };

export class Step implements Work, OpenStep, LockWaiter {
  readonly #transaction: Transaction;
  readonly #definition: EntityDefinition;
  readonly #id: string;
  readonly #target: StepTarget;
  readonly #input: unknown;
  #resolve!: (output: unknown) => void;
  #reject!: (error: Error) => void;
  /** What the body gets. */
  readonly answer: Promise<unknown>;
  isSettled = false;
  #wasStopped = false;

  constructor(transaction: Transaction, definition: EntityDefinition, id: string, target: StepTarget, input: unknown) {
    this.#transaction = transaction;
    this.#definition = definition;
    this.#id = id;
    this.#target = target;
    this.#input = input;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Its transaction's. */
  get deadlineMs(): number {
    return Number.POSITIVE_INFINITY;
  }

  get sizeBytes(): number {
    return 0;
  }

  get #what(): string {
    const target = this.#target;
    return `${this.#definition.name}.${target.type === "command" ? target.command.name : target.query.name}`;
  }

  execute(): void {
    const transaction = this.#transaction;
    const { core, caller } = transaction;
    const target = this.#target;
    try {
      transaction.assertOpen();
      const live = core.entity(this.#definition, caller.tenant, this.#id);
      const entity = transaction.lock(live, target.type === "command" ? "exclusive" : "shared", this);
      if (entity === undefined) return core.executor.park(this);
      const surroundings = core.surroundings(caller);
      if (target.type === "query") {
        return this.#succeed(runQuery(entity, target.query, this.#input, surroundings).output);
      }
      entity.takeDraft();
      const result = runCommand(entity, target.command, this.#input, surroundings);
      entity.merge(result);
      transaction.send(result.messages);
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

  /** The transaction holds the lock now. */
  granted(): void {
    this.#transaction.core.executor.grant(this);
  }

  #succeed(output: unknown): void {
    this.isSettled = true;
    this.#resolve(output);
    this.#transaction.stepEnded(this);
  }

  #refuse(error: Error): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.#reject(error);
    this.#transaction.stepEnded(this);
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
  stopped(reason: StopReason): void {
    if (!this.#wasStopped && !this.isSettled) {
      this.#wasStopped = true;
      return this.#transaction.core.executor.resubmitFirst(this);
    }
    this.#refuse(stoppedFailure(this.#what, reason, this.#transaction.core.limits));
  }
}
