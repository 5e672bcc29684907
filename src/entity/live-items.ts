/**
 * One collection of one life of an entity, as the shard knows it: the store's items under the changes that it doesn't have
 * yet, and a window of neighbouring items that are kept in memory.
 *
 * The window is there because the ends of a collection are where commands look: the best order, the oldest job. Without it
 * the first item of a queue costs a walk over all those that were just taken from its head and are still in the store.
 *
 * I1  Inside the window's interval, its items are exactly the collection's: what is not there does not exist.
 * I2  Nothing changes here while a command or query runs, so its ranges may read on lazily; the window may grow meanwhile.
 */
import { compareUtf8 } from "../base/bytes.ts";
import type { StoreReader } from "../store/store.ts";
import {
  type ItemChange,
  ItemOverlay,
  type ItemRange,
  lowerBound,
  rangeOfLayers,
  type StoredItem,
} from "./item-overlay.ts";
import { afterPrefix, type BinaryString, binary, binaryOfBytes, bytesOfBinary, textOfBinary } from "./keys.ts";

const chunkItemsMin = 16;
const chunkItemsMax = 256;
const windowItemsMax = 2048;
const windowBytesMax = 256 * 1024;
/** A guess at what an item takes in memory besides its value. */
const itemOverheadBytes = 120;

interface Window {
  /** Inclusive; undefined: from the very first item. */
  from: string | undefined;
  /** Exclusive; undefined: to the very last one. */
  to: string | undefined;
  /** In order of keys. */
  readonly items: StoredItem[];
  valueBytes: number;
  chunkItems: number;
  /** Counts the times that indexes into `items` have moved. */
  moves: number;
}

export class LiveItems {
  readonly #store: StoreReader;
  readonly #prefix: BinaryString;
  readonly overlay = new ItemOverlay();
  #window: Window | undefined = undefined;

  readonly #onGrowth: () => void;

  /** `onGrowth` is called when reads have made it take more memory. */
  constructor(store: StoreReader, prefix: BinaryString, onGrowth: () => void) {
    this.#store = store;
    this.#prefix = prefix;
    this.#onGrowth = onGrowth;
  }

  get sizeBytes(): number {
    const window = this.#window;
    const cached = window === undefined ? 0 : window.valueBytes + itemOverheadBytes * window.items.length;
    return cached + 200 * this.overlay.size;
  }

  get(key: string): Uint8Array | undefined {
    const change = this.overlay.get(key);
    if (change !== undefined) return change.value ?? undefined;
    const window = this.#window;
    if (window !== undefined && contains(window, key)) {
      const item = window.items[lowerBound(window.items, key)];
      return item?.key === key ? (item.value ?? undefined) : undefined;
    }
    return this.#store.get(bytesOfBinary(this.#prefix + binary(key)));
  }

  /** Takes in a change that stands in a batch. */
  set(change: ItemChange): void {
    this.overlay.set(change);
    const window = this.#window;
    if (window === undefined || !contains(window, change.key)) return;
    const at = lowerBound(window.items, change.key);
    const present = window.items[at]?.key === change.key ? window.items[at] : undefined;
    window.valueBytes += (change.value?.length ?? 0) - (present?.value?.length ?? 0);
    const replaced = present === undefined ? 0 : 1;
    if (change.value === null) window.items.splice(at, replaced);
    else window.items.splice(at, replaced, { key: change.key, value: change.value });
    window.moves++;
    if (isTooLarge(window)) this.#window = undefined;
  }

  /** The store has everything up to `sequence`. */
  prune(sequence: number): void {
    this.overlay.pruneThrough(sequence);
  }

  /** The items in a range, in its order, without removed ones. Lazy (I2). */
  range(range: ItemRange): Iterable<StoredItem> {
    return range.reverse ? this.#backward(range) : this.#forward(range);
  }

  *#forward({ from, to }: ItemRange): Iterable<StoredItem> {
    let window = this.#windowAt(from, { isStart: true });
    let position = from;
    for (;;) {
      let moves = window.moves;
      let at = position === undefined ? 0 : lowerBound(window.items, position);
      while (at < window.items.length) {
        const item = window.items[at]!;
        if (to !== undefined && compareUtf8(item.key, to) >= 0) return;
        position = successor(item.key);
        yield item;
        at++;
        if (moves !== window.moves) {
          moves = window.moves;
          at = lowerBound(window.items, position);
        }
      }
      if (window.to === undefined || (to !== undefined && compareUtf8(window.to, to) >= 0)) return;
      position = window.to;
      window = this.#extend(window, { reverse: false });
    }
  }

  *#backward({ from, to }: ItemRange): Iterable<StoredItem> {
    let window = this.#windowAt(to, { isStart: false });
    let position = to;
    for (;;) {
      let moves = window.moves;
      let at = (position === undefined ? window.items.length : lowerBound(window.items, position)) - 1;
      while (at >= 0) {
        const item = window.items[at]!;
        if (from !== undefined && compareUtf8(item.key, from) < 0) return;
        position = item.key;
        yield item;
        at--;
        if (moves !== window.moves) {
          moves = window.moves;
          at = lowerBound(window.items, position) - 1;
        }
      }
      if (window.from === undefined || (from !== undefined && compareUtf8(window.from, from) <= 0)) return;
      position = window.from;
      window = this.#extend(window, { reverse: true });
    }
  }

  /** The window, if a range that starts at this bound can be read from it; else a new, empty one at the bound. */
  #windowAt(bound: string | undefined, { isStart }: { readonly isStart: boolean }): Window {
    const window = this.#window;
    if (window !== undefined) {
      const edge = isStart ? window.from : window.to;
      if (bound === undefined ? edge === undefined : contains(window, bound) || bound === window.to) return window;
    }
    // An empty interval has no inside; its open ends grow in the direction that is read.
    const fresh: Window = {
      from: bound,
      to: bound,
      items: [],
      valueBytes: 0,
      chunkItems: chunkItemsMin,
      moves: 0,
    };
    if (bound === undefined) {
      // The far end is unknown until it has been read: an interval that begins and ends before the first (or last) item.
      if (isStart) fresh.to = "";
      else fresh.from = lastKey;
    }
    this.#window = fresh;
    return fresh;
  }

  /** Reads the next items beyond one end. Gives another window where this one would get too large. */
  #extend(window: Window, { reverse }: { readonly reverse: boolean }): Window {
    const range: ItemRange = reverse
      ? { from: undefined, to: window.from === lastKey ? undefined : window.from, reverse }
      : { from: window.to === "" ? undefined : window.to, to: undefined, reverse };
    const chunk: StoredItem[] = [];
    let bytes = 0;
    for (const item of rangeOfLayers([this.overlay], this.#stored(range), range)) {
      if (item.value === null) continue;
      chunk.push(item);
      bytes += item.value.length;
      if (chunk.length >= window.chunkItems || bytes >= windowBytesMax / 4) break;
    }
    const isEnd = chunk.length < window.chunkItems && bytes < windowBytesMax / 4;
    let target = window;
    if (window.items.length + chunk.length > windowItemsMax || window.valueBytes + bytes > windowBytesMax) {
      const edge = reverse ? window.from : window.to;
      target = { from: edge, to: edge, items: [], valueBytes: 0, chunkItems: window.chunkItems, moves: 0 };
    }
    // The watchdog may strike in here, and then there is no window rather than one that breaks I1.
    this.#window = undefined;
    target.valueBytes += bytes;
    target.chunkItems = Math.min(chunkItemsMax, target.chunkItems * 2);
    if (reverse) {
      target.items.unshift(...chunk.reverse());
      target.from = isEnd ? undefined : target.items[0]!.key;
      target.moves++;
    } else {
      target.items.push(...chunk);
      target.to = isEnd ? undefined : successor(target.items.at(-1)!.key);
    }
    this.#window = target;
    this.#onGrowth();
    return target;
  }

  *#stored({ from, to, reverse }: ItemRange): Iterable<StoredItem> {
    const prefix = this.#prefix;
    const entries = this.#store.range({
      from: bytesOfBinary(from === undefined ? prefix : prefix + binary(from)),
      to: bytesOfBinary(to === undefined ? afterPrefix(prefix) : prefix + binary(to)),
      reverse,
    });
    for (const entry of entries) {
      yield { key: textOfBinary(binaryOfBytes(entry.key).slice(prefix.length)), value: entry.value };
    }
  }
}

/** After every key that is allowed: keys are well-formed, so none begins with the highest code point and goes on for ever. */
const lastKey = "\u{10FFFF}".repeat(129);

function successor(key: string): string {
  return `${key}\0`;
}

function contains(window: Window, key: string): boolean {
  return (
    (window.from === undefined || compareUtf8(key, window.from) >= 0) &&
    (window.to === undefined || compareUtf8(key, window.to) < 0)
  );
}

function isTooLarge(window: Window): boolean {
  return window.items.length > windowItemsMax || window.valueBytes > windowBytesMax;
}
