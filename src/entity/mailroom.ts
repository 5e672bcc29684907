/**
 * Messages between entities: sent by a command, delivered once, in order per (sender slot, receiver slot) (G6).
 *
 * P1  A message is delivered only after the batch that sent it is durable (G3).
 * P2  Of one pair of slots one message at a time is under way, the next begins when the one before it has its entry in a
 *     batch: so the log has them in order.
 * P3  The entry of a delivery moves the receiver's high-water mark, so a message whose number is not above it is done.
 * P4  A message that its receiver refuses, or whose command fails, is consumed all the same and becomes a dead letter.
 * P5  Undelivered messages are bounded: above the soft limit calls that send are refused, above the hard one deliveries and
 *     timers that send become dead letters. So what is in memory is bounded too, and loops of messages can't fill the disk.
 */
import { OnefoldError, type Refused } from "../base/errors.ts";
import { decodeValue } from "../base/value.ts";
import { type DeadLetter, type MessageRecord, messageBytesMax, storedRecords } from "./batch.ts";
import type { DurableBatch } from "./committer.ts";
import type { Core, EntryDraft } from "./core.ts";
import { EntityCommand } from "./entity-command.ts";
import { entriesWithPrefix } from "./fold.ts";
import { tables } from "./keys.ts";
import type { CommandResult } from "./run-command.ts";
import type { LiveEntity } from "./working-set.ts";

/** Messages from one slot to another that are durable and not durably consumed, in order. */
interface Pair {
  readonly messages: MessageRecord[];
  /** The one that is under way. */
  delivery: EntityCommand | LostDelivery | undefined;
}

export class Mailroom {
  readonly #core: Core;
  readonly #pairs = new Map<number, Pair>();
  /** Undelivered messages, those in batches that are not durable yet included. */
  #count = 0;
  #bytes = 0;
  #undurableCount = 0;
  #undurableBytes = 0;

  constructor(core: Core) {
    this.#core = core;
  }

  get count(): number {
    return this.#count;
  }

  /** Takes in what the store holds. Deliveries begin with `start`. */
  load(): void {
    for (const { value } of entriesWithPrefix(this.#core.store, String.fromCharCode(tables.outbox))) {
      this.#add(storedRecords.decodeMessage(value));
    }
  }

  start(): void {
    for (const pair of this.#pairs.values()) this.#next(pair);
  }

  /** Throws `overloaded` where the outbox has no room for these. */
  assertRoom(messages: readonly MessageRecord[], { isFromOutside }: { readonly isFromOutside: boolean }): void {
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
  }

  /** What was not durable is gone: deliveries that had begun begin again. */
  dropped(): void {
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

  #delivery(message: MessageRecord, ended: (end: DeliveryEnd) => void): EntityCommand | LostDelivery {
    const definition = this.#core.definitionOf(message.kind);
    const command = definition?.commands.get(message.command);
    if (definition === undefined || command === undefined) return new LostDelivery(this.#core, message, ended);
    return new Delivery({ core: this.#core, definition, command, message, ended });
  }
}

/** `over`: the next one may begin. */
type DeliveryEnd = "over" | "stopped";

function gone(): OnefoldError {
  return new OnefoldError("conflict", "What this delivery followed was rolled back; it begins again.");
}

/** False if the message was consumed before, or the one before it was not (P2, P3). */
function isTurnOf(core: Core, { fromSlot, toSlot, number }: MessageRecord): boolean {
  return core.working.inboxNumber(toSlot, fromSlot) === number - 1;
}

function letterOf(message: MessageRecord, error: OnefoldError | Refused): DeadLetter {
  const { toSlot: slot, tenant, kind, id, command, input } = message;
  return { slot, tenant, kind, id, command, input, code: error.code, detail: error.message.slice(0, 1000) };
}

class Delivery extends EntityCommand {
  readonly #message: MessageRecord;
  readonly #ended: (end: DeliveryEnd) => void;

  constructor({
    message,
    ended,
    ...parts
  }: Pick<ConstructorParameters<typeof EntityCommand>[0], "core" | "definition" | "command"> & {
    readonly message: MessageRecord;
    readonly ended: (end: DeliveryEnd) => void;
  }) {
    super({
      ...parts,
      tenant: message.tenant,
      id: message.id,
      input: decodeValue(message.input),
      caller: { tenant: message.tenant, subject: message.subject, scopes: [] },
      deadlineMs: Number.POSITIVE_INFINITY,
      sizeBytes: message.input.length,
    });
    this.#message = message;
    this.#ended = ended;
  }

  protected override isDone(): boolean {
    if (isTurnOf(this.core, this.#message)) return false;
    // A stop in the middle of this would leave the messages behind it waiting for ever.
    this.core.executor.beginTakingIn();
    this.isSettled = true;
    this.#ended("over");
    return true;
  }

  protected override entryOf(result: CommandResult, entity: LiveEntity): EntryDraft {
    return { ...this.#base(), effects: this.effects(result, entity), messages: result.messages };
  }

  #base(): EntryDraft {
    const { fromSlot, toSlot, number, command, subject } = this.#message;
    return { origin: "message", command, subject, consumed: { fromSlot, toSlot, number } };
  }

  protected override keptOf(): undefined {
    return undefined;
  }

  protected override succeeded(): void {
    this.isSettled = true;
    this.#ended("over");
  }

  protected override failed(error: OnefoldError | Refused): void {
    this.core.takeIn(this.core.entry({ ...this.#base(), deadLetter: letterOf(this.#message, error) }));
    this.succeeded();
  }

  override release(): void {
    // Nobody waits for it.
  }

  protected override refuse(): void {
    this.isSettled = true;
    this.#ended("stopped");
  }
}

/** A message to a kind or command that the system no longer has. */
class LostDelivery {
  readonly #core: Core;
  readonly #message: MessageRecord;
  readonly #ended: (end: DeliveryEnd) => void;
  readonly deadlineMs = Number.POSITIVE_INFINITY;
  readonly sizeBytes = 0;
  readonly runsUserCode = false;
  isSettled = false;

  constructor(core: Core, message: MessageRecord, ended: (end: DeliveryEnd) => void) {
    this.#core = core;
    this.#message = message;
    this.#ended = ended;
  }

  execute(): void {
    if (!isTurnOf(this.#core, this.#message)) {
      this.#core.executor.beginTakingIn();
      this.isSettled = true;
      return this.#ended("over");
    }
    const { fromSlot, toSlot, number, kind, command, subject } = this.#message;
    const error = new OnefoldError("unknown-command", `The system has no command ${kind}.${command} any more.`);
    this.#core.takeIn(
      this.#core.entry({
        origin: "message",
        command,
        subject,
        consumed: { fromSlot, toSlot, number },
        deadLetter: letterOf(this.#message, error),
      }),
    );
    this.isSettled = true;
    this.#ended("over");
  }

  release(): void {
    // Nobody waits for it.
  }

  fail(_error?: OnefoldError): void {
    this.isSettled = true;
    this.#ended("stopped");
  }

  stopped(): void {
    this.fail();
  }
}
