/**
 * What a shard knows in memory beyond its store: entities in use, and everything that batches said which the store doesn't
 * hold yet. Exactly the fold of (store, durable batches not yet applied, batches not yet durable), so that speculation can
 * be dropped by forgetting everything and absorbing the durable batches again.
 *
 * W1  What was touched by a batch beyond `appliedSequence` stays in memory until the store has it (it is pinned).
 * W2  `absorb` is the only way in: a command's own result enters the same way as a batch that is absorbed again.
 * W3  Bytes are the truth of a state; decoded objects are caches of them that may be thrown away at any time.
 */
import type { Store, StoreReader } from "../store/store.ts";
import {
  type ConsumedMessage,
  type EntityEffect,
  type Entry,
  type MessageRecord,
  type ResultKey,
  storedRecords,
  touchThresholdBytes,
} from "./batch.ts";
import type { EntityDefinition } from "./definition.ts";
import type { EntityView } from "./entity-view.ts";
import { entriesWithPrefix, readEntity, readIdempotency, readNumber, type StoredIdempotency } from "./fold.ts";
import { type BinaryString, keys, textOfBinary } from "./keys.ts";
import { LiveItems } from "./live-items.ts";
import { LiveSessions } from "./live-sessions.ts";
import { LiveTransactions } from "./live-transactions.ts";
import type { EntityLock } from "./locks.ts";
import type { KeptOutcome } from "./outcome.ts";
import type { Pinned } from "./portion.ts";

/** One entity in memory. Only this folder's files hold on to it. */
export class LiveEntity implements EntityView {
  readonly name: BinaryString;
  readonly slot: number;
  readonly tenant: string;
  readonly kind: string;
  readonly id: string;
  readonly definition: EntityDefinition;
  generation = 0;
  version = 0;
  schemaVersion: number;
  /** The last batch that touched it. */
  lastSequence = 0;
  /** Encoded root state; null where the entity has no life now. */
  state: Uint8Array | null = null;
  /** What commands work on: decoded `state`, or undefined where it has to be decoded first. */
  draft: object | undefined = undefined;
  /** What queries read: decoded and frozen; only kept for states without Dates and bytes, which can't be frozen. */
  frozen: object | undefined = undefined;
  /** Made with the first collection that is looked at: most entities have none. */
  #items: Map<string, LiveItems> | undefined = undefined;
  readonly #store: StoreReader;
  readonly #onGrowth: (entity: LiveEntity) => void;
  #timers: Map<string, number> | undefined = undefined;
  #timerSequences: Map<string, number> | undefined = undefined;
  /** Made by the first transaction that locks it, and kept: whoever waits for a lock must find the same one as its holder. */
  lock: EntityLock | undefined = undefined;
  /** Its commands have ended the process again and again: none of its user code runs, and what is on its way to it waits (G10). */
  isQuarantined = false;
  /** For the cache: used since the last sweep came by. */
  used = true;
  sizeBytes = 0;

  constructor(
    definition: EntityDefinition,
    slot: number,
    name: BinaryString,
    tenant: string,
    id: string,
    store: StoreReader,
    onGrowth: (entity: LiveEntity) => void,
  ) {
    this.#store = store;
    this.#onGrowth = onGrowth;
    this.definition = definition;
    this.slot = slot;
    this.name = name;
    this.tenant = tenant;
    this.kind = definition.name;
    this.id = id;
    this.schemaVersion = definition.schemaVersion;
  }

  get live(): LiveEntity {
    return this;
  }

  get exists(): boolean {
    return this.state !== null;
  }

  /** Only the shard changes it: what commands do, they do to a layer of their own. */
  ownItems(): undefined {
    return undefined;
  }

  sharedItems(collection: string): LiveItems | undefined {
    return this.state === null ? undefined : this.itemsOf(collection);
  }

  /** The items of the present generation. */
  itemsOf(collection: string): LiveItems {
    this.#items ??= new Map();
    let items = this.#items.get(collection);
    if (items === undefined) {
      const prefix = keys.items(this.slot, this.name, this.generation, collection);
      items = new LiveItems(this.#store, prefix, () => this.#onGrowth(this));
      this.#items.set(collection, items);
    }
    return items;
  }

  get collections(): Iterable<LiveItems> {
    return this.#items?.values() ?? [];
  }

  forgetItems(): void {
    this.#items = undefined;
  }

  /** Due times of its timers by key, loaded when first asked for. */
  timers(): Map<string, number> {
    if (this.#timers === undefined) {
      this.#timers = this.#loadTimers();
      if (this.#timers.size > 0) this.#onGrowth(this);
    }
    return this.#timers;
  }

  /** Keys of timers that batches changed which the store doesn't have yet, each with the last such batch. */
  get timerSequences(): Map<string, number> {
    // Most entities have no timer, and an empty map is a fifth of what an entity takes.
    this.#timerSequences ??= new Map();
    return this.#timerSequences;
  }

  /** How many entries about timers it holds in memory. */
  get timerEntryCount(): number {
    return (this.#timers?.size ?? 0) + (this.#timerSequences?.size ?? 0);
  }

  #loadTimers(): Map<string, number> {
    const timers = new Map<string, number>();
    const prefix = keys.timers(this.slot, this.name);
    for (const { key, value } of entriesWithPrefix(this.#store, prefix)) {
      timers.set(textOfBinary(key.slice(prefix.length)), storedRecords.decodeTimer(value).dueMs);
    }
    return timers;
  }
}

interface Overlaid<T> {
  readonly value: T;
  readonly sequence: number;
}

/** What it costs to keep an entity besides its bytes: the object, its key and the map's entry. Measured, rounded up. */
const entityOverheadBytes = 1000;
/** A map's entry with a short key of its own, rounded up. */
const timerEntryBytes = 100;
const looksPerLoad = 8;
/** A power of two: so many that those in frequent use are mostly among them. */
const recentPlaces = 4096;

function recentPlaceOf(id: string): number {
  // The end of an id is what tells it from others; the rest is compared anyway.
  let place = id.length;
  for (let i = Math.max(0, id.length - 4); i < id.length; i++) place = place * 31 + id.charCodeAt(i);
  return place & (recentPlaces - 1);
}

export class WorkingSet {
  readonly #store: Store;
  readonly #budgetBytes: number;
  readonly #quarantined: ReadonlySet<BinaryString>;
  readonly #entities = new Map<BinaryString, LiveEntity>();
  /** Some of `#entities`, found without their names being made, which costs more than all else of a look-up. */
  readonly #recent: (LiveEntity | undefined)[] = new Array(recentPlaces).fill(undefined);
  /** What its requests have left at each slot. */
  readonly sessions: LiveSessions;
  /** Those over several shards. Empty until it is loaded. */
  readonly transactions: LiveTransactions;
  readonly #idempotency = new Map<BinaryString, Overlaid<StoredIdempotency | undefined>>();
  readonly #outboxNumbers = new Map<BinaryString, number>();
  readonly #inboxNumbers = new Map<BinaryString, Overlaid<number>>();
  #sizeBytes = 0;
  #sweep: Iterator<LiveEntity> | undefined = undefined;
  /** Everything up to here is in the store. */
  appliedSequence = 0;

  constructor(store: Store, budgetBytes: number, quarantined: ReadonlySet<BinaryString> = new Set()) {
    this.#store = store;
    this.sessions = new LiveSessions(store);
    this.transactions = new LiveTransactions(store);
    this.#quarantined = quarantined;
    this.#budgetBytes = budgetBytes;
  }

  get entityCount(): number {
    return this.#entities.size;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  // ------------------------------------------------------------------------------------------------------- entities

  /** Whether the entity is, also where it can't be loaded. */
  isQuarantined(name: BinaryString): boolean {
    return this.#quarantined.size > 0 && this.#quarantined.has(name);
  }

  cached(name: BinaryString): LiveEntity | undefined {
    const entity = this.#entities.get(name);
    if (entity !== undefined) {
      entity.used = true;
      this.#recent[recentPlaceOf(entity.id)] = entity;
    }
    return entity;
  }

  /** What `cached` would give for the name of the three, if it was used lately; else undefined, which says nothing. */
  recent(tenant: string, kind: string, id: string): LiveEntity | undefined {
    const entity = this.#recent[recentPlaceOf(id)];
    if (entity === undefined || entity.id !== id || entity.kind !== kind || entity.tenant !== tenant) return undefined;
    entity.used = true;
    return entity;
  }

  /** Loads an entity that isn't cached. `slot` must be the one its definition says. Throws `damaged`. */
  load(definition: EntityDefinition, slot: number, name: BinaryString, tenant: string, id: string): LiveEntity {
    const entity = new LiveEntity(definition, slot, name, tenant, id, this.#store, this.#resize);
    entity.isQuarantined = this.isQuarantined(name);
    const stored = readEntity(this.#store, slot, name, touchThresholdBytes);
    if (stored !== undefined) {
      entity.generation = stored.generation;
      entity.version = stored.version;
      entity.schemaVersion = stored.schemaVersion;
      entity.lastSequence = stored.lastSequence;
      entity.state = stored.state;
    }
    this.#entities.set(name, entity);
    this.#resize(entity);
    // Reads alone must not fill the memory either; each load makes room for a little more than itself.
    if (this.#sizeBytes > this.#budgetBytes) this.#evict(looksPerLoad, entity);
    return entity;
  }

  readonly #resize = (entity: LiveEntity): void => {
    let size = entityOverheadBytes + 2 * entity.name.length + timerEntryBytes * entity.timerEntryCount;
    // Encoded, decoded for commands and decoded for queries.
    if (entity.state !== null) size += 5 * entity.state.length;
    for (const items of entity.collections) size += items.sizeBytes;
    this.#sizeBytes += size - entity.sizeBytes;
    entity.sizeBytes = size;
  };

  /** Evicts entities that the store could give again, until the budget holds or everything has been looked at once. */
  evict(): void {
    this.#evict(2 * this.#entities.size, undefined);
  }

  #evict(looksMax: number, except: LiveEntity | undefined): void {
    let looks = looksMax;
    while (this.#sizeBytes > this.#budgetBytes && looks-- > 0) {
      this.#sweep ??= this.#entities.values();
      const next = this.#sweep.next();
      if (next.done === true) {
        this.#sweep = undefined;
        continue;
      }
      const entity = next.value;
      if (entity === except) continue;
      if (entity.used) entity.used = false;
      else if (entity.lastSequence <= this.appliedSequence && entity.lock?.isFree !== false) {
        this.#entities.delete(entity.name);
        const place = recentPlaceOf(entity.id);
        if (this.#recent[place] === entity) this.#recent[place] = undefined;
        this.#sizeBytes -= entity.sizeBytes;
      }
    }
  }

  // ------------------------------------------------------------------------------------------------------- requests

  idempotency(slot: number, digest: BinaryString): Overlaid<StoredIdempotency> | undefined {
    const at = keys.idempotency(slot, digest);
    const overlaid = this.#idempotency.get(at);
    if (overlaid !== undefined) {
      return overlaid.value === undefined ? undefined : { value: overlaid.value, sequence: overlaid.sequence };
    }
    const value = readIdempotency(this.#store, slot, digest);
    return value === undefined ? undefined : { value, sequence: 0 };
  }

  /** Whether a batch has removed what the store still holds under the key of a request's record. */
  isRemoved(key: BinaryString): boolean {
    const overlaid = this.#idempotency.get(key);
    return overlaid !== undefined && overlaid.value === undefined;
  }

  // ------------------------------------------------------------------------------------------------------- messages

  /** The number of the last message from one slot to another; 0 for none yet. */
  outboxNumber(from: number, to: number): number {
    const at = keys.outboxNumber(from, to);
    return this.#outboxNumbers.get(at) ?? readNumber(this.#store, at);
  }

  /** The number of the last message that a slot has consumed from another. */
  inboxNumber(to: number, from: number): number {
    const at = keys.inboxNumber(to, from);
    return this.#inboxNumbers.get(at)?.value ?? readNumber(this.#store, at);
  }

  // --------------------------------------------------------------------------------------------------- in and out

  /**
   * Takes in what an entry of the batch `sequence` says. `drafts` gives, for effects of a command that ran just now, the
   * object that the encoded state came from, to save decoding it again.
   */
  absorb(entry: Entry, sequence: number, entityOf: (effect: EntityEffect) => LiveEntity | undefined): void {
    for (const { key } of entry.expired) {
      this.sessions.remove(key);
      this.#idempotency.set(key, { value: undefined, sequence });
    }
    for (const effect of entry.effects) {
      const entity = entityOf(effect);
      if (entity !== undefined) this.#absorbEffect(entity, effect, sequence);
    }
    for (const message of entry.messages) this.#absorbMessage(message);
    if (entry.consumed !== null) this.#absorbConsumed(entry.consumed, sequence);
    if (entry.result !== null) this.#absorbResult(entry.result.key, entry.result.outcome, sequence);
    this.transactions.absorb(entry, sequence);
  }

  #absorbEffect(entity: LiveEntity, effect: EntityEffect, sequence: number): void {
    if (effect.generation !== entity.generation || effect.state === null) entity.forgetItems();
    entity.generation = effect.generation;
    entity.version = effect.version;
    entity.schemaVersion = effect.schemaVersion;
    entity.lastSequence = sequence;
    if (effect.state !== undefined && effect.state !== entity.state) {
      entity.state = effect.state;
      entity.draft = undefined;
      entity.frozen = undefined;
    }
    for (const { collection, key, value } of effect.items) entity.itemsOf(collection).set({ key, value, sequence });
    if (effect.timers.length > 0) {
      const timers = entity.timers();
      for (const { key, timer } of effect.timers) {
        if (timer === null) timers.delete(key);
        else timers.set(key, timer.dueMs);
        entity.timerSequences.set(key, sequence);
      }
    }
    this.#resize(entity);
  }

  #absorbMessage({ fromSlot, toSlot, number }: MessageRecord): void {
    this.#outboxNumbers.set(keys.outboxNumber(fromSlot, toSlot), number);
  }

  #absorbConsumed({ fromSlot, toSlot, number }: ConsumedMessage, sequence: number): void {
    this.#inboxNumbers.set(keys.inboxNumber(toSlot, fromSlot), { value: number, sequence });
  }

  #absorbResult(key: ResultKey, outcome: KeptOutcome, sequence: number): void {
    if (key.type === "idempotency") {
      const { expiresMs, fingerprint } = key;
      this.#idempotency.set(keys.idempotency(key.slot, key.digest), {
        value: { expiresMs, fingerprint, outcome },
        sequence,
      });
      return;
    }
    this.sessions.absorb(key, outcome, sequence);
  }

  /** The store has applied everything up to `sequence`: what that has `pinned` may go. */
  applied(pinned: Pinned, sequence: number): void {
    this.appliedSequence = sequence;
    const changed = new Set<LiveEntity>();
    for (const entry of pinned.entries) this.#unpin(entry, sequence, changed);
    for (const key of pinned.results) this.#pruneResult(key, sequence);
    for (const entity of changed) {
      for (const items of entity.collections) items.prune(sequence);
      this.#resize(entity);
    }
    this.sessions.evict(sequence);
  }

  #unpin({ effects, messages, consumed, expired }: Entry, sequence: number, changed: Set<LiveEntity>): void {
    for (const { name, items, timers } of effects) {
      if (items.length === 0 && timers.length === 0) continue;
      const entity = this.#entities.get(name);
      if (entity === undefined) continue;
      if (items.length > 0) changed.add(entity);
      for (const { key } of timers) {
        if (entity.timerSequences.get(key)! <= sequence) entity.timerSequences.delete(key);
      }
    }
    for (const { fromSlot, toSlot, number } of messages) {
      const at = keys.outboxNumber(fromSlot, toSlot);
      if (this.#outboxNumbers.get(at) === number) this.#outboxNumbers.delete(at);
    }
    if (consumed !== null) {
      const at = keys.inboxNumber(consumed.toSlot, consumed.fromSlot);
      const overlaid = this.#inboxNumbers.get(at);
      if (overlaid !== undefined && overlaid.sequence <= sequence) this.#inboxNumbers.delete(at);
    }
    for (const { key } of expired) {
      const overlaid = this.#idempotency.get(key);
      if (overlaid !== undefined && overlaid.sequence <= sequence) this.#idempotency.delete(key);
    }
  }

  #pruneResult(key: ResultKey, sequence: number): void {
    if (key.type === "idempotency") {
      const at = keys.idempotency(key.slot, key.digest);
      const overlaid = this.#idempotency.get(at);
      if (overlaid !== undefined && overlaid.sequence <= sequence) this.#idempotency.delete(at);
      return;
    }
    this.sessions.applied(key, sequence);
  }

  /** Forgets everything. The durable batches that the store doesn't have must be absorbed again at once. Throws `damaged`. */
  clear(): void {
    this.#entities.clear();
    this.#recent.fill(undefined);
    this.sessions.clear();
    this.transactions.load();
    this.#idempotency.clear();
    this.#outboxNumbers.clear();
    this.#inboxNumbers.clear();
    this.#sizeBytes = 0;
    this.#sweep = undefined;
  }
}
