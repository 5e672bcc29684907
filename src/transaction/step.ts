/** One command or query of a transaction, on one entity. */
import type { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { CommandDefinition, EntityDefinition, QueryDefinition } from "../entity/definition.ts";
import { failureOf, stoppedFailure } from "../entity/failure.ts";
import type { LockWaiter } from "../entity/locks.ts";
import { runCommand, runQuery } from "../entity/run-command.ts";
import type { Work } from "../entity/work.ts";
import type { LiveEntity } from "../entity/working-set.ts";
import type { StopReason } from "../host/host.ts";
import type { Aborted, Elsewhere, OpenStep, Transaction } from "./transaction.ts";

export type StepTarget =
  | { readonly type: "command"; readonly command: CommandDefinition }
  | { readonly type: "query"; readonly query: QueryDefinition };

export class Step implements Work, OpenStep, LockWaiter {
  readonly #transaction: Transaction;
  readonly #definition: EntityDefinition;
  readonly #id: string;
  readonly #target: StepTarget;
  readonly #input: Value | undefined;
  /** Where it is known: of a step that another shard has asked for. */
  readonly #slot: number | undefined;
  #resolve!: (output: unknown) => void;
  #reject!: (error: Error) => void;
  /** What the body gets. */
  readonly answer: Promise<unknown>;
  isSettled = false;
  #wasStopped = false;
  #isElsewhere = false;

  constructor(
    transaction: Transaction,
    parts: {
      readonly definition: EntityDefinition;
      readonly id: string;
      readonly target: StepTarget;
      readonly input: Value | undefined;
      readonly slot?: number;
    },
  ) {
    this.#transaction = transaction;
    this.#definition = parts.definition;
    this.#id = parts.id;
    this.#target = parts.target;
    this.#input = parts.input;
    this.#slot = parts.slot;
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
      const live = this.#entity();
      if (live === undefined) return;
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

  /** Undefined where it is another shard's, which runs the step then. */
  #entity(): LiveEntity | undefined {
    const { core, caller, elsewhere } = this.#transaction;
    const { tenant } = caller;
    if (this.#slot !== undefined) return core.entityAt(this.#definition, this.#slot, tenant, this.#id);
    if (elsewhere === undefined) return core.entity(this.#definition, tenant, this.#id);
    const slot = core.slotOf(this.#definition, tenant, this.#id);
    if (core.isOwn(slot)) return core.entityAt(this.#definition, slot, tenant, this.#id);
    this.#goElsewhere(elsewhere, slot);
    return undefined;
  }

  #goElsewhere(elsewhere: Elsewhere, slot: number): void {
    const target = this.#target;
    const { name } = target.type === "command" ? target.command : target.query;
    const step = { slot, kind: this.#definition.name, id: this.#id, target: target.type, name, input: this.#input };
    this.#isElsewhere = true;
    this.#transaction.stepLeft();
    elsewhere(step).then(
      (output) => {
        if (!this.isSettled) this.#succeed(output);
      },
      (error: Error) => this.#refuse(error),
    );
  }

  /** The transaction holds the lock now. */
  granted(): void {
    this.#transaction.core.executor.grant(this);
  }

  #succeed(output: unknown): void {
    this.isSettled = true;
    this.#resolve(output);
    this.#end();
  }

  #end(): void {
    if (this.#isElsewhere) this.#transaction.stepReturned();
    this.#transaction.stepEnded(this);
  }

  #refuse(error: Error): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.#reject(error);
    this.#end();
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
