/**
 * Deliveries of messages: the works by which the mailroom has a message take hold, or end otherwise.
 *
 * D1  The entry of a delivery moves the receiver's high-water mark, so a message whose number is not above it is done.
 * D2  A message that its receiver refuses, or whose command fails, is consumed all the same and becomes a dead letter.
 * D3  A message to an entity that is out of reach, or behind another that waits for the same entity, is consumed and put aside, to
 *     wait; the entry that delivers it then removes it from there. So each takes hold once, and per receiver in order.
 */
import { OnefoldError, type Refused } from "../base/errors.ts";
import { decodeValue } from "../base/value.ts";
import type { MessageRecord, StoredDeadLetter } from "./batch.ts";
import type { Core, EntryDraft } from "./core.ts";
import { type LetterSubject, takeInDead, takeInWaiting } from "./dead-letters.ts";
import type { CommandDefinition, EntityDefinition } from "./definition.ts";
import { EntityCommand } from "./entity-command.ts";
import { entityName } from "./keys.ts";
import type { Letter } from "./letter-book.ts";
import { isOutOfReach } from "./out-of-reach.ts";
import type { CommandResult } from "./run-command.ts";
import type { LiveEntity } from "./working-set.ts";

/** `over`: the next one may begin. `stopped`: not now, and the message has not been consumed. */
export type DeliveryEnd = "over" | "stopped";

/** A work that delivers one message. `ended` is called once, when it has its entry in a batch or needs none. */
export type MessageWork = Delivery | LostDelivery | Redelivery;

interface DeliveryParts {
  readonly core: Core;
  readonly message: MessageRecord;
  readonly ended: (end: DeliveryEnd) => void;
}

/** The work that delivers the message. */
export function deliveryOf(parts: DeliveryParts): Delivery | LostDelivery {
  const { core, message } = parts;
  const definition = core.definitionOf(message.kind);
  const command = definition?.commands.get(message.command);
  if (definition === undefined || command === undefined) return new LostDelivery(parts, definition);
  return new Delivery({ ...parts, definition, command });
}

/** False if the message was consumed before, or the one before it was not (D1). */
function isTurnOf(core: Core, { fromSlot, toSlot, number }: MessageRecord): boolean {
  return core.working.inboxNumber(toSlot, fromSlot) === number - 1;
}

/** D3. */
function mustWait(core: Core, entity: LiveEntity): boolean {
  return isOutOfReach(entity) || core.mailroom.deadLetters.isWaitedFor(entity.name);
}

function entryOfMessage({ fromSlot, toSlot, number, command, subject }: MessageRecord): EntryDraft {
  return { origin: "message", command, subject, consumed: { fromSlot, toSlot, number } };
}

function subjectOfLetter({ toSlot, tenant, kind, id, command, input }: MessageRecord): LetterSubject {
  return { slot: toSlot, tenant, kind, id, command, input };
}

class Delivery extends EntityCommand {
  readonly #message: MessageRecord;
  readonly #ended: (end: DeliveryEnd) => void;

  constructor({
    message,
    ended,
    ...parts
  }: DeliveryParts & { readonly definition: EntityDefinition; readonly command: CommandDefinition }) {
    super({
      ...parts,
      tenant: message.tenant,
      id: message.id,
      slot: message.toSlot,
      input: decodeValue(message.input),
      caller: { tenant: message.tenant, subject: message.subject, scopes: [] },
      deadlineMs: Number.POSITIVE_INFINITY,
      sizeBytes: message.input.length,
    });
    this.#message = message;
    this.#ended = ended;
  }

  protected override isDone(entity: LiveEntity): boolean {
    if (isTurnOf(this.core, this.#message)) {
      if (!mustWait(this.core, entity)) return false;
      takeInWaiting(this.core, entryOfMessage(this.#message), subjectOfLetter(this.#message));
    }
    this.isSettled = true;
    this.#ended("over");
    return true;
  }

  protected override entryOf(result: CommandResult, entity: LiveEntity): EntryDraft {
    return {
      ...entryOfMessage(this.#message),
      effects: this.effects(result, entity),
      messages: result.messages,
    };
  }

  protected override keptOf(): undefined {
    return undefined;
  }

  protected override succeeded(): void {
    this.isSettled = true;
    this.#ended("over");
  }

  protected override failed(error: OnefoldError | Refused): void {
    takeInDead(this.core, entryOfMessage(this.#message), subjectOfLetter(this.#message), error);
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

/** A message to a kind or command that the system does not have. */
class LostDelivery {
  readonly #core: Core;
  readonly #message: MessageRecord;
  readonly #definition: EntityDefinition | undefined;
  readonly #ended: (end: DeliveryEnd) => void;
  readonly deadlineMs = Number.POSITIVE_INFINITY;
  readonly sizeBytes = 0;
  isSettled = false;

  constructor({ core, message, ended }: DeliveryParts, definition: EntityDefinition | undefined) {
    this.#core = core;
    this.#message = message;
    this.#definition = definition;
    this.#ended = ended;
  }

  execute(): void {
    try {
      if (isTurnOf(this.#core, this.#message)) this.#consume();
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
      this.fail();
      return this.#core.onDamage(error);
    }
    this.isSettled = true;
    this.#ended("over");
  }

  #consume(): void {
    const { kind, command } = this.#message;
    const draft = entryOfMessage(this.#message);
    const subject = subjectOfLetter(this.#message);
    // The command may be one of the newer code that wrote the state.
    if (this.#mustWait()) return takeInWaiting(this.#core, draft, subject);
    const error = new OnefoldError("unknown-command", `The system has no command ${kind}.${command} any more.`);
    takeInDead(this.#core, draft, subject, error);
  }

  #mustWait(): boolean {
    const { tenant, kind, id, toSlot } = this.#message;
    if (this.#definition === undefined) {
      return this.#core.mailroom.deadLetters.isWaitedFor(entityName(tenant, kind, id));
    }
    // By the slot that the message names: the affinity function is user code, and the watchdog is off here.
    return mustWait(this.#core, this.#core.entityAt(this.#definition, toSlot, tenant, id));
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

/** A message that waited for newer code, which is back. */
export class Redelivery extends EntityCommand {
  readonly #letter: Letter;
  readonly #subject: LetterSubject;
  readonly #ended: (end: DeliveryEnd) => void;

  constructor({
    letter,
    stored,
    ended,
    ...parts
  }: {
    readonly core: Core;
    readonly definition: EntityDefinition;
    readonly letter: Letter;
    readonly stored: StoredDeadLetter;
    readonly ended: (end: DeliveryEnd) => void;
  }) {
    const { tenant, id, input, subject } = stored;
    const command = parts.definition.commands.get(stored.command);
    super({
      ...parts,
      command: command ?? missingCommand(stored.command),
      tenant,
      id,
      input: command === undefined ? undefined : decodeValue(input),
      caller: { tenant, subject, scopes: [] },
      deadlineMs: Number.POSITIVE_INFINITY,
      sizeBytes: input.length,
    });
    this.#letter = letter;
    this.#subject = { slot: stored.slot, tenant, kind: stored.kind, id, command: stored.command, input };
    this.#ended = ended;
  }

  protected override isDone(entity: LiveEntity): boolean {
    const isTurn = this.core.mailroom.deadLetters.firstWaiting(entity.name)?.key === this.#letter.key;
    if (isTurn && !isOutOfReach(entity)) return false;
    this.isSettled = true;
    this.#ended(isTurn ? "stopped" : "over");
    return true;
  }

  get #base(): EntryDraft {
    return {
      origin: "message",
      command: this.#subject.command,
      subject: this.caller.subject,
      expired: [{ expiresMs: 0, key: this.#letter.key }],
    };
  }

  protected override entryOf(result: CommandResult, entity: LiveEntity): EntryDraft {
    return { ...this.#base, effects: this.effects(result, entity), messages: result.messages };
  }

  protected override keptOf(): undefined {
    return undefined;
  }

  protected override succeeded(): void {
    this.core.mailroom.deadLetters.tookDelivered(this.#letter);
    this.isSettled = true;
    this.#ended("over");
  }

  protected override failed(error: OnefoldError | Refused): void {
    takeInDead(this.core, this.#base, this.#subject, error);
    this.isSettled = true;
    this.#ended("over");
  }

  override release(): void {
    // Nobody waits for it.
  }

  protected override refuse(): void {
    this.isSettled = true;
    this.#ended("stopped");
  }
}

function missingCommand(name: string): CommandDefinition {
  return {
    name,
    input: undefined,
    run: () => {
      throw new OnefoldError("unknown-command", `The system no longer has the command ${name}.`);
    },
  };
}

export type { Delivery, LostDelivery };
