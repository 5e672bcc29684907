/**
 * An ordered map of byte strings that never changes: `with` gives a new one that shares all it did not touch. So a view,
 * a durable image and an image in the making are just three references, and a crash is an assignment.
 *
 * Entries stand in chunks of at most `chunkEntriesMax`; a change copies the list of chunks and the chunks it touches, which
 * for the sizes of a simulation (up to some 100,000 entries) costs a few microseconds.
 *
 * M1  Keys are strictly ascending by bytes, within a chunk and across chunks; no chunk is empty.
 * M2  A map that was handed out is never written again, nor are the arrays of bytes in it.
 */
import { compareBytes } from "../../base/bytes.ts";
import type { Entry, RangeOptions, Write } from "../store.ts";

const chunkEntriesMax = 64;

interface Chunk {
  readonly keys: readonly Uint8Array[];
  readonly values: readonly Uint8Array[];
}

export class OrderedMap {
  static readonly empty = new OrderedMap([], 0);

  readonly #chunks: readonly Chunk[];
  readonly size: number;

  private constructor(chunks: readonly Chunk[], size: number) {
    this.#chunks = chunks;
    this.size = size;
  }

  /** The stored array itself, not a copy. */
  get(key: Uint8Array): Uint8Array | undefined {
    const chunk = this.#chunks[this.#chunkOf(key)];
    if (chunk === undefined) return undefined;
    const index = lowerBound(chunk.keys, key);
    return index < chunk.keys.length && compareBytes(chunk.keys[index]!, key) === 0 ? chunk.values[index] : undefined;
  }

  /** Lazy; yields the stored arrays themselves. */
  *range(options: RangeOptions): IterableIterator<Entry> {
    const { from, to, reverse = false, limit = Number.POSITIVE_INFINITY } = options;
    if (compareBytes(from, to) >= 0) return;
    let count = 0;
    let chunkIndex = Math.max(0, this.#chunkOf(reverse ? to : from));
    let chunk = this.#chunks[chunkIndex];
    if (chunk === undefined) return;
    let index = reverse ? lowerBound(chunk.keys, to) - 1 : lowerBound(chunk.keys, from);
    while (count < limit) {
      if (index < 0 || index >= chunk.keys.length) {
        chunkIndex += reverse ? -1 : 1;
        chunk = this.#chunks[chunkIndex];
        if (chunk === undefined) return;
        index = reverse ? chunk.keys.length - 1 : 0;
      }
      const key = chunk.keys[index]!;
      if (reverse ? compareBytes(key, from) < 0 : compareBytes(key, to) >= 0) return;
      yield { key, value: chunk.values[index]! };
      count++;
      index += reverse ? -1 : 1;
    }
  }

  /** Keeps the arrays of `writes`: the caller never changes them again (M2). Later writes of one key win. */
  with(writes: readonly Write[]): OrderedMap {
    if (writes.length === 0) return this;
    const sorted = sortedLastWins(writes);
    const chunks: Chunk[] = [];
    let size = 0;
    let next = 0;
    // An empty map behaves as one empty chunk.
    const existing = this.#chunks.length === 0 ? [{ keys: [], values: [] }] : this.#chunks;
    for (let chunkIndex = 0; chunkIndex < existing.length; chunkIndex++) {
      const chunk = existing[chunkIndex]!;
      const firstOfNext = existing[chunkIndex + 1]?.keys[0];
      const begin = next;
      while (next < sorted.length && (firstOfNext === undefined || compareBytes(sorted[next]!.key, firstOfNext) < 0)) {
        next++;
      }
      if (begin === next) {
        if (chunk.keys.length > 0) chunks.push(chunk);
        size += chunk.keys.length;
      } else size += mergeChunk(chunk, sorted, begin, next, chunks);
    }
    return new OrderedMap(chunks, size);
  }

  /** The last chunk whose first key is not after `key`; 0 if all are after it, -1 for an empty map. */
  #chunkOf(key: Uint8Array): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareBytes(this.#chunks[middle]!.keys[0]!, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? (this.#chunks.length === 0 ? -1 : 0) : low - 1;
  }
}

/** Sorted by key, one write per key, the last one. Does not change its input. */
export function sortedLastWins(writes: readonly Write[]): Write[] {
  const sorted = [...writes].sort((a, b) => compareBytes(a.key, b.key));
  let kept = 0;
  for (let i = 0; i < sorted.length; i++) {
    // The sort is stable: of equal keys the later write stands later.
    if (i + 1 < sorted.length && compareBytes(sorted[i]!.key, sorted[i + 1]!.key) === 0) continue;
    sorted[kept++] = sorted[i]!;
  }
  sorted.length = kept;
  return sorted;
}

/** Appends to `into` what becomes of `chunk` with the writes [begin, end), in one or more chunks; returns their entries. */
function mergeChunk(chunk: Chunk, writes: readonly Write[], begin: number, end: number, into: Chunk[]): number {
  const keys: Uint8Array[] = [];
  const values: Uint8Array[] = [];
  let old = 0;
  for (let next = begin; next < end; next++) {
    const write = writes[next]!;
    while (old < chunk.keys.length && compareBytes(chunk.keys[old]!, write.key) < 0) {
      keys.push(chunk.keys[old]!);
      values.push(chunk.values[old]!);
      old++;
    }
    if (old < chunk.keys.length && compareBytes(chunk.keys[old]!, write.key) === 0) old++;
    if (write.value !== null) {
      keys.push(write.key);
      values.push(write.value);
    }
  }
  for (; old < chunk.keys.length; old++) {
    keys.push(chunk.keys[old]!);
    values.push(chunk.values[old]!);
  }
  if (keys.length === 0) return 0;
  const pieces = Math.ceil(keys.length / chunkEntriesMax);
  for (let piece = 0; piece < pieces; piece++) {
    const first = Math.floor((piece * keys.length) / pieces);
    const last = Math.floor(((piece + 1) * keys.length) / pieces);
    into.push(pieces === 1 ? { keys, values } : { keys: keys.slice(first, last), values: values.slice(first, last) });
  }
  return keys.length;
}

function lowerBound(keys: readonly Uint8Array[], key: Uint8Array): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(keys[middle]!, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
