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
  /** How many of them have their entry in a batch that is not durable yet. */
  begun: number;
  isBusy: boolean;
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
      pair.begun = 0;
      if (!pair.isBusy) this.#next(pair);
    }
  }

  #key(from: number, to: number): number {
    return from * this.#core.limits.slotCount + to;
  }

  #add(message: MessageRecord): Pair {
    const key = this.#key(message.fromSlot, message.toSlot);
    let pair = this.#pairs.get(key);
    if (pair === undefined) {
      pair = { messages: [], begun: 0, isBusy: false };
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
    pair.begun--;
    this.#count--;
    this.#bytes -= messageBytesMax(message);
    if (pair.messages.length === 0 && !pair.isBusy) this.#pairs.delete(key);
  }

  #next(pair: Pair): void {
    const message = pair.messages[pair.begun];
    if (pair.isBusy || message === undefined) return;
    pair.isBusy = true;
    this.#core.executor.resubmit(
      this.#delivery(message, (end) => {
        pair.isBusy = false;
        if (end === "stopped") return;
        if (end === "has-entry") pair.begun++;
        this.#next(pair);
      }),
    );
  }

  #delivery(message: MessageRecord, ended: (end: DeliveryEnd) => void): EntityCommand | LostDelivery {
    const definition = this.#core.definitionOf(message.kind);
    const command = definition?.commands.get(message.command);
    if (definition === undefined || command === undefined) return new LostDelivery(this.#core, message, ended);
    return new Delivery({ core: this.#core, definition, command, message, ended });
  }
}

/** `out-of-turn`: the entry of the message before it was dropped while this one waited, so that one goes first again. */
type DeliveryEnd = "has-entry" | "out-of-turn" | "stopped";

/** How far the receiver is: undefined if it is this message's turn (P2, P3). */
function passedTurn(core: Core, { fromSlot, toSlot, number }: MessageRecord): DeliveryEnd | undefined {
  const consumed = core.working.inboxNumber(toSlot, fromSlot);
  if (consumed >= number) return "has-entry";
  return consumed === number - 1 ? undefined : "out-of-turn";
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
    const end = passedTurn(this.core, this.#message);
    if (end === undefined) return false;
    this.isSettled = true;
    this.#ended(end);
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
    this.#ended("has-entry");
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
    const end = passedTurn(this.#core, this.#message);
    if (end !== undefined) {
      this.isSettled = true;
      return this.#ended(end);
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
    this.#ended("has-entry");
  }

  release(): void {
    // Nobody waits for it.
  }

  fail(): void {
    this.isSettled = true;
    this.#ended("stopped");
  }

  stopped(): void {
    this.fail();
  }
}
