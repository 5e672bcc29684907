/**
 * Turns a view of the store into the pieces of a snapshot.
 *
 * Keys of slot tables are [table < 0x80: 1 byte][slot: 2, big-endian][rest]; of global tables [table ≥ 0x80][rest]. A range of
 * slots is dumped slot by slot, within a slot table by table, within a table in order of keys.
 *
 * C1  A range ends only at the end of a slot, and keeps its place from snapshot to snapshot until it outgrows twice the
 *     target: so the ranges without a change are the same bytes, whoever dumps them.
 * C2  One slot that is larger than that has several pieces, cut behind keys that their own hash chooses: an entry more
 *     moves the cuts near it, not all cuts behind it.
 * C3  No more than about three times the target is held in memory, and the event loop gets its turn every few hundred entries.
 */
import { assert } from "../base/assert.ts";
import { crc32 } from "../base/digest.ts";
import { limits } from "../base/limits.ts";
import type { Blobs } from "./blobs.ts";
import { keyEnd } from "./key.ts";
import type { Piece, SlotRange } from "./manifest.ts";
import { countEntries, entryHeaderBytes, PieceBuffer, readEntries } from "./snapshot-piece.ts";
import type { Entry, StoreReader } from "./store.ts";

export const globalTableFirst = 0x80;
export const pieceBytesTarget = 1024 * 1024;
const rangeBytesMax = 2 * pieceBytesTarget;
/** Entries between two turns of the event loop: about a millisecond of reading. */
const entriesPerTurn = 400;
/** One key in so many ends a piece that has reached its target size. */
const cutOneIn = 64;

export interface DumpOptions {
  readonly view: StoreReader;
  readonly blobs: Pick<Blobs, "put">;
  /** Gives other work its turn. */
  readonly yield: () => Promise<void>;
}

/** Dumps the slots `firstSlot` to `lastSlot` into as many ranges as their size asks for. */
export async function dumpSlots(
  options: DumpOptions,
  tables: readonly number[],
  firstSlot: number,
  lastSlot: number,
): Promise<SlotRange[]> {
  const dump = new Dump(options, firstSlot);
  for (const [slot, entry] of slotMajor(options.view, tables, firstSlot, lastSlot)) {
    await dump.add(slot, entry);
  }
  return dump.finish(lastSlot);
}

/** Dumps all global tables. */
export async function dumpGlobal(options: DumpOptions): Promise<readonly Piece[]> {
  const dump = new Dump(options, 0);
  const range = { from: Uint8Array.of(globalTableFirst), to: keyEnd };
  for (const entry of options.view.range(range)) await dump.add(0, entry);
  const ranges = await dump.finish(0);
  return ranges[0]!.pieces;
}

/** The slot tables that have entries. */
export function slotTables(view: StoreReader): number[] {
  const tables: number[] = [];
  for (let table = 0; table < globalTableFirst; table++) {
    for (const _ of view.range({ from: Uint8Array.of(table), to: Uint8Array.of(table + 1), limit: 1 }))
      tables.push(table);
  }
  return tables;
}

function* slotMajor(
  view: StoreReader,
  tables: readonly number[],
  firstSlot: number,
  lastSlot: number,
): IterableIterator<[slot: number, entry: Entry]> {
  const cursors = tables.map((table) => {
    const from = Uint8Array.of(table, firstSlot >> 8, firstSlot & 0xff);
    // The last range takes whatever is left of the table, so that a slot out of bounds is found, not lost.
    const next = lastSlot + 1;
    const to = next === limits.slotCount ? Uint8Array.of(table + 1) : Uint8Array.of(table, next >> 8, next & 0xff);
    return view.range({ from, to })[Symbol.iterator]();
  });
  try {
    const heads = cursors.map((cursor) => headOf(cursor));
    for (;;) {
      let slot = Number.POSITIVE_INFINITY;
      for (const head of heads) if (head !== undefined) slot = Math.min(slot, slotOf(head));
      if (slot === Number.POSITIVE_INFINITY) return;
      assert(slot < limits.slotCount, "a slot table's key has a slot that exists");
      for (let index = 0; index < heads.length; index++) {
        let head = heads[index];
        while (head !== undefined && slotOf(head) === slot) {
          yield [slot, head];
          head = headOf(cursors[index]!);
        }
        heads[index] = head;
      }
    }
  } finally {
    for (const cursor of cursors) cursor.return?.();
  }
}

function headOf(cursor: Iterator<Entry>): Entry | undefined {
  const result = cursor.next();
  return result.done === true ? undefined : result.value;
}

/** Of a slot table's key. */
export function slotOf({ key }: Entry): number {
  assert(key.length >= 3, "a slot table's key has its slot");
  return (key[1]! << 8) | key[2]!;
}

/** Gathers entries, cuts them (C1, C2) and stores the pieces. */
class Dump {
  readonly #options: DumpOptions;
  readonly #ranges: SlotRange[] = [];
  readonly #buffer = new PieceBuffer();
  /** Where in the buffer the slots that are whole in it end. */
  #slotEnds: { slot: number; end: number }[] = [];
  /** Pieces of the range that is under way: not empty only while its one slot is too large for one piece. */
  #pieces: Piece[] = [];
  #firstSlot: number;
  #slot: number;
  #entriesThisTurn = 0;

  constructor(options: DumpOptions, firstSlot: number) {
    this.#options = options;
    this.#firstSlot = firstSlot;
    this.#slot = firstSlot;
  }

  async add(slot: number, entry: Entry): Promise<void> {
    if (slot !== this.#slot) await this.#endSlot(slot);
    this.#buffer.append(entry);
    while (this.#buffer.length > rangeBytesMax) await this.#cut();
    if (++this.#entriesThisTurn >= entriesPerTurn) {
      this.#entriesThisTurn = 0;
      await this.#options.yield();
    }
  }

  async finish(lastSlot: number): Promise<SlotRange[]> {
    if (this.#buffer.length > 0) await this.#store(this.#buffer.length);
    this.#endRange(lastSlot);
    return this.#ranges;
  }

  async #endSlot(next: number): Promise<void> {
    if (this.#pieces.length > 0) {
      if (this.#buffer.length > 0) await this.#store(this.#buffer.length);
      this.#endRange(this.#slot);
    } else if (this.#buffer.length > 0) this.#slotEnds.push({ slot: this.#slot, end: this.#buffer.length });
    this.#slot = next;
  }

  async #cut(): Promise<void> {
    const boundary = this.#slotEnds.find(({ end }) => end >= pieceBytesTarget) ?? this.#slotEnds.at(-1);
    if (boundary === undefined) {
      await this.#store(cutWithinSlot(this.#buffer.encoded()));
      return;
    }
    await this.#store(boundary.end);
    this.#endRange(boundary.slot);
    this.#slotEnds = this.#slotEnds
      .filter(({ end }) => end > boundary.end)
      .map(({ slot, end }) => ({ slot, end: end - boundary.end }));
  }

  async #store(length: number): Promise<void> {
    const bytes = this.#buffer.take(length);
    const entryCount = countEntries(bytes.subarray(bytes.length - length));
    await this.#options.yield();
    // `put` reads it back and verifies it (O1).
    const address = await this.#options.blobs.put(bytes);
    this.#pieces.push({ address, sizeBytes: bytes.length, entryCount });
    this.#entriesThisTurn = 0;
    await this.#options.yield();
  }

  #endRange(lastSlot: number): void {
    this.#ranges.push({ firstSlot: this.#firstSlot, lastSlot, pieces: this.#pieces });
    this.#pieces = [];
    this.#firstSlot = lastSlot + 1;
  }
}

function cutWithinSlot(encoded: Uint8Array): number {
  let end = 0;
  for (const { key, value } of readEntries(encoded)) {
    end += entryHeaderBytes + key.length + value.length;
    if (end >= pieceBytesTarget && crc32(key) % cutOneIn === 0) return end;
  }
  return end;
}
