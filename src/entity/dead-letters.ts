/**
 * Dead letters: messages and timers that ended without taking hold, for people to look at; and messages that wait until code
 * is back that understands their receiver.
 *
 * DL1 Dead letters are bounded by their number (of a slot, of the shard), their bytes and their age. What makes room, the
 *     oldest first, is removed by the entry that records the letter which needs it: so the log decides, like everything else.
 *     Bounds that were lowered since, and age, are seen to by entries of their own, a portion at a time.
 * DL2 A letter that waits is never removed to make room; it leaves by the entry that delivers it (G6). Where too many wait,
 *     what comes is a dead letter.
 * DL3 Decisions are made by what has entered a batch, reads and deliveries by what is durable (G3); `dropped` takes the
 *     former back to the latter.
 */
import { OnefoldError, type Refused } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { decodeValue } from "../base/value.ts";
import type { Host } from "../host/host.ts";
import type { StoreReader } from "../store/store.ts";
import { type DeadLetter, deadLetterBytesMax, type Entry, storedRecords } from "./batch.ts";
import type { DurableBatch } from "./committer.ts";
import type { Core, EntryDraft } from "./core.ts";
import { entriesWithPrefix } from "./fold.ts";
import { type BinaryString, bytesOfBinary, entityName, keys, readUint64 } from "./keys.ts";
import { compareLetters, type Letter, LetterBook, letterAt } from "./letter-book.ts";
import { pageLimit } from "./listing.ts";
import { whyOutOfReach } from "./out-of-reach.ts";
import type { DeadLetterItem, DeadLettersReply, PageOptions } from "./service.ts";

/** Between two warnings that letters were removed. */
const warningIntervalMs = 60_000;
const detailLengthMax = 1000;
/** What a removal takes in an entry, at most. */
const removalBytesMax = 64;

type Removals = Entry["expired"];

/** For metrics. */
export interface DeadLetterCounts {
  readonly dead: number;
  readonly deadBytes: number;
  readonly waiting: number;
  readonly waitingBytes: number;
  /** Recorded, and removed to make room or by age, since this node started. */
  readonly recorded: number;
  readonly removed: number;
}

export class DeadLetters {
  readonly #limits: Limits;
  readonly #host: Host;
  #durable = new LetterBook();
  /** With what has entered batches that are not durable. */
  #speculative = new LetterBook();
  #recordedCount = 0;
  #removedCount = 0;
  #unwarnedCount = 0;
  #warnedAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: { readonly limits: Limits; readonly host: Host }) {
    this.#limits = parts.limits;
    this.#host = parts.host;
  }

  /** Takes in what the store holds. Throws `damaged`. */
  load(store: StoreReader): void {
    const letters: Letter[] = [];
    for (const { key, value } of entriesWithPrefix(store, keys.table("deadLetter"))) {
      const place = key.slice(-12);
      const index = readUint64(`\0\0\0\0${place.slice(8)}`, 0);
      letters.push({ ...letterAt(storedRecords.decodeDeadLetter(value), readUint64(place, 0), index), key });
    }
    letters.sort(compareLetters);
    for (const letter of letters) this.#durable.add(letter);
    this.#speculative = this.#durable.copy();
  }

  get counts(): DeadLetterCounts {
    const { deadCount, deadBytes, waitingCount, waitingBytes } = this.#durable;
    return {
      dead: deadCount,
      deadBytes,
      waiting: waitingCount,
      waitingBytes,
      recorded: this.#recordedCount,
      removed: this.#removedCount,
    };
  }

  // --------------------------------------------------------------------------------------------------------- recording

  /** Whether one more letter of this size may wait (DL2). */
  hasRoomToWait(sizeBytes: number): boolean {
    const { waitingMessagesMax, waitingMessagesBytesMax } = this.#limits;
    const { waitingCount, waitingBytes } = this.#speculative;
    return waitingCount < waitingMessagesMax && waitingBytes + sizeBytes <= waitingMessagesBytesMax;
  }

  /** DL1: what goes when this letter comes. */
  removalsFor(letter: DeadLetter): Removals {
    if (letter.waits) return [];
    return this.#excess({ slot: letter.slot, sizeBytes: deadLetterBytesMax(letter) });
  }

  /** What is over the bounds, with a letter to come or without, and fits in one entry beside it. */
  #excess(coming: { readonly slot: number; readonly sizeBytes: number } | undefined): Removals {
    const book = this.#speculative;
    const { deadLettersMax, deadLetterBytesMax: bytesMax, deadLettersPerSlotMax, effectsBytesMax } = this.#limits;
    const chosen = new Set<BinaryString>();
    const chosenMax = Math.floor(effectsBytesMax / 4 / removalBytesMax);
    let count = book.deadCount + (coming === undefined ? 0 : 1);
    let bytes = book.deadBytes + (coming?.sizeBytes ?? 0);
    const choose = ({ key, sizeBytes }: Letter): void => {
      chosen.add(key);
      count--;
      bytes -= sizeBytes;
    };
    if (coming !== undefined) {
      const ofSlot = book.deadOfSlot(coming.slot);
      let slotCount = ofSlot.size + 1;
      for (const letter of ofSlot.values()) {
        if (slotCount <= deadLettersPerSlotMax || chosen.size >= chosenMax) break;
        choose(letter);
        slotCount--;
      }
    }
    for (const letter of book.dead) {
      if ((count <= deadLettersMax && bytes <= bytesMax) || chosen.size >= chosenMax) break;
      if (!chosen.has(letter.key)) choose(letter);
    }
    return removalsOf(chosen);
  }

  /** DL1: what is too old by `nowMs`, or was within other bounds when it came; no more than fits in one entry. */
  overdue(nowMs: number): Removals {
    const { deadLetterMs, effectsBytesMax } = this.#limits;
    const chosen = new Set<BinaryString>();
    for (const { key, atMs } of this.#speculative.dead) {
      // One that does not say when it came goes by number alone.
      if (atMs === 0) continue;
      if (atMs + deadLetterMs > nowMs || chosen.size >= effectsBytesMax / 4 / removalBytesMax) break;
      chosen.add(key);
    }
    return chosen.size > 0 ? removalsOf(chosen) : this.#excess(undefined);
  }

  /** This entry has entered a batch, at this place. */
  took({ deadLetter, expired }: Entry, sequence: number, index: number): void {
    for (const { key } of expired) this.#speculative.remove(key);
    if (deadLetter !== null) this.#speculative.add(letterAt(deadLetter, sequence, index));
  }

  /** The entry that delivers a waiting letter, and removes it, has entered a batch. */
  tookDelivered({ key }: Letter): void {
    this.#speculative.remove(key);
  }

  durable({ entries, position: { sequence } }: DurableBatch): void {
    for (let index = 0; index < entries.length; index++) {
      const { deadLetter, expired } = entries[index]!;
      for (const { key } of expired) {
        const letter = this.#durable.remove(key);
        if (letter?.waits === false) this.#removed();
      }
      if (deadLetter === null) continue;
      this.#durable.add(letterAt(deadLetter, sequence, index));
      if (!deadLetter.waits) this.#recordedCount++;
    }
    this.#warn();
  }

  /** DL3. */
  dropped(): void {
    this.#speculative = this.#durable.copy();
  }

  #removed(): void {
    this.#removedCount++;
    this.#unwarnedCount++;
  }

  #warn(): void {
    if (this.#unwarnedCount === 0) return;
    const nowMs = this.#host.clock.monotonicMs();
    if (nowMs - this.#warnedAtMs < warningIntervalMs) return;
    this.#host.trace("warn", "The oldest dead letters were removed, being too many or too old; look at them in time.", {
      removed: this.#unwarnedCount,
      removedSinceStart: this.#removedCount,
    });
    this.#warnedAtMs = nowMs;
    this.#unwarnedCount = 0;
  }

  // ----------------------------------------------------------------------------------------------------------- waiting

  /** Whether messages to the entity have to line up behind others that wait. */
  isWaitedFor(name: BinaryString): boolean {
    return this.#speculative.firstWaiting(name) !== undefined;
  }

  /** The one whose turn it is, by what has entered a batch. */
  firstWaiting(name: BinaryString): Letter | undefined {
    return this.#speculative.firstWaiting(name);
  }

  isDurable({ key }: Letter): boolean {
    return this.#durable.has(key);
  }

  /** Entities for which letters wait. A copy. */
  waitedFor(): readonly BinaryString[] {
    return [...this.#durable.waitedFor];
  }

  // ----------------------------------------------------------------------------------------------------------- reading

  /**
   * The tenant's letters, newest first. The store must hold everything that is durable. Throws `malformed` for a bad cursor
   * or limit, `damaged` where the store is.
   */
  page(store: StoreReader, options: PageOptions & { readonly kind?: string }): DeadLettersReply {
    const limit = pageLimit(options.limit, this.#limits);
    const before = options.cursor === undefined ? undefined : parseCursor(options.cursor);
    const items: DeadLetterItem[] = [];
    for (const letter of [...this.#durable.letters].reverse()) {
      if (letter.tenant !== options.principal.tenant) continue;
      if (options.kind !== undefined && letter.kind !== options.kind) continue;
      if (before !== undefined && !isBefore(letter, before)) continue;
      if (items.length === limit) return { items, cursor: items.at(-1)!.letter, removed: this.#removedCount };
      const bytes = store.get(bytesOfBinary(letter.key));
      if (bytes !== undefined) items.push(itemOf(letter, bytes));
    }
    return { items, removed: this.#removedCount };
  }
}

function removalsOf(chosen: ReadonlySet<BinaryString>): Removals {
  return [...chosen].map((key) => ({ expiresMs: 0, key }));
}

function itemOf({ sequence, index, waits }: Letter, bytes: Uint8Array): DeadLetterItem {
  const { kind, id, command, input, code, detail, atMs, subject, by } = storedRecords.decodeDeadLetter(bytes);
  const origin = by === "timer" ? "timer" : "message";
  return {
    letter: `${sequence}.${index}`,
    sequence,
    timeMs: atMs,
    kind,
    id,
    command,
    input: decodeValue(input),
    by: origin,
    subject,
    code,
    detail,
    waits,
  };
}

function isBefore(letter: Letter, place: { readonly sequence: number; readonly index: number }): boolean {
  return (letter.sequence - place.sequence || letter.index - place.index) < 0;
}

function parseCursor(cursor: string): { readonly sequence: number; readonly index: number } {
  const match = /^(\d{1,15})\.(\d{1,9})$/.exec(cursor);
  if (match === null) throw new OnefoldError("malformed", "The cursor is not one from this list.");
  return { sequence: Number(match[1]), index: Number(match[2]) };
}

// --------------------------------------------------------------------------------------------- how letters come about

/** What a letter is about. */
export type LetterSubject = Pick<DeadLetter, "slot" | "tenant" | "kind" | "id" | "command" | "input">;

/** Records, with everything else that `draft` says, that this came to its end by `error`. */
export function takeInDead(core: Core, draft: EntryDraft, about: LetterSubject, error: OnefoldError | Refused): void {
  takeInLetter(core, draft, {
    ...about,
    code: error.code,
    detail: error.message.slice(0, detailLengthMax),
    atMs: core.committer.open().timeMs,
    waits: false,
  });
}

/**
 * Consumes a message, as `draft` says, without delivering it: it waits until its receiver is in reach again (`out-of-reach.ts`), or,
 * where too many do, is dead.
 */
export function takeInWaiting(core: Core, draft: EntryDraft, about: LetterSubject): void {
  const isQuarantined = core.working.isQuarantined(entityName(about.tenant, about.kind, about.id));
  const { code, reason, until } = whyOutOfReach(about.kind, { isQuarantined });
  const letter: DeadLetter = {
    ...about,
    code,
    detail: `${reason}; the message is delivered when ${until}.`,
    atMs: core.committer.open().timeMs,
    waits: true,
  };
  if (core.mailroom.deadLetters.hasRoomToWait(deadLetterBytesMax(letter))) return takeInLetter(core, draft, letter);
  takeInLetter(core, draft, {
    ...letter,
    code: "overloaded",
    detail: `${reason}, and too many messages wait for that already.`,
    waits: false,
  });
}

function takeInLetter(core: Core, draft: EntryDraft, deadLetter: DeadLetter): void {
  const { deadLetters } = core.mailroom;
  const expired = [...(draft.expired ?? []), ...deadLetters.removalsFor(deadLetter)];
  const measured = core.entry({ ...draft, deadLetter, expired });
  const sequence = core.takeIn(measured);
  deadLetters.took(measured.entry, sequence, core.committer.open().entries.length - 1);
}
