/**
 * The participants of a shard: what transactions of other shards do here, from their first steps to their outcomes.
 *
 * PP1 A yes is durable, and was prepared in the epoch and the beginning that have granted its locks. From then on it is never
 *     wounded, and nothing but its home's word ends it.
 * PP2 The locks of what is prepared are held at any time, also after speculation was dropped and by every later owner.
 * PP3 An outcome is acknowledged only when it is durable here, and only by an owner that must know of what was prepared. Otherwise the
 *     home could forget a decision that somebody still has to hear.
 * PP4 What comes late, twice, or for another attempt changes nothing.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Core } from "../entity/core.ts";
import { type BinaryString, uint16 } from "../entity/keys.ts";
import type { Age } from "../entity/locks.ts";
import { encodeOutcome } from "../entity/outcome.ts";
import type { PreparedPart, TransactionId } from "../entity/transaction-parts.ts";
import { homeOf } from "../entity/transaction-parts.ts";
import type { Ask } from "./asking.ts";
import { Inquiries, type Inquirer } from "./inquiries.ts";
import { Participant } from "./participant.ts";
import { PreparedLocks } from "./prepared-locks.ts";
import {
  bodyOf,
  type OutcomeQuestion,
  type StepAnswer,
  type StepQuestion,
  type VoteAnswer,
  type VoteQuestion,
} from "./protocol.ts";
import { Aborted } from "./transaction.ts";
import { inTurn, type Said } from "./turn.ts";

const no: Said<VoteAnswer> = { value: { isYes: false }, sequence: 0 };

function yes(sequence: number): Said<VoteAnswer> {
  return { value: { isYes: true }, sequence };
}

const letGo = new Aborted("The transaction is over, or its home can't be reached.", { isRetried: false });
const dropped = new Aborted("What it saw was rolled back.", { isRetried: true });

/** All attempts of one transaction have one age. */
function transactionKey({ slot, age }: { readonly slot: number; readonly age: Age }): BinaryString {
  return `${uint16(slot)}${age.timeMs} ${age.count} ${age.owner}`;
}

export class Participants {
  readonly #core: Core;
  readonly #ask: Ask;
  readonly #inquiries: Inquiries;
  /** Not prepared, by slot and transaction. */
  readonly #open = new Map<BinaryString, Participant>();
  /** The same, by slot and age: of one transaction's attempts the latest alone is open. */
  readonly #latest = new Map<BinaryString, Participant>();
  /** Of those that are prepared, by the same key. */
  readonly #locks = new Map<BinaryString, PreparedLocks>();
  #grants = 0;

  constructor(core: Core, ask: Ask) {
    this.#core = core;
    this.#ask = ask;
    this.#inquiries = new Inquiries(core, ask, {
      all: () => this.#all(),
      decided: (inquirer, { isCommit }) => this.#decided(inquirer, isCommit),
    });
  }

  /** PP2. Throws `damaged`. */
  load(): void {
    for (const prepared of this.#core.working.transactions.allPrepared()) {
      const { slot, id } = prepared.part;
      this.#locks.set(uint16(slot) + id, PreparedLocks.taken(this.#core, prepared));
    }
  }

  start(): void {
    if (this.#locks.size > 0) this.#inquiries.start(0);
  }

  stop(): void {
    this.#inquiries.stop();
  }

  /** All locks were lost with the memory: what is durably prepared takes its own again, the rest is over. Throws `damaged`. */
  dropped(): void {
    for (const participant of [...this.#open.values()]) participant.transaction.abort(dropped);
    this.#locks.clear();
    this.load();
  }

  *#all(): Iterable<Inquirer> {
    yield* this.#open.values();
    yield* this.#locks.values();
  }

  // -------------------------------------------------------------------------------------------------------------- steps

  async step(question: StepQuestion): Promise<StepAnswer> {
    const { slot, id, granted, number } = question;
    const key = uint16(slot) + id;
    const participant = this.#open.get(key);
    if (participant !== undefined) {
      const isFirst = granted === undefined && number === 1;
      const isMeant = granted !== undefined && participant.isMeant({ granted });
      return isFirst || isMeant ? participant.step(question) : { kind: "lost" };
    }
    // PA2: what has begun before has been let go of, or is prepared, or over.
    if (granted !== undefined || number !== 1 || this.#locks.has(key)) return { kind: "lost" };
    return this.#begin(question)?.step(question) ?? { kind: "lost" };
  }

  /** Undefined where a later attempt of the same transaction is here. An earlier one is over, and waits for nothing but that word. */
  #begin(question: StepQuestion): Participant | undefined {
    const transaction = transactionKey(question);
    const other = this.#latest.get(transaction);
    if (other !== undefined && other.attempt > question.attempt) return undefined;
    other?.transaction.abort(letGo);
    if (this.#open.size >= this.#core.limits.participationsMax) {
      throw new OnefoldError("overloaded", "Too many transactions of other shards are open here.", {
        retryAfterMs: 100,
      });
    }
    const key = uint16(question.slot) + question.id;
    const participant: Participant = new Participant(this.#core, question, {
      grant: ++this.#grants,
      onEnd: () => {
        this.#close(participant);
        const { aborted } = participant.transaction;
        if (aborted !== letGo && aborted !== dropped) this.#tellWounded(question.id);
      },
    });
    this.#open.set(key, participant);
    this.#latest.set(transaction, participant);
    this.#inquiries.start();
    return participant;
  }

  #close({ slot, id, transaction: { age } }: Participant): void {
    this.#open.delete(uint16(slot) + id);
    this.#latest.delete(transactionKey({ slot, age }));
  }

  /** A hint, so that its home does not run on in vain. Who misses it hears the same at the next step, or when it votes. */
  #tellWounded(id: TransactionId): void {
    this.#ask(homeOf(id).slot, "transaction.wounded", bodyOf.id(id)).catch((error: unknown) => {
      this.#core.host.trace("debug", "A home could not be told that its transaction was wounded; it will notice.", {
        error,
      });
    });
  }

  // -------------------------------------------------------------------------------------------------------------- votes

  prepare(question: VoteQuestion): Promise<VoteAnswer> {
    return inTurn(this.#core, () => this.#prepare(question));
  }

  #prepare(question: VoteQuestion): Said<VoteAnswer> {
    const { slot, id, granted } = question;
    const { transactions } = this.#core.working;
    const known = transactions.prepared(slot, id);
    if (known !== undefined) {
      const { grant, epoch } = known.part;
      return grant === granted.grant && epoch === granted.epoch ? yes(known.sequence) : no;
    }
    const participant = this.#open.get(uint16(slot) + id);
    if (participant === undefined || !participant.isMeant(question) || !participant.canPrepare(question)) return no;
    const { preparedMax, preparedBytesMax } = this.#core.limits;
    if (transactions.preparedCount >= preparedMax || transactions.preparedBytes > preparedBytesMax) {
      // A no is final, so it need not wait to be told.
      participant.transaction.abort(letGo);
      return no;
    }
    try {
      return yes(this.#takeIn(participant, question));
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code === "damaged") throw error;
      return { value: { isYes: false, failure: encodeOutcome({ kind: "failed", error }, 0) }, sequence: 0 };
    }
  }

  /** PP1. Throws `too-large`, `overloaded`; then nothing has changed. */
  #takeIn(participant: Participant, { command, subject }: VoteQuestion): number {
    const { transaction, id, slot, grant } = participant;
    const part: PreparedPart = {
      type: "prepared",
      id,
      slot,
      epoch: this.#core.epoch,
      grant,
      age: transaction.age,
      effects: transaction.effects(),
      messages: transaction.messages,
      locks: transaction.lockRecords(),
    };
    if (part.messages.length > 0) this.#core.mailroom.assertRoom(part.messages, { isFromOutside: true });
    const entry = this.#core.entry({ origin: "transaction", command, subject, transaction: part });
    const sequence = this.#core.takeIn(entry);
    const key = uint16(slot) + id;
    this.#locks.set(key, PreparedLocks.takenOver({ part }, transaction, participant.heardMs));
    this.#close(participant);
    return sequence;
  }

  /** What the attempt has seen here stands, or stood after its last step, and is durable: its failure may be told. */
  confirm(question: VoteQuestion): Promise<VoteAnswer> {
    return inTurn(this.#core, () => {
      const { slot, id } = question;
      const known = this.#core.working.transactions.prepared(slot, id);
      if (known !== undefined) return yes(known.sequence);
      const participant = this.#open.get(uint16(slot) + id);
      if (participant?.isMeant(question) !== true || participant.transaction.isOver) return no;
      return yes(participant.transaction.observedSequence);
    });
  }

  // ------------------------------------------------------------------------------------------------------------ outcomes

  /** PP3. Rejects with `not-owner` where a later owner must be asked. */
  outcome({ slot, id, isCommit, epoch }: OutcomeQuestion): Promise<null> {
    if (epoch > this.#core.epoch) {
      throw new OnefoldError("not-owner", "The shard has had a later owner than this one.");
    }
    return inTurn(this.#core, () => ({ value: null, sequence: this.#end(slot, id, isCommit) }));
  }

  /** A home's word, in answer to an inquiry. */
  #decided({ slot, id, isPrepared }: Inquirer, isCommit: boolean): void {
    if (!isPrepared) {
      if (!isCommit) this.#letGo(slot, id);
      return;
    }
    inTurn(this.#core, () => ({ value: null, sequence: this.#end(slot, id, isCommit) })).catch((error: unknown) => {
      this.#core.host.trace("debug", "An outcome could not be recorded; its home will be asked again.", { error });
    });
  }

  #letGo(slot: number, id: TransactionId): void {
    this.#open.get(uint16(slot) + id)?.transaction.abort(letGo);
  }

  /** Returns what must be durable before it is acknowledged. */
  #end(slot: number, id: TransactionId, isCommit: boolean): number {
    const { transactions } = this.#core.working;
    // What is not prepared has come to nothing; what came late, after the outcome, has too.
    this.#letGo(slot, id);
    const prepared = transactions.prepared(slot, id);
    // An outcome that was taken in before need not be durable yet.
    if (prepared === undefined) return transactions.lastSequence;
    const { part, command, subject } = prepared;
    const sequence = this.#core.takeIn(
      this.#core.entry({
        origin: "transaction",
        command,
        subject,
        ...(isCommit ? { effects: part.effects, messages: part.messages } : {}),
        transaction: { type: "outcome", id, slot, isCommit },
      }),
    );
    const key = uint16(slot) + id;
    this.#locks.get(key)?.release();
    this.#locks.delete(key);
    return sequence;
  }
}
