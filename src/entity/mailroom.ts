/**
 * Messages between entities: sent by a command, delivered once, in order per (sender slot, receiver slot) (G6). Those to this
 * shard's own slots go to `deliveries.ts`, the others to `outgoing-mail.ts`; what comes from other shards is in
 * `incoming-mail.ts`. How one is delivered, or ends otherwise, is in `delivery.ts`.
 *
 * P1 and P2 are in `deliveries.ts`.
 * P3  Undelivered messages are bounded: above the soft limit calls that send are refused, above the hard one deliveries and
 *     timers that send become dead letters. So what is in memory is bounded too, and loops of messages can't fill the disk.
 *     A message counts until it is removed from the outbox, wherever its receiver is.
 * P4  Messages that waited for newer code are delivered when it is back, for each receiver in order, one at a time; whatever
 *     else comes for that receiver lines up behind them (`delivery.ts`, D3). They hold up no other receiver.
 */
import { OnefoldError } from "../base/errors.ts";
import { type ConsumedMessage, type MessageRecord, messageBytesMax, storedRecords } from "./batch.ts";
import type { DurableBatch } from "./committer.ts";
import type { Core } from "./core.ts";
import { DeadLetters } from "./dead-letters.ts";
import { Deliveries } from "./deliveries.ts";
import { Redelivery } from "./delivery.ts";
import { entriesWithPrefix } from "./fold.ts";
import { IncomingMail } from "./incoming-mail.ts";
import { type BinaryString, bytesOfBinary, entityName, tables } from "./keys.ts";
import type { Letter } from "./letter-book.ts";
import { isOutOfReach } from "./out-of-reach.ts";
import { OutgoingMail } from "./outgoing-mail.ts";

/** How long messages that waited have to wait on for a store that can't be written. */
const storeRetryMs = 1000;

export class Mailroom {
  readonly deadLetters: DeadLetters;
  readonly #core: Core;
  /** Applies everything durable to the store. */
  readonly #flush: () => Promise<void>;
  readonly #deliveries: Deliveries;
  /** Undefined for a lone shard: nothing leaves it. */
  readonly #outgoing: OutgoingMail | undefined;
  readonly incoming: IncomingMail;
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
    this.#deliveries = new Deliveries(core);
    this.#outgoing = core.neighbours === undefined ? undefined : new OutgoingMail(core, core.neighbours);
    this.incoming = new IncomingMail(core, this.#deliveries);
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
    this.#deliveries.start();
    this.#outgoing?.start();
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
    for (const { messages, consumed, delivered } of batch.entries) {
      for (const message of messages) {
        const bytes = messageBytesMax(message);
        this.#count--;
        this.#undurableCount--;
        this.#bytes -= bytes;
        this.#undurableBytes -= bytes;
        this.#add(message);
      }
      if (consumed !== null) this.#consumed(consumed);
      for (const run of delivered) for (const message of this.#outgoing!.removed(run)) this.#left(message);
    }
    this.#outgoing?.send();
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
    this.#deliveries.dropped(gone());
    this.#outgoing?.dropped();
    const redeliveries = [...this.#redeliveries.values()];
    this.#redeliveries.clear();
    for (const redelivery of redeliveries) redelivery.fail(gone());
    for (const name of this.deadLetters.waitedFor()) this.#redeliver(name);
  }

  /** Nothing leaves any more, and who waits for an answer is told `error`. What is not done is in the outboxes. */
  stop(error: OnefoldError): void {
    this.#outgoing?.stop();
    this.incoming.stop(error);
  }

  /** Removes dead letters that are too old, or more than they may be by now; a portion of them. */
  removeOverdue(): void {
    const expired = this.deadLetters.overdue(this.#core.committer.timeMs);
    if (expired.length === 0) return;
    const measured = this.#core.entry({ origin: "admin", command: "expire", subject: "onefold", expired });
    const sequence = this.#core.takeIn(measured);
    this.deadLetters.took(measured.entry, sequence, 0);
  }

  #add(message: MessageRecord): void {
    this.#count++;
    this.#bytes += messageBytesMax(message);
    if (this.#outgoing === undefined || this.#core.isOwn(message.toSlot)) this.#deliveries.add(message);
    else this.#outgoing.add(message);
  }

  #consumed({ fromSlot, toSlot }: ConsumedMessage): void {
    const message = this.#deliveries.consumed(fromSlot, toSlot);
    if (message === undefined) return;
    if (this.#core.isOwn(fromSlot)) this.#left(message);
    else this.incoming.consumed(message);
  }

  /** It has left the outbox. */
  #left(message: MessageRecord): void {
    this.#count--;
    this.#bytes -= messageBytesMax(message);
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
