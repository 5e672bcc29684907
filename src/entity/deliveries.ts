/**
 * Messages to this shard's slots that are durable at their sender, wherever that is, on their way to their receivers.
 *
 * P1  A message is delivered only after the batch that sent it is durable (G3).
 * P2  Of one pair of slots one message at a time is under way, the next begins when the one before it has its entry in a
 *     batch: so the log has them in order.
 *
 * A message stays here until it has been consumed durably: so what was dropped begins again.
 */
import { assert } from "../base/assert.ts";
import { OnefoldError } from "../base/errors.ts";
import type { MessageRecord } from "./batch.ts";
import type { Core } from "./core.ts";
import { type Delivery, deliveryOf, type LostDelivery } from "./delivery.ts";

/** Messages from one slot to another that are durable and not durably consumed, in order. */
interface Pair {
  readonly messages: MessageRecord[];
  /** The one that is under way. */
  delivery: Delivery | LostDelivery | undefined;
}

/** How far a pair of slots has come. */
export interface PairProgress {
  /** The number of the last message that was consumed durably. */
  readonly consumed: number;
  /** The number of the last that is here or was consumed. */
  readonly known: number;
}

export class Deliveries {
  readonly #core: Core;
  readonly #pairs = new Map<number, Pair>();
  #isStarted = false;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Begins with what was added before. */
  start(): void {
    this.#isStarted = true;
    for (const pair of this.#pairs.values()) this.#next(pair);
  }

  /** A message that is durable, and the next one of its pair. */
  add(message: MessageRecord): void {
    const key = this.#key(message.fromSlot, message.toSlot);
    let pair = this.#pairs.get(key);
    if (pair === undefined) {
      pair = { messages: [], delivery: undefined };
      this.#pairs.set(key, pair);
    }
    const last = pair.messages.at(-1);
    assert(last === undefined || message.number === last.number + 1, "a pair's messages follow one another");
    pair.messages.push(message);
    if (this.#isStarted) this.#next(pair);
  }

  /** The first message of the pair has been consumed durably: it, if it was here. */
  consumed(from: number, to: number): MessageRecord | undefined {
    const key = this.#key(from, to);
    const pair = this.#pairs.get(key);
    const message = pair?.messages.shift();
    if (pair?.messages.length === 0 && pair.delivery === undefined) this.#pairs.delete(key);
    return message;
  }

  /** Throws `damaged`. */
  progress(from: number, to: number): PairProgress {
    const messages = this.#pairs.get(this.#key(from, to))?.messages ?? [];
    const first = messages[0];
    // Where none is here, none has an entry in a batch that is not durable.
    const consumed = first === undefined ? this.#core.working.inboxNumber(to, from) : first.number - 1;
    return { consumed, known: consumed + messages.length };
  }

  /** What was not durable is gone: deliveries that had begun begin again. */
  dropped(error: OnefoldError): void {
    for (const pair of this.#pairs.values()) {
      // Also one that was stopped in the middle of telling its end: nothing of it is waited for any more.
      const { delivery } = pair;
      pair.delivery = undefined;
      delivery?.fail(error);
      this.#next(pair);
    }
  }

  #key(from: number, to: number): number {
    return from * this.#core.limits.slotCount + to;
  }

  #next(pair: Pair): void {
    if (pair.delivery !== undefined) return;
    const message = this.#nextOf(pair);
    if (message === undefined) return;
    const delivery = deliveryOf({
      core: this.#core,
      message,
      ended: (end) => {
        if (pair.delivery !== delivery) return;
        pair.delivery = undefined;
        if (end === "over") this.#next(pair);
      },
    });
    pair.delivery = delivery;
    this.#core.executor.resubmit(delivery);
  }

  /** The first that has no entry in a batch, by what the memory says: it is right after batches were dropped, too. */
  #nextOf({ messages }: Pair): MessageRecord | undefined {
    const first = messages[0];
    if (first === undefined) return undefined;
    try {
      const consumed = this.#core.working.inboxNumber(first.toSlot, first.fromSlot);
      assert(consumed >= first.number - 1, "no message comes before the one before it was consumed");
      return messages[consumed + 1 - first.number];
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
      this.#core.onDamage(error);
      return undefined;
    }
  }
}
