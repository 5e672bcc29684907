/**
 * Messages between entities: sent by a command, delivered once, in order per (sender slot, receiver slot) (G6). How one is
 * delivered, or ends otherwise, is in `delivery.ts`.
 *
 * P1  A message is delivered only after the batch that sent it is durable (G3).
 * P2  Of one pair of slots one message at a time is under way, the next begins when the one before it has its entry in a
 *     batch: so the log has them in order.
 * P3  Undelivered messages are bounded: above the soft limit calls that send are refused, above the hard one deliveries and
 *     timers that send become dead letters. So what is in memory is bounded too, and loops of messages can't fill the disk.
 * P4  Messages that waited for newer code are delivered when it is back, for each receiver in order, one at a time; whatever
 *     else comes for that receiver lines up behind them (`delivery.ts`, D3). They hold up no other receiver.
 */
import { OnefoldError } from "../base/errors.ts";
import { type MessageRecord, messageBytesMax, storedRecords } from "./batch.ts";
import type { DurableBatch } from "./committer.ts";
import type { Core } from "./core.ts";
import { DeadLetters } from "./dead-letters.ts";
import { type Delivery, type DeliveryEnd, deliveryOf, type LostDelivery, Redelivery } from "./delivery.ts";
import { entriesWithPrefix } from "./fold.ts";
import { type BinaryString, bytesOfBinary, entityName, tables } from "./keys.ts";
import type { Letter } from "./letter-book.ts";
import { isOutOfReach } from "./out-of-reach.ts";

/** Messages from one slot to another that are durable and not durably consumed, in order. */
interface Pair {
  readonly messages: MessageRecord[];
  /** The one that is under way. */
  delivery: Delivery | LostDelivery | undefined;
}

/** How long messages that waited have to wait on for a store that can't be written. */
const storeRetryMs = 1000;

export class Mailroom {
  readonly deadLetters: DeadLetters;
  readonly #core: Core;
  /** Applies everything durable to the store. */
  readonly #flush: () => Promise<void>;
  readonly #pairs = new Map<number, Pair>();
  /** By receiver, for those for which messages waited: the one that is under way. */
  readonly #redeliveries = new Map<BinaryString, Redelivery>();
  /** Receivers whose next message has to reach the store first. */
  #awaitingStore = new Set<BinaryString>();
  /** Undelivered messages, those in batches that are not durable yet included. */
  #count = 0;
  #bytes = 0;
  #undurableCount = 0;
  #undurableBytes = 0;

  constructor(core: Core, flush: () => Promise<void>) {
    this.#core = core;
    this.#flush = flush;
    this.deadLetters = new DeadLetters(core);
  }

  get count(): number {
    return this.#count;
  }

  /** Takes in what the store holds. Deliveries begin with `start`. */
  load(): void {
    for (const { value } of entriesWithPrefix(this.#core.store, String.fromCharCode(tables.outbox))) {
      this.#add(storedRecords.decodeMessage(value));
    }
    this.deadLetters.load(this.#core.store);
  }

  start(): void {
    for (const pair of this.#pairs.values()) this.#next(pair);
    for (const name of this.deadLetters.waitedFor()) this.#redeliver(name);
    const { waiting } = this.deadLetters.counts;
    if (waiting === 0) return;
    const message =
      "Messages have waited for newer code; those are delivered now whose receivers this code understands.";
    this.#core.host.trace("info", message, { waiting });
  }

  /** Throws `overloaded` where the outbox has no room for these. */
  assertRoom(
    messages: readonly Omit<MessageRecord, "number">[],
    { isFromOutside }: { readonly isFromOutside: boolean },
  ): void {
    const { outboxSoftMax, outboxSoftBytesMax, outboxHardMax, outboxHardBytesMax } = this.#core.limits;
    const [countMax, bytesMax] = isFromOutside
      ? [outboxSoftMax, outboxSoftBytesMax]
      : [outboxHardMax, outboxHardBytesMax];
    let bytes = this.#bytes;
    for (const message of messages) bytes += messageBytesMax(message);
    if (this.#count + messages.length > countMax || bytes > bytesMax) {
      throw new OnefoldError("overloaded", "Too many messages wait for their delivery; nothing was changed.", {
        retryAfterMs: 1000,
      });
    }
  }

  /** These messages have entered the open batch. */
  took(messages: readonly MessageRecord[]): void {
    for (const message of messages) {
      this.#count++;
      this.#undurableCount++;
      const bytes = messageBytesMax(message);
      this.#bytes += bytes;
      this.#undurableBytes += bytes;
    }
  }

  durable(batch: DurableBatch): void {
    for (const { messages, consumed } of batch.entries) {
      for (const message of messages) {
        const bytes = messageBytesMax(message);
        this.#count--;
        this.#undurableCount--;
        this.#bytes -= bytes;
        this.#undurableBytes -= bytes;
        this.#next(this.#add(message));
      }
      if (consumed !== null) this.#consumed(consumed.fromSlot, consumed.toSlot);
    }
    this.deadLetters.durable(batch);
    for (const { deadLetter } of batch.entries) {
      if (deadLetter?.waits !== true) continue;
      this.#redeliver(entityName(deadLetter.tenant, deadLetter.kind, deadLetter.id));
    }
  }

  /** What was not durable is gone: deliveries that had begun begin again. */
  dropped(): void {
    this.deadLetters.dropped();
    this.#count -= this.#undurableCount;
    this.#bytes -= this.#undurableBytes;
    this.#undurableCount = 0;
    this.#undurableBytes = 0;
    for (const pair of this.#pairs.values()) {
      // Also one that was stopped in the middle of telling its end: nothing of it is waited for any more.
      const { delivery } = pair;
      pair.delivery = undefined;
      delivery?.fail(gone());
      this.#next(pair);
    }
    const redeliveries = [...this.#redeliveries.values()];
    this.#redeliveries.clear();
    for (const redelivery of redeliveries) redelivery.fail(gone());
    for (const name of this.deadLetters.waitedFor()) this.#redeliver(name);
  }

  /** Removes dead letters that are too old, or more than they may be by now; a portion of them. */
  removeOverdue(): void {
    const expired = this.deadLetters.overdue(this.#core.committer.timeMs);
    if (expired.length === 0) return;
    const measured = this.#core.entry({ origin: "admin", command: "expire", subject: "onefold", expired });
    const sequence = this.#core.takeIn(measured);
    this.deadLetters.took(measured.entry, sequence, 0);
  }

  #key(from: number, to: number): number {
    return from * this.#core.limits.slotCount + to;
  }

  #add(message: MessageRecord): Pair {
    const key = this.#key(message.fromSlot, message.toSlot);
    let pair = this.#pairs.get(key);
    if (pair === undefined) {
      pair = { messages: [], delivery: undefined };
      this.#pairs.set(key, pair);
    }
    pair.messages.push(message);
    this.#count++;
    this.#bytes += messageBytesMax(message);
    return pair;
  }

  #consumed(from: number, to: number): void {
    const key = this.#key(from, to);
    const pair = this.#pairs.get(key);
    const message = pair?.messages.shift();
    if (pair === undefined || message === undefined) return;
    this.#count--;
    this.#bytes -= messageBytesMax(message);
    if (pair.messages.length === 0 && pair.delivery === undefined) this.#pairs.delete(key);
  }

  #next(pair: Pair): void {
    if (pair.delivery !== undefined) return;
    const message = this.#nextOf(pair);
    if (message === undefined) return;
    const delivery = this.#delivery(message, (end) => {
      if (pair.delivery !== delivery) return;
      pair.delivery = undefined;
      if (end === "over") this.#next(pair);
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
      return messages[Math.max(0, consumed + 1 - first.number)];
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
      this.#core.onDamage(error);
      return undefined;
    }
  }

  #delivery(message: MessageRecord, ended: (end: DeliveryEnd) => void): Delivery | LostDelivery {
    return deliveryOf({ core: this.#core, message, ended });
  }

  // ----------------------------------------------------------------------------------------------- what has waited (P4)

  #redeliver(name: BinaryString): void {
    if (this.#redeliveries.has(name)) return;
    try {
      const letter = this.deadLetters.firstWaiting(name);
      if (letter === undefined || !this.deadLetters.isDurable(letter)) return;
      if (letter.sequence > this.#core.working.appliedSequence) return this.#awaitStore(name);
      this.#begin(letter);
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
      this.#core.onDamage(error);
    }
  }

  #begin(letter: Letter): void {
    const { name, slot, tenant, kind, id } = letter;
    const { working, store, definitionOf, executor } = this.#core;
    const definition = definitionOf(kind);
    if (definition === undefined) return;
    // By the slot that the letter names: the affinity function is user code, and the watchdog is off here.
    const entity = working.cached(name) ?? working.load(definition, slot, name, tenant, id);
    if (isOutOfReach(entity)) return;
    const bytes = store.get(bytesOfBinary(letter.key));
    if (bytes === undefined) throw new OnefoldError("damaged", "The store does not hold a message that waits.");
    const redelivery = new Redelivery({
      core: this.#core,
      definition,
      letter,
      stored: storedRecords.decodeDeadLetter(bytes),
      ended: (end) => {
        if (this.#redeliveries.get(name) !== redelivery) return;
        this.#redeliveries.delete(name);
        if (end === "over") this.#redeliver(name);
      },
    });
    this.#redeliveries.set(name, redelivery);
    executor.resubmit(redelivery);
  }

  /** Brings the store up to date, which a message is read from, and looks again. */
  #awaitStore(name: BinaryString): void {
    const isUnderWay = this.#awaitingStore.size > 0;
    this.#awaitingStore.add(name);
    if (isUnderWay) return;
    const again = () => {
      const names = this.#awaitingStore;
      this.#awaitingStore = new Set();
      for (const waiting of names) this.#redeliver(waiting);
    };
    this.#flush().then(again, (cause: unknown) => {
      const message =
        "Messages that have waited for newer code wait on, because the store can't be written. Free space on its disk.";
      this.#core.host.trace("error", message, { cause });
      this.#core.host.timers.after(storeRetryMs, again);
    });
  }
}

function gone(): OnefoldError {
  return new OnefoldError("conflict", "What this delivery followed was rolled back; it begins again.");
}
