/**
 * Durable batches that go to the store together: folded as they come, so that what changes again and again takes room once,
 * and what was overwritten is garbage while it is young. Of the batches themselves only the bytes are kept.
 *
 * PO1  `writes` is the fold of `batches`, in their order.
 * PO2  From the payloads of `batches` memory could be made again (H1).
 */
import type { LogPosition } from "../log/log.ts";
import type { Entry, ResultKey } from "./batch.ts";
import type { DurableBatch } from "./committer.ts";
import { foldBatch, WriteSet } from "./fold.ts";

/** A durable batch that the store doesn't have. */
export interface UnappliedBatch {
  readonly position: LogPosition;
  readonly payload: Uint8Array;
}

/** What batches have pinned in memory besides the roots of entities, which tell by themselves. */
export interface Pinned {
  readonly entries: Entry[];
  readonly results: ResultKey[];
}

/**
 * Distinct ones: so many that what changes again and again is folded together, so few that the main thread is held for some
 * milliseconds.
 */
const writesMax = 2048;
/** Where hardly anything changes again soon: each is at another place of the store's file, and maps up to 64 KiB of it. */
const scatteredWritesMax = 512;
/** So many portions back is soon: what they held at least is what one that is not scattered holds. */
export const soonPortions = writesMax / scatteredWritesMax;
/** Of all changes; with fewer that come again, gathering more of them gains little. */
const recurringShare = 1 / 4;

/** What a write takes in memory besides its bytes, and an entry that has pinned something: estimates. */
const writeOverheadBytes = 800;
const pinnedOverheadBytes = 700;

export class Portion {
  readonly writes = new WriteSet();
  readonly batches: UnappliedBatch[] = [];
  readonly pinned: Pinned = { entries: [], results: [] };
  /** About what it occupies. */
  memoryBytes = 0;
  readonly #soonSequence: number;
  #effectCount = 0;
  /** Effects on what had changed soon before. */
  #recurringCount = 0;

  /** What has changed at `soonSequence` or later, and changes again in here, has done so soon: see `soonPortions`. */
  constructor({ soonSequence }: { readonly soonSequence: number }) {
    this.#soonSequence = soonSequence;
  }

  /** It should take no more. */
  get isFull(): boolean {
    const { size } = this.writes;
    return (
      size >= writesMax || (size >= scatteredWritesMax && this.#recurringCount < this.#effectCount * recurringShare)
    );
  }

  /** Of its first batch; it must have one. */
  get firstSequence(): number {
    return this.batches[0]!.position.sequence;
  }

  /** Of its last batch; it must have one. */
  get position(): LogPosition {
    return this.batches.at(-1)!.position;
  }

  add({ position, payload, entries }: DurableBatch): void {
    const sizeBefore = this.writes.size;
    const { entries: pinnedEntries, results } = this.pinned;
    const pinnedBefore = pinnedEntries.length + results.length;
    this.batches.push({ position, payload });
    foldBatch(entries, position.sequence, this.writes);
    for (const entry of entries) {
      this.#effectCount += entry.effects.length;
      for (const { previousSequence } of entry.effects)
        if (previousSequence >= this.#soonSequence) this.#recurringCount++;
      if (pinsMore(entry)) pinnedEntries.push(entry);
      if (entry.result !== null) results.push(entry.result.key);
    }
    const writeCount = this.writes.size - sizeBefore;
    const pinnedCount = pinnedEntries.length + results.length - pinnedBefore;
    // The payload, and of what it says at most as much again in writes.
    this.memoryBytes += 2 * payload.length + writeCount * writeOverheadBytes + pinnedCount * pinnedOverheadBytes;
  }
}

function pinsMore({ effects, messages, consumed, expired }: Entry): boolean {
  if (messages.length > 0 || consumed !== null || expired.length > 0) return true;
  for (const { items, timers } of effects) if (items.length > 0 || timers.length > 0) return true;
  return false;
}
