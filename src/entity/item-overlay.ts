/**
 * Changes to a collection that the store doesn't have yet, in order of keys; and the merge of such layers with the store.
 *
 * O1  A range is a snapshot: changes made while somebody iterates don't show in it. The sorted list is copied on the first
 *     change after a range was handed out, so that the common case (no open range) changes it in place.
 * O2  A higher layer hides the same key in every lower one, a removal (null) included.
 */
import { compareUtf8 } from "../base/bytes.ts";

export interface ItemChange {
  readonly key: string;
  /** Encoded item; null for a removal. */
  readonly value: Uint8Array | null;
  /** The batch that it stands in; 0 where it is not in one yet. */
  readonly sequence: number;
}

/** The index of the first of `items`, which are in order, whose key is not less than `key`. */
export function lowerBound(items: readonly { readonly key: string }[], key: string): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareUtf8(items[middle]!.key, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class ItemOverlay {
  #changes: ItemChange[] = [];
  #shared = false;

  get size(): number {
    return this.#changes.length;
  }

  get(key: string): ItemChange | undefined {
    const change = this.#changes[lowerBound(this.#changes, key)];
    return change !== undefined && change.key === key ? change : undefined;
  }

  set(change: ItemChange): void {
    this.#own();
    const at = lowerBound(this.#changes, change.key);
    if (this.#changes[at]?.key === change.key) this.#changes[at] = change;
    else this.#changes.splice(at, 0, change);
  }

  /** Forgets the changes that are not newer than `sequence`: the store has them now. */
  pruneThrough(sequence: number): void {
    if (!this.#changes.some((change) => change.sequence <= sequence)) return;
    this.#changes = this.#changes.filter((change) => change.sequence > sequence);
    this.#shared = false;
  }

  /** All changes in order of keys; never modified afterwards. */
  snapshot(): readonly ItemChange[] {
    this.#shared = true;
    return this.#changes;
  }

  [Symbol.iterator](): Iterator<ItemChange> {
    return this.snapshot()[Symbol.iterator]();
  }

  #own(): void {
    if (!this.#shared) return;
    this.#changes = this.#changes.slice();
    this.#shared = false;
  }
}

export interface StoredItem {
  readonly key: string;
  readonly value: Uint8Array | null;
}

export interface ItemRange {
  /** Inclusive. */
  readonly from: string | undefined;
  /** Exclusive. */
  readonly to: string | undefined;
  readonly reverse: boolean;
}

/** Lays `changes` over `below`, which is in the order that `range` says. Removals stay in the result, as nulls. */
// Its parameters are bound at the call though its body runs later: that is what makes `changes` a snapshot.
function* lay(changes: readonly ItemChange[], below: Iterable<StoredItem>, range: ItemRange): Iterable<StoredItem> {
  const first = range.from === undefined ? 0 : lowerBound(changes, range.from);
  const end = range.to === undefined ? changes.length : lowerBound(changes, range.to);
  const step = range.reverse ? -1 : 1;
  let at = range.reverse ? end - 1 : first;
  const inside = () => at >= first && at < end;
  for (const item of below) {
    while (inside()) {
      const order = compareUtf8(changes[at]!.key, item.key) * step;
      if (order > 0) break;
      if (order < 0) yield changes[at]!;
      else break;
      at += step;
    }
    if (inside() && changes[at]!.key === item.key) {
      yield changes[at]!;
      at += step;
    } else {
      yield item;
    }
  }
  for (; inside(); at += step) yield changes[at]!;
}

/** The items of a range as `layers` (highest first) over `stored` show them. Lazy; snapshots of the layers are taken now. */
export function rangeOfLayers(
  layers: readonly (ItemOverlay | undefined)[],
  stored: Iterable<StoredItem>,
  range: ItemRange,
): Iterable<StoredItem> {
  let merged = stored;
  for (let i = layers.length - 1; i >= 0; i--) {
    const layer = layers[i];
    if (layer !== undefined && layer.size > 0) merged = lay(layer.snapshot(), merged, range);
  }
  return merged;
}
