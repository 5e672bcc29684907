/**
 * One attempt of a transaction, as its home sees it where it leaves the home's shard: its participants, their votes, its phase.
 * A thin shell around `two-phase.ts`.
 */
import { assert } from "../base/assert.ts";
import type { OnefoldError, Refused } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { Core } from "../entity/core.ts";
import { replyOf } from "../entity/outcome.ts";
import type { DecisionPart, TransactionId } from "../entity/transaction-parts.ts";
import { type Ask, askUntil } from "./asking.ts";
import { bodyOf, type Granted, type StepAnswer, type StepQuestion, type VoteAnswer } from "./protocol.ts";
import { Aborted, type StepElsewhere, type Transaction } from "./transaction.ts";
import { type Phase, type PhaseEffect, type PhaseEvent, step } from "./two-phase.ts";

const lost = new Aborted("A participant has let go of what this transaction had locked.", { isRetried: true });

interface RemoteParticipant {
  readonly slot: number;
  granted: Granted | undefined;
  steps: number;
  /** Its steps come one after the other. */
  last: Promise<unknown>;
}

/** What became of the votes. `failure`: no attempt would get another vote. */
export type Verdict =
  | { readonly kind: "agreed" }
  | { readonly kind: "lost" }
  | { readonly kind: "failed"; readonly error: OnefoldError | Refused };

export interface AttemptParts {
  readonly core: Core;
  readonly ask: Ask;
  /** The transaction's name. */
  readonly command: string;
  /** Which of its attempts this is, from 1. */
  readonly number: number;
  /** Called once, before its first step at another shard. Gives its id. */
  readonly onLeft: (attempt: Attempt) => TransactionId;
  /** Called once, when what has left is committed or aborted. */
  readonly onOver: (id: TransactionId) => void;
}

export class Attempt {
  readonly #parts: AttemptParts;
  /** From when it has left its shard. */
  #id: TransactionId | undefined = undefined;
  #transaction: Transaction | undefined = undefined;
  #phase: Phase = { kind: "running" };
  readonly #participants = new Map<number, RemoteParticipant>();
  #verdict: ((verdict: Verdict) => void) | undefined = undefined;

  constructor(parts: AttemptParts) {
    this.#parts = parts;
  }

  /** What it is the attempt of; set once, before its first step. */
  begin(transaction: Transaction): void {
    this.#transaction = transaction;
    transaction.elsewhere = (elsewhere) => this.#step(elsewhere);
  }

  get #name(): TransactionId {
    assert(this.#id !== undefined, "it has a name once it has left its shard");
    return this.#id;
  }

  /** Nothing of it is at another shard. */
  get isAlone(): boolean {
    return this.#participants.size === 0;
  }

  /** It is committed or aborted. */
  get isOver(): boolean {
    return this.#phase.kind === "aborted" || this.#phase.kind === "committed";
  }

  /** A participant has been wounded. */
  wounded(): void {
    this.#transaction?.abort(lost);
  }

  // -------------------------------------------------------------------------------------------------------------- steps

  #step(elsewhere: StepElsewhere): Promise<Value | undefined> {
    const { slot } = elsewhere;
    this.#id ??= this.#parts.onLeft(this);
    let participant = this.#participants.get(slot);
    if (participant === undefined) {
      participant = { slot, granted: undefined, steps: 0, last: Promise.resolve() };
      this.#participants.set(slot, participant);
    }
    const run = () => this.#run(participant, elsewhere);
    // A step that failed has been answered to whoever awaits it; the next one runs all the same.
    const answer = participant.last.then(run, run);
    participant.last = answer;
    return answer;
  }

  async #run(
    participant: RemoteParticipant,
    { input, id: entityId, ...what }: StepElsewhere,
  ): Promise<Value | undefined> {
    const transaction = this.#transaction!;
    transaction.assertOpen();
    const { age, caller } = transaction;
    const number = ++participant.steps;
    const { granted } = participant;
    const attempt = this.#parts.number;
    const question: StepQuestion = { ...what, id: this.#name, entityId, input, number, granted, age, attempt, caller };
    const answer = (await this.#ask(participant.slot, "transaction.step", bodyOf.step(question))) as
      | StepAnswer
      | undefined;
    if (answer?.kind !== "ran" || !isSame(participant.granted ?? answer, answer)) {
      transaction.abort(lost);
      transaction.assertOpen();
      throw lost;
    }
    participant.granted = { epoch: answer.epoch, grant: answer.grant };
    return replyOf(answer.outcome).output;
  }

  /** Until the transaction is over. What no repetition would answer ends the attempt. */
  async #ask(slot: number, type: string, body: Value): Promise<Value | undefined> {
    const { core, ask } = this.#parts;
    try {
      return await askUntil(
        core,
        () => ask(slot, type, body),
        () => this.isOver,
      );
    } catch (error) {
      core.host.trace("warn", "Another shard did not understand a transaction; are all nodes of one version?", {
        error,
      });
      return undefined;
    }
  }

  // -------------------------------------------------------------------------------------------------------------- votes

  /** Asks all participants whether it may be decided. Anything but `agreed` leaves nothing of it. */
  vote(): Promise<Verdict> {
    return new Promise((resolve) => {
      this.#verdict = resolve;
      this.#apply({ type: "vote", slots: [...this.#participants.keys()] });
    });
  }

  #askForVotes(): void {
    for (const participant of this.#participants.values()) {
      void this.#question("transaction.prepare", participant).then((answer) => {
        const failure = answer?.failure;
        if (failure !== undefined && this.#phase.kind === "voting") return this.#fail(failure);
        this.#apply({ type: "voted", slot: participant.slot, isYes: answer?.isYes === true });
      });
    }
  }

  /** Nothing is aborted yet: what the failure was found from has to be confirmed. */
  #fail(failure: Uint8Array): void {
    try {
      replyOf(failure);
    } catch (error) {
      this.#verdict?.({ kind: "failed", error: error as OnefoldError | Refused });
      this.#verdict = undefined;
    }
  }

  /** Whether all that it has seen elsewhere stands and is durable, so that what it failed of may be told. */
  async confirm(): Promise<boolean> {
    const begun = [...this.#participants.values()].filter(({ granted }) => granted !== undefined);
    const answers = await Promise.all(begun.map((participant) => this.#question("transaction.confirm", participant)));
    return !this.isOver && answers.every((answer) => answer?.isYes === true);
  }

  async #question(type: string, { slot, granted, steps }: RemoteParticipant): Promise<VoteAnswer | undefined> {
    assert(granted !== undefined, "who has run a step has said who granted its locks");
    const { command } = this.#parts;
    const { subject } = this.#transaction!.caller;
    const body = bodyOf.vote({ id: this.#name, slot, granted, steps, command, subject });
    return (await this.#ask(slot, type, body)) as VoteAnswer | undefined;
  }

  // --------------------------------------------------------------------------------------------------------------- ends

  /** For the entry that decides. */
  get decision(): DecisionPart {
    const participants = [...this.#participants.values()].map(({ slot, granted }) => ({ slot, epoch: granted!.epoch }));
    return { type: "decision", id: this.#name, participants };
  }

  /** Wounded, given up, out of time: without effect once it is decided (TW2). */
  abort(): void {
    this.#apply({ type: "abort" });
  }

  /** The entry with its decision is in the open batch. */
  decided(): void {
    this.#apply({ type: "decided" });
  }

  durable(): void {
    this.#apply({ type: "durable" });
  }

  /** Memory was dropped, and the decision with it if there was one. */
  dropped(): void {
    this.#apply({ type: "dropped" });
  }

  #apply(event: PhaseEvent): void {
    const wasOver = this.isOver;
    const { phase, effects } = step(this.#phase, event);
    this.#phase = phase;
    for (const effect of effects) this.#perform(effect);
    if (!wasOver && this.isOver && this.#id !== undefined) this.#parts.onOver(this.#id);
  }

  #perform(effect: PhaseEffect): void {
    switch (effect) {
      case "ask":
        return this.#askForVotes();
      case "agree":
      case "lose":
        this.#verdict?.({ kind: effect === "agree" ? "agreed" : "lost" });
        this.#verdict = undefined;
        return;
      case "tell-abort":
        for (const { slot } of this.#participants.values()) this.#tellAbort(slot);
    }
  }

  /** Once: who does not hear it asks (presumed abort). */
  #tellAbort(slot: number): void {
    const { ask, core } = this.#parts;
    const body = bodyOf.outcome({ id: this.#name, slot, isCommit: false, epoch: 0 });
    ask(slot, "transaction.outcome", body).catch((error: unknown) => {
      core.host.trace("debug", "A participant could not be told of an abort; it will ask.", { error });
    });
  }
}

function isSame(a: Granted, b: Granted): boolean {
  return a.epoch === b.epoch && a.grant === b.grant;
}
