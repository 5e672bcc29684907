/**
 * Which dead letters there are, without their contents, in the order in which they were recorded.
 *
 * B1  Letters that wait for newer code are kept apart from those that are dead: they count under other bounds.
 * B2  The order is that of the log (batch, place in the batch), however the book was filled.
 */
import { type DeadLetter, deadLetterBytesMax } from "./batch.ts";
import { type BinaryString, entityName, keys } from "./keys.ts";

/** What is remembered of one letter. */
export interface Letter {
  /** Its key in the store. */
  readonly key: BinaryString;
  readonly slot: number;
  /** The batch that recorded it, and its entry's place in that. */
  readonly sequence: number;
  readonly index: number;
  /** The entity that it was for. */
  readonly name: BinaryString;
  readonly tenant: string;
  readonly kind: string;
  readonly id: string;
  readonly sizeBytes: number;
  readonly atMs: number;
  readonly waits: boolean;
}

/** The letter that the entry at this place of the log recorded. */
export function letterAt(letter: DeadLetter, sequence: number, index: number): Letter {
  const { slot, tenant, kind, id, atMs, waits } = letter;
  return {
    key: keys.deadLetter(slot, sequence, index),
    slot,
    sequence,
    index,
    name: entityName(tenant, kind, id),
    tenant,
    kind,
    id,
    sizeBytes: deadLetterBytesMax(letter),
    atMs,
    waits,
  };
}

/** The order of the log. */
export function compareLetters(a: Letter, b: Letter): number {
  return a.sequence - b.sequence || a.index - b.index;
}

type Letters = Map<BinaryString, Letter>;

export class LetterBook {
  readonly #all: Letters = new Map();
  readonly #dead: Letters = new Map();
  readonly #deadBySlot = new Map<number, Letters>();
  readonly #waiting = new Map<BinaryString, Letters>();
  #deadBytes = 0;
  #waitingCount = 0;
  #waitingBytes = 0;

  get deadCount(): number {
    return this.#dead.size;
  }

  get deadBytes(): number {
    return this.#deadBytes;
  }

  get waitingCount(): number {
    return this.#waitingCount;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** All of them, in order; waiting ones too. */
  get letters(): Iterable<Letter> {
    return this.#all.values();
  }

  /** In order. */
  get dead(): Iterable<Letter> {
    return this.#dead.values();
  }

  deadOfSlot(slot: number): ReadonlyMap<BinaryString, Letter> {
    return this.#deadBySlot.get(slot) ?? none;
  }

  /** Names of the entities that letters wait for. */
  get waitedFor(): Iterable<BinaryString> {
    return this.#waiting.keys();
  }

  /** The first letter that waits for the entity. */
  firstWaiting(name: BinaryString): Letter | undefined {
    return this.#waiting.get(name)?.values().next().value;
  }

  has(key: BinaryString): boolean {
    return this.#all.has(key);
  }

  /** Letters are added in order (B2). */
  add(letter: Letter): void {
    const { key, slot, name, sizeBytes } = letter;
    this.#all.set(key, letter);
    if (letter.waits) {
      addTo(this.#waiting, name, letter);
      this.#waitingCount++;
      this.#waitingBytes += sizeBytes;
    } else {
      this.#dead.set(key, letter);
      addTo(this.#deadBySlot, slot, letter);
      this.#deadBytes += sizeBytes;
    }
  }

  /** The letter that was there under the key, if any. */
  remove(key: BinaryString): Letter | undefined {
    const letter = this.#all.get(key);
    if (letter === undefined) return undefined;
    this.#all.delete(key);
    if (letter.waits) {
      removeFrom(this.#waiting, letter.name, key);
      this.#waitingCount--;
      this.#waitingBytes -= letter.sizeBytes;
    } else {
      this.#dead.delete(key);
      removeFrom(this.#deadBySlot, letter.slot, key);
      this.#deadBytes -= letter.sizeBytes;
    }
    return letter;
  }

  copy(): LetterBook {
    const copy = new LetterBook();
    for (const letter of this.#all.values()) copy.add(letter);
    return copy;
  }
}

const none: ReadonlyMap<BinaryString, Letter> = new Map();

function addTo<Key>(groups: Map<Key, Letters>, group: Key, letter: Letter): void {
  const letters = groups.get(group);
  if (letters === undefined) groups.set(group, new Map([[letter.key, letter]]));
  else letters.set(letter.key, letter);
}

function removeFrom<Key>(groups: Map<Key, Letters>, group: Key, key: BinaryString): void {
  const letters = groups.get(group);
  letters?.delete(key);
  if (letters?.size === 0) groups.delete(group);
}
