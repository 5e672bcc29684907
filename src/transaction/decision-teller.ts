/**
 * Tells decisions to the participants, again and again until each has acknowledged, and then has them forgotten.
 *
 * DT1 Only what is durable is told.
 * DT2 A decision is forgotten only when all its participants have it durably; whoever has not could ask for it.
 */
import type { Core } from "../entity/core.ts";
import type { DecisionPart, TransactionId } from "../entity/transaction-parts.ts";
import { type Ask, askUntil } from "./asking.ts";
import { bodyOf } from "./protocol.ts";
import { inTurn } from "./turn.ts";

/** Decisions are forgotten together, so that few entries are made of it. */
const forgetDelayMs = 50;
const forgottenPerEntryMax = 1024;

export class DecisionTeller {
  readonly #core: Core;
  readonly #ask: Ask;
  readonly #told = new Set<TransactionId>();
  #acknowledged: TransactionId[] = [];
  #willForget = false;
  #isStopped = false;

  constructor(core: Core, ask: Ask) {
    this.#core = core;
    this.#ask = ask;
  }

  /** Tells what earlier owners have left. */
  start(): void {
    for (const { part } of this.#core.working.transactions.allDecisions()) this.tell(part);
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** DT1: it is durable. */
  tell({ id, participants }: DecisionPart): void {
    if (this.#told.has(id)) return;
    this.#told.add(id);
    let missing = participants.length;
    for (const participant of participants) {
      void this.#tellOne(id, participant).then((isDone) => {
        if (isDone && --missing === 0) this.#forget([id]);
      });
    }
  }

  /** False where it was stopped before. Never rejects. */
  async #tellOne(id: TransactionId, { slot, epoch }: DecisionPart["participants"][number]): Promise<boolean> {
    const body = bodyOf.outcome({ id, slot, isCommit: true, epoch });
    try {
      const attempt = () => this.#ask(slot, "transaction.outcome", body);
      return (await askUntil(this.#core, attempt, () => this.#isStopped)) !== undefined;
    } catch (error) {
      // It stays until the next owner: nothing is forgotten that was not acknowledged.
      this.#core.host.trace("error", "A participant does not understand a decision; are all nodes of one version?", {
        error,
      });
      return false;
    }
  }

  /** DT2. */
  #forget(ids: readonly TransactionId[]): void {
    for (const id of ids) this.#acknowledged.push(id);
    if (this.#willForget) return;
    this.#willForget = true;
    this.#core.host.timers.after(forgetDelayMs, () => {
      this.#willForget = false;
      if (this.#isStopped) return;
      const all = this.#acknowledged;
      this.#acknowledged = [];
      for (let at = 0; at < all.length; at += forgottenPerEntryMax) {
        this.#record(all.slice(at, at + forgottenPerEntryMax));
      }
    });
  }

  #record(ids: readonly TransactionId[]): void {
    const recorded = inTurn(this.#core, () => {
      const transaction = { type: "forgotten", ids } as const;
      const entry = this.#core.entry({ origin: "admin", command: "forget", subject: "onefold", transaction });
      return { value: undefined, sequence: this.#core.takeIn(entry) };
    });
    const over = () => {
      for (const id of ids) this.#told.delete(id);
    };
    recorded.then(over, (error: unknown) => {
      this.#core.host.trace("debug", "Decisions could not be forgotten; that is tried again.", { error });
      this.#forget(ids);
    });
  }
}
