/**
 * Sessions as slots see them: which requests' outcomes are kept, and where in the store.
 *
 * Each outcome stands in a *place*, a row of its own of (slot, session). A place whose outcome the client has acknowledged is
 * used again, so in the long run a request costs one write and no removal, and a session has as many rows as it had requests
 * open at once. Every row tells the lowest unanswered number as it was known when it was written.
 *
 * D1  What a session knows follows from its entries alone: memory takes in what stands in them, whoever chose the places.
 * D2  The highest lowest number that was ever told stands in a row that is still there: what is written over a row tells none
 *     that is lower.
 * D3  Sessions that the store knows in full may be forgotten, and are, beyond a bound: also where they are only asked for.
 * D4  While a session is known here the store is not asked about it; that it is new to a slot is known as well.
 */
import { OnefoldError } from "../base/errors.ts";
import type { StoreReader } from "../store/store.ts";
import type { ResultKey } from "./batch.ts";
import { entriesWithPrefix, readSessionResult, type StoredSessionResult } from "./fold.ts";
import { type BinaryString, bytesOfBinary, keys, readUint16, tables } from "./keys.ts";
import type { KeptOutcome } from "./outcome.ts";

type SessionResultKey = Extract<ResultKey, { readonly type: "session" }>;

interface KeptResult {
  readonly number: number;
  place: number;
  /** Undefined: the store has it. */
  outcome: KeptOutcome | undefined;
  /** The batch that it stands in; 0: long durable. */
  sequence: number;
  /** The one that came after it. */
  next: KeptResult | undefined;
}

/** Beyond so many sessions, or kept outcomes, those go that the store could give again. */
const sessionsMax = 16_384;
const keptMax = 65_536;
const looksPerLoad = 8;

/** A session as one slot sees it. */
export class LiveSession {
  // In the order in which they came: a list that costs nothing but its members. Most slots have one or two outcomes of a session, and a
  // map of those, in which one comes as one goes, is made anew all the time.
  #first: KeptResult | undefined = undefined;
  #last: KeptResult | undefined = undefined;
  #keptCount = 0;
  /** No number above this one was ever kept: of nearly all that are asked for, no list has to be searched. */
  #highest = 0;
  /** Places whose outcome nobody may ask for any more. */
  readonly #free: number[] = [];
  #placeCount = 0;
  #lowest = 0;
  lastSequence = 0;

  /** The lowest number whose answer its client has not acknowledged, as far as this slot has been told. */
  get lowest(): number {
    return this.#lowest;
  }

  get keptCount(): number {
    return this.#keptCount;
  }

  /** No outcome of it was ever kept at this slot. */
  get isNew(): boolean {
    return this.#placeCount === 0;
  }

  kept(number: number): KeptResult | undefined {
    if (number > this.#highest) return undefined;
    let kept = this.#first;
    while (kept !== undefined && kept.number !== number) kept = kept.next;
    return kept;
  }

  /** Where the next outcome goes, if its request has told `lowest`. Changes nothing (D1). */
  nextPlace(lowest: number): number {
    const free = this.#free.length > 0 ? this.#free.at(-1) : undefined;
    if (free !== undefined) return free;
    const first = this.#first;
    return first !== undefined && first.number < lowest ? first.place : this.#placeCount;
  }

  absorb({ number, lowest, place }: SessionResultKey, outcome: KeptOutcome, sequence: number): void {
    if (lowest > this.#lowest) this.#lowest = lowest;
    this.#letGo(place);
    this.#take(place);
    this.#keep(number, place, outcome, sequence);
    this.lastSequence = sequence;
  }

  /** Numbers come about in order; one that is out of order is let go of when its turn comes. */
  #letGo(placeTaken: number): void {
    let first = this.#first;
    while (first !== undefined && first.number < this.#lowest) {
      if (first.place !== placeTaken) this.#free.push(first.place);
      const { next } = first;
      // What is old must not keep alive what came after it.
      first.next = undefined;
      first = next;
      this.#keptCount--;
    }
    this.#first = first;
    if (first === undefined) this.#last = undefined;
  }

  #keep(number: number, place: number, outcome: KeptOutcome | undefined, sequence: number): void {
    const known = this.kept(number);
    if (known !== undefined) {
      known.place = place;
      known.outcome = outcome;
      known.sequence = sequence;
      return;
    }
    const kept: KeptResult = { number, place, outcome, sequence, next: undefined };
    if (this.#last === undefined) this.#first = kept;
    else this.#last.next = kept;
    this.#last = kept;
    this.#keptCount++;
    if (number > this.#highest) this.#highest = number;
  }

  #take(place: number): void {
    if (this.#free.at(-1) === place) {
      this.#free.pop();
      return;
    }
    const at = this.#free.indexOf(place);
    if (at >= 0) this.#free.splice(at, 1);
    while (this.#placeCount <= place) {
      if (this.#placeCount < place) this.#free.push(this.#placeCount);
      this.#placeCount++;
    }
  }

  /** The store has the outcome now. */
  applied(number: number, sequence: number): void {
    // Acknowledged meanwhile, as most are under load: it is let go of, or will be soon.
    if (number < this.#lowest) return;
    const kept = this.kept(number);
    if (kept !== undefined && kept.sequence <= sequence) kept.outcome = undefined;
  }

  /** As the store has it: rows by place. */
  static stored(rows: readonly { readonly place: number; readonly row: StoredSessionResult }[]): LiveSession {
    const session = new LiveSession();
    for (const { row } of rows) session.#lowest = Math.max(session.#lowest, row.lowest);
    const inOrder = rows.toSorted((a, b) => a.row.number - b.row.number);
    for (const { place, row } of inOrder) {
      session.#take(place);
      if (row.number >= session.#lowest) session.#keep(row.number, place, undefined, 0);
      else session.#free.push(place);
    }
    return session;
  }
}

/** One session's view by each slot that it is known at. */
type Slots = Map<number, LiveSession>;

export class LiveSessions {
  readonly #store: StoreReader;
  readonly #sessions = new Map<BinaryString, Slots>();
  #count = 0;
  #keptCount = 0;
  #appliedSequence = 0;
  #sweep: Iterator<Known> | undefined = undefined;
  /** The one that was asked for last: one client's requests come in crowds, and each asks several times. */
  #lastId: BinaryString = "";
  #last: Slots | undefined = undefined;

  constructor(store: StoreReader) {
    this.#store = store;
  }

  /** The session as the slot sees it, which may be that it is new there. */
  get(slot: number, id: BinaryString): LiveSession {
    return this.#slotsOf(id)?.get(slot) ?? this.#load(slot, id);
  }

  #slotsOf(id: BinaryString): Slots | undefined {
    if (id === this.#lastId && this.#last !== undefined) return this.#last;
    const slots = this.#sessions.get(id);
    if (slots === undefined) return undefined;
    this.#lastId = id;
    this.#last = slots;
    return slots;
  }

  #load(slot: number, id: BinaryString): LiveSession {
    const prefix = keys.sessionResults(slot, id);
    const rows = [...entriesWithPrefix(this.#store, prefix)].map(({ key, value }) => ({
      place: readUint16(key, prefix.length),
      row: readSessionResult(value),
    }));
    const session = LiveSession.stored(rows);
    this.#makeRoom();
    let slots = this.#slotsOf(id);
    if (slots === undefined) {
      slots = new Map();
      this.#sessions.set(id, slots);
    }
    slots.set(slot, session);
    this.#count++;
    this.#keptCount += session.keptCount;
    return session;
  }

  /** Requests that are only repeated must not fill the memory either: each load makes room for a little more than itself. */
  #makeRoom(): void {
    for (let looks = 0; looks < looksPerLoad && this.#isFull; looks++) {
      this.#sweep ??= this.#all();
      const next = this.#sweep.next();
      if (next.done === true) this.#sweep = undefined;
      else this.#forgetIfApplied(next.value);
    }
  }

  *#all(): Generator<Known, undefined> {
    for (const [id, slots] of this.#sessions) {
      for (const [slot, session] of slots) yield { id, slot, session };
    }
  }

  get #isFull(): boolean {
    return this.#count > sessionsMax || this.#keptCount > keptMax;
  }

  /** Whether the session of this key has kept an outcome that the store doesn't have yet. */
  hasUnapplied(at: BinaryString, appliedSequence: number): boolean {
    const { slot, id } = readSessionKey(at);
    return (this.#slotsOf(id)?.get(slot)?.lastSequence ?? 0) > appliedSequence;
  }

  /** The kept outcome of a request and the batch it is in (0: long durable). */
  result(
    slot: number,
    id: BinaryString,
    number: number,
  ): { readonly value: KeptOutcome; readonly sequence: number } | undefined {
    const kept = this.get(slot, id).kept(number);
    if (kept === undefined) return undefined;
    if (kept.outcome !== undefined) return { value: kept.outcome, sequence: kept.sequence };
    const bytes = this.#store.get(bytesOfBinary(keys.sessionResult(slot, id, kept.place)));
    const row = bytes === undefined ? undefined : readSessionResult(bytes);
    if (row?.number !== number) {
      throw new OnefoldError("damaged", "The store does not hold a request's outcome where it must be.");
    }
    return { value: row.outcome, sequence: 0 };
  }

  absorb(key: SessionResultKey, outcome: KeptOutcome, sequence: number): void {
    const session = this.get(key.slot, key.session);
    const before = session.keptCount;
    session.absorb(key, outcome, sequence);
    this.#keptCount += session.keptCount - before;
  }

  applied({ slot, session, number }: SessionResultKey, sequence: number): void {
    this.#slotsOf(session)?.get(slot)?.applied(number, sequence);
  }

  /** D3. The store has everything up to `appliedSequence`. */
  evict(appliedSequence: number): void {
    this.#appliedSequence = appliedSequence;
    if (!this.#isFull) return;
    for (const known of this.#all()) {
      this.#forgetIfApplied(known);
      // Not down to the bound, so that it is not reached again at once.
      if (this.#count <= (sessionsMax * 3) / 4 && this.#keptCount <= (keptMax * 3) / 4) return;
    }
  }

  #forgetIfApplied({ slot, id, session }: Known): void {
    if (session.lastSequence <= this.#appliedSequence) this.#forget(slot, id);
  }

  /** It has ended, if the key is that of a session. */
  remove(at: BinaryString): void {
    if (at.charCodeAt(0) !== tables.session) return;
    const { slot, id } = readSessionKey(at);
    this.#forget(slot, id);
  }

  #forget(slot: number, id: BinaryString): void {
    const slots = this.#sessions.get(id);
    const session = slots?.get(slot);
    if (slots === undefined || session === undefined) return;
    slots.delete(slot);
    this.#count--;
    this.#keptCount -= session.keptCount;
    if (slots.size > 0) return;
    this.#sessions.delete(id);
    this.#last = undefined;
  }

  clear(): void {
    this.#sessions.clear();
    this.#sweep = undefined;
    this.#last = undefined;
    this.#count = 0;
    this.#keptCount = 0;
  }
}

interface Known {
  readonly slot: number;
  readonly id: BinaryString;
  readonly session: LiveSession;
}

/** What `keys.session` was made of. */
function readSessionKey(at: BinaryString): { readonly slot: number; readonly id: BinaryString } {
  return { slot: readUint16(at, 1), id: at.slice(3) };
}
