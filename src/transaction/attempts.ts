/**
 * The attempts of this home that have left its shard and are not over, and what it answers of them.
 *
 * AT1 What is answered `abort` is never committed later: its attempt is of an ownership that is over and has left no decision, or is
 *     known to nobody here any more. An owner does not speak of attempts of later ones.
 * AT2 Decisions are told from when they are durable, by this owner and by all that come after it.
 */
import { OnefoldError } from "../base/errors.ts";
import type { DurableBatch } from "../entity/committer.ts";
import type { Core } from "../entity/core.ts";
import { binaryOfBytes } from "../entity/keys.ts";
import { homeOf, type TransactionId, transactionId } from "../entity/transaction-parts.ts";
import type { Ask } from "./asking.ts";
import { Attempt } from "./attempt.ts";
import { DecisionTeller } from "./decision-teller.ts";
import type { DecisionAnswer } from "./protocol.ts";

export class Attempts {
  readonly #core: Core;
  readonly #ask: Ask;
  readonly #teller: DecisionTeller;
  readonly #open = new Map<TransactionId, Attempt>();

  constructor(core: Core, ask: Ask) {
    this.#core = core;
    this.#ask = ask;
    this.#teller = new DecisionTeller(core, ask);
  }

  /** An attempt at home in this slot. Known here from its first step at another shard on. */
  begin(homeSlot: number, parts: { readonly command: string; readonly number: number }): Attempt {
    return new Attempt({
      core: this.#core,
      ask: this.#ask,
      ...parts,
      onLeft: (attempt) => {
        const random = binaryOfBytes(this.#core.host.random.bytes(16));
        const id = transactionId({ homeSlot, homeEpoch: this.#core.epoch, random });
        this.#open.set(id, attempt);
        return id;
      },
      onOver: (id) => this.#open.delete(id),
    });
  }

  /** AT1. Throws `not-owner` (retry safe). */
  decision(id: TransactionId): DecisionAnswer {
    if (homeOf(id).epoch > this.#core.epoch) {
      throw new OnefoldError("not-owner", "The transaction's home has had a later owner than this one.");
    }
    if (this.#open.has(id)) return "wait";
    const decision = this.#core.working.transactions.decision(id);
    if (decision === undefined) return "abort";
    return decision.sequence <= this.#core.committer.durable.sequence ? "commit" : "wait";
  }

  /** A participant has let go of it. */
  wounded(id: TransactionId): void {
    this.#open.get(id)?.wounded();
  }

  start(): void {
    this.#teller.start();
  }

  /** AT2. */
  durable({ entries }: DurableBatch): void {
    for (const { transaction: part } of entries) {
      if (part?.type !== "decision") continue;
      this.#open.get(part.id)?.durable();
      this.#teller.tell(part);
    }
  }

  /** Decisions that were not durable are none. */
  dropped(): void {
    for (const attempt of [...this.#open.values()]) attempt.dropped();
  }

  stop(): void {
    this.#teller.stop();
  }
}
