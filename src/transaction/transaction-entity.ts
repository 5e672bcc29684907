/** One entity as one transaction sees it: the shard's state of it, under the transaction's own changes. */
import type { EntityEffect, ItemEffect, TimerEffect } from "../entity/batch.ts";
import { touchThresholdBytes } from "../entity/batch.ts";
import type { EntityView } from "../entity/entity-view.ts";
import { ItemOverlay } from "../entity/item-overlay.ts";
import type { LiveItems } from "../entity/live-items.ts";
import type { EntityLock } from "../entity/locks.ts";
import { type CommandResult, effectOf } from "../entity/run-command.ts";
import type { LiveEntity } from "../entity/working-set.ts";

const nothing: readonly never[] = [];

export class TransactionEntity implements EntityView {
  readonly live: LiveEntity;
  /** Held or waited for by the transaction. */
  readonly lock: EntityLock;
  /** The next one of the transaction's entities. */
  next: TransactionEntity | undefined = undefined;
  generation = 0;
  version = 0;
  schemaVersion = 0;
  state: Uint8Array | null = null;
  draft: object | undefined = undefined;
  // Most transactions touch root states alone, so what the rest needs is made when it is needed.
  #items: Map<string, ItemOverlay> | undefined = undefined;
  #timers: Map<string, number> | undefined = undefined;
  #timerEffects: Map<string, TimerEffect> | undefined = undefined;
  /** Lives of the entity that this transaction ended. */
  #ended: readonly EntityEffect[] = nothing;
  #isSeen = false;
  #isChanged = false;
  #isBirth = false;
  /** The effect of its only command, where it had one alone: then that is what the transaction did to it. */
  #only: EntityEffect | undefined = undefined;

  constructor(live: LiveEntity, lock: EntityLock) {
    this.live = live;
    this.lock = lock;
  }

  /** The transaction holds the lock, so nobody else changes the entity from here on. */
  see(): void {
    if (this.#isSeen) return;
    this.#isSeen = true;
    const { live } = this;
    this.generation = live.generation;
    this.version = live.version;
    this.schemaVersion = live.schemaVersion;
    this.state = live.state;
  }

  ownItems(collection: string): ItemOverlay | undefined {
    return this.#items?.get(collection);
  }

  sharedItems(collection: string): LiveItems | undefined {
    // What the shard knows belongs to another life once this transaction has begun one.
    return this.#ended.length > 0 ? undefined : this.live.sharedItems(collection);
  }

  timers(): ReadonlyMap<string, number> {
    return this.#timers ?? this.live.timers();
  }

  /** Takes over what the last command of anybody has left decoded. Only for who holds the lock exclusively. */
  takeDraft(): void {
    if (this.draft !== undefined || this.state !== this.live.state || this.#ended.length > 0) return;
    this.draft = this.live.draft;
    this.live.draft = undefined;
  }

  /** After the effects have been taken in: what is decoded here is what is encoded there. */
  giveBackDraft(): void {
    if (this.draft !== undefined) this.live.draft = this.draft;
  }

  /** Takes in what a command of this transaction did. */
  merge(result: CommandResult): void {
    const effect = effectOf(this, result);
    this.draft = result.draft;
    if (effect === undefined) return;
    this.#only = this.#isChanged || this.#ended.length > 0 ? undefined : effect;
    this.#isChanged = true;
    this.#isBirth ||= effect.isBirth;
    this.generation = effect.generation;
    this.version = effect.version;
    this.schemaVersion = effect.schemaVersion;
    for (const timer of effect.timers) this.#mergeTimer(timer);
    if (effect.state === null) {
      const end = { ...effect, isBirth: this.#isBirth, items: nothing, timers: this.#allTimerEffects() };
      this.#ended = [...this.#ended, end];
      this.#items = undefined;
      this.#timerEffects = undefined;
      this.#timers = new Map();
      this.state = null;
      this.#isChanged = false;
      this.#isBirth = false;
      return;
    }
    if (effect.state !== undefined) this.state = effect.state;
    if (effect.items.length > 0) this.#items ??= new Map();
    for (const { collection, key, value } of effect.items) {
      let overlay = this.#items!.get(collection);
      if (overlay === undefined) {
        overlay = new ItemOverlay();
        this.#items!.set(collection, overlay);
      }
      overlay.set({ key, value, sequence: 0 });
    }
  }

  #mergeTimer({ key, timer, previousDueMs }: TimerEffect): void {
    this.#timers ??= new Map(this.live.timers());
    if (timer === null) this.#timers.delete(key);
    else this.#timers.set(key, timer.dueMs);
    // What the store holds is what stood before the transaction, not what an earlier step of it set.
    this.#timerEffects ??= new Map();
    const first = this.#timerEffects.get(key);
    this.#timerEffects.set(key, {
      key,
      timer,
      previousDueMs: first === undefined ? previousDueMs : first.previousDueMs,
    });
  }

  /** Appends what the transaction did to it, in order of its lives. */
  addEffects(effects: EntityEffect[]): void {
    for (const end of this.#ended) effects.push(end);
    if (this.#isChanged) effects.push(this.#only ?? this.#lastEffect());
  }

  #lastEffect(): EntityEffect {
    const { live, state } = this;
    const isSame = this.#ended.length === 0 && state === live.state;
    return {
      slot: live.slot,
      tenant: live.tenant,
      kind: live.kind,
      id: live.id,
      name: live.name,
      generation: this.generation,
      version: this.version,
      isBirth: this.#isBirth,
      schemaVersion: this.schemaVersion,
      previousSequence: live.lastSequence,
      state: isSame && state !== null && state.length > touchThresholdBytes ? undefined : state,
      items: this.#allItems(),
      timers: this.#allTimerEffects(),
    };
  }

  #allItems(): readonly ItemEffect[] {
    if (this.#items === undefined) return nothing;
    return [...this.#items].flatMap(([collection, overlay]) =>
      [...overlay].map(({ key, value }) => ({ collection, key, value })),
    );
  }

  #allTimerEffects(): readonly TimerEffect[] {
    return this.#timerEffects === undefined ? nothing : [...this.#timerEffects.values()];
  }
}
