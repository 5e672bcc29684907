/**
 * Inquiries: whoever takes part in a transaction of another shard, and has heard nothing of it for long, asks its home.
 *
 * IN1 What is not prepared lets go where the home says so, or can't be reached for long: it has promised nothing.
 * IN2 What is prepared is ended by its home's word alone, however long that takes.
 */
import type { Core } from "../entity/core.ts";
import { homeOf, type TransactionId } from "../entity/transaction-parts.ts";
import type { Timer } from "../host/host.ts";
import type { Ask } from "./asking.ts";
import { bodyOf, type DecisionAnswer } from "./protocol.ts";

/** Who waits for a word of a home. */
export interface Inquirer {
  readonly id: TransactionId;
  readonly slot: number;
  readonly isPrepared: boolean;
  /** Monotonic time of the home's last word. */
  heardMs: number;
  isAsking: boolean;
}

export interface InquiriesOwner {
  all(): Iterable<Inquirer>;
  /** The home's word. For one that is not prepared: it may let go. */
  decided(inquirer: Inquirer, options: { readonly isCommit: boolean }): void;
}

export class Inquiries {
  readonly #core: Core;
  readonly #ask: Ask;
  readonly #owner: InquiriesOwner;
  #timer: Timer | undefined = undefined;
  #isStopped = false;

  constructor(core: Core, ask: Ask, owner: InquiriesOwner) {
    this.#core = core;
    this.#ask = ask;
    this.#owner = owner;
  }

  /** Looks after all, from now on, until there is none. Idempotent. */
  start(delayMs: number = this.#core.limits.transactionInquiryMs): void {
    if (this.#isStopped) return;
    this.#timer ??= this.#core.host.timers.after(delayMs, () => {
      this.#timer = undefined;
      this.#look();
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #look(): void {
    const nowMs = this.#core.host.clock.monotonicMs();
    let isAny = false;
    // What is decided at once may remove itself.
    for (const inquirer of [...this.#owner.all()]) {
      isAny = true;
      if (inquirer.isAsking || nowMs - inquirer.heardMs < this.#core.limits.transactionInquiryMs) continue;
      inquirer.isAsking = true;
      void this.#inquire(inquirer);
    }
    if (isAny) this.start();
  }

  /** Never rejects. */
  async #inquire(inquirer: Inquirer): Promise<void> {
    const { host, limits } = this.#core;
    let answer: DecisionAnswer | undefined;
    try {
      const { slot } = homeOf(inquirer.id);
      answer = (await this.#ask(slot, "transaction.decision", bodyOf.id(inquirer.id))) as DecisionAnswer;
    } catch {
      // Whatever it is: the home has not been heard, and is asked again.
      answer = undefined;
    }
    inquirer.isAsking = false;
    if (this.#isStopped) return;
    if (answer === "wait") inquirer.heardMs = host.clock.monotonicMs();
    else if (answer !== undefined) this.#owner.decided(inquirer, { isCommit: answer === "commit" });
    else if (!inquirer.isPrepared && host.clock.monotonicMs() - inquirer.heardMs > limits.participationSilenceMs) {
      this.#owner.decided(inquirer, { isCommit: false });
    }
  }
}
