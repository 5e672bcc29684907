/**
 * One slot's part in one attempt of another shard's transaction, until it is prepared: private versions of entities, and locks.
 *
 * PA1 A step that is asked for again gets its first answer, and is not run again.
 * PA2 Whoever has let go (wounded, or given up) never goes on: a later beginning of the same attempt has another grant.
 */
import { OnefoldError, Refused } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import type { Value } from "../base/value.ts";
import type { Core } from "../entity/core.ts";
import { didYouMean } from "../entity/core.ts";
import { CommandFailure } from "../entity/failure.ts";
import { encodeOutcome } from "../entity/outcome.ts";
import type { TransactionId } from "../entity/transaction-parts.ts";
import type { Inquirer } from "./inquiries.ts";
import type { StepAnswer, StepQuestion, VoteQuestion } from "./protocol.ts";
import { Step, type StepTarget } from "./step.ts";
import { Transaction } from "./transaction.ts";

export class Participant implements Inquirer {
  readonly id: TransactionId;
  readonly slot: number;
  readonly grant: number;
  /** Which of its transaction's attempts it is of. */
  readonly attempt: number;
  readonly transaction: Transaction;
  readonly isPrepared = false;
  heardMs: number;
  isAsking = false;
  readonly #core: Core;
  /** The last step. */
  #steps = 0;
  #answer: Promise<StepAnswer> | undefined = undefined;

  /** `onEnd` is called once, when it has let go of its locks without having been prepared. */
  constructor(core: Core, question: StepQuestion, parts: { readonly grant: number; readonly onEnd: () => void }) {
    this.#core = core;
    this.id = question.id;
    this.slot = question.slot;
    this.grant = parts.grant;
    this.attempt = question.attempt;
    this.transaction = new Transaction(core, { age: question.age, caller: question.caller, onEnd: parts.onEnd });
    this.heardMs = core.host.clock.monotonicMs();
  }

  /** Whether the question is for this beginning of it. */
  isMeant({ granted }: Pick<VoteQuestion, "granted">): boolean {
    return granted.grant === this.grant && granted.epoch === this.#core.epoch;
  }

  /** Whether all its steps are done, and it has let go of nothing. */
  canPrepare({ steps }: VoteQuestion): boolean {
    return this.#steps === steps && !this.transaction.hasOpenSteps && !this.transaction.isOver;
  }

  /** PA1. */
  step(question: StepQuestion): Promise<StepAnswer> {
    this.heardMs = this.#core.host.clock.monotonicMs();
    if (question.number === this.#steps) return this.#answer!;
    // Of two that are under way at once nobody waits for the earlier one.
    if (question.number !== this.#steps + 1) return Promise.resolve({ kind: "lost" });
    this.#steps++;
    this.#answer = this.#run(question);
    return this.#answer;
  }

  async #run(question: StepQuestion): Promise<StepAnswer> {
    const { transaction } = this;
    let outcome: Uint8Array;
    try {
      const step = this.#stepOf(question);
      transaction.stepBegan(step);
      this.#core.executor.resubmit(step);
      const output = (await step.answer) as Value | undefined;
      outcome = encodeOutcome({ kind: "done", output }, 0);
    } catch (error) {
      if (transaction.aborted !== undefined || isOfShard(error)) return { kind: "lost" };
      outcome = encodeOutcome({ kind: "failed", error: expected(error) }, 0);
    }
    return { kind: "ran", epoch: this.#core.epoch, grant: this.grant, outcome };
  }

  /** Throws what calls for an unknown kind, command or query get. */
  #stepOf({ kind, entityId, target, name, input, slot }: StepQuestion): Step {
    const definition = this.#core.definition(kind);
    let found: StepTarget | undefined;
    if (target === "command") {
      const command = definition.commands.get(name);
      found = command && { type: "command", command };
    } else {
      const query = definition.queries.get(name);
      found = query && { type: "query", query };
    }
    if (found === undefined) {
      const [code, names] =
        target === "command"
          ? (["unknown-command", definition.commands.keys()] as const)
          : (["unknown-query", definition.queries.keys()] as const);
      throw new OnefoldError(code, `${kind} has no ${target} '${name}'${didYouMean(name, names)}.`);
    }
    return new Step(this.transaction, { definition, id: parseId(entityId), target: found, input, slot });
  }
}

/** The shard is ending: the step has not failed, it has not been run. */
function isOfShard(error: unknown): boolean {
  return error instanceof OnefoldError && ["stopped", "not-ready", "damaged", "not-owner"].includes(error.code);
}

/** A step fails with nothing else, but for a bug; that one is the caller's as well, and changes nothing. */
function expected(error: unknown): OnefoldError | Refused {
  return error instanceof OnefoldError || error instanceof Refused
    ? error
    : new CommandFailure("A step failed.", error);
}
