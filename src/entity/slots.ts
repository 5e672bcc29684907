/**
 * A part of a store, by slots: what the store of a shard begins with that takes over some of another's slots in a split.
 *
 * SL1 Every row of a slot table, and every row of an index that is derived from it, belongs to one slot: of parts that cover all
 *     slots and share none, each such row is in exactly one.
 * SL2 What is about the whole shard (`meta`) is in every part: a child's own genesis then takes its parent's place.
 * SL3 Both halves of a pair of slots go with the slot that they are about: the sender's outbox and last number with the sender
 *     slot, the receiver's mark with the receiver slot. So the pair goes on wherever its slots are.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Entry, StoreReader, StoreView } from "../store/store.ts";
import { decodeDueTimer, decodeListing } from "./fold.ts";
import { type BinaryString, binaryOfBytes, bytesOfBinary, readUint16, type TableName, tables, uint16 } from "./keys.ts";

/** Inclusive at both ends. */
export interface SlotRange {
  readonly firstSlot: number;
  readonly lastSlot: number;
}

const firstIndexTable = 0x80;

/** What the rows of tables over all slots say of whose they are: a slot, or nothing where they are of the whole shard. */
type SlotOfRow = (key: BinaryString, value: Uint8Array) => number | undefined;

/** Every table from 0x80 on; the others tell by their keys. */
const slotOfIndexRow = {
  listing: (_key, value) => decodeListing(value),
  timerDue: (_key, value) => decodeDueTimer(value).slot,
  // Behind the time, the key of the record that expires: one of a slot table.
  expiry: (key) => readUint16(key, 10),
  garbage: (key) => readUint16(key, 1),
  meta: () => undefined,
} as const satisfies { readonly [name in TableName]?: SlotOfRow };

const slotOfTable: ReadonlyMap<number, SlotOfRow> = new Map(
  Object.entries(slotOfIndexRow).map(([name, slotOf]) => [tables[name as TableName], slotOf]),
);

/**
 * The rows that the store of a shard with these slots holds, in order of their keys. `store` must be at the end of its log, and
 * not change meanwhile. Pure. Throws `damaged` where a row is, and `unsupported-version` for a table that is not known.
 */
export function* rowsOfSlots(store: StoreReader, { firstSlot, lastSlot }: SlotRange): Iterable<Entry> {
  for (let table = 1; table < firstIndexTable; table++) {
    const name = String.fromCharCode(table);
    yield* store.range({
      from: bytesOfBinary(name + uint16(firstSlot)),
      to: bytesOfBinary(name + uint16(lastSlot + 1)),
    });
  }
  for (const row of store.range({ from: Uint8Array.of(firstIndexTable), to: Uint8Array.of(0xff) })) {
    if (isOfSlots(row, { firstSlot, lastSlot })) yield row;
  }
}

/** The part of a view that the store of a shard with these slots holds: of the same position, without what is not theirs. */
export function viewOfSlots(view: StoreView, slots: SlotRange): StoreView {
  return {
    get position() {
      return view.position;
    },
    get: (key) => {
      const value = view.get(key);
      return value !== undefined && isOfSlots({ key, value }, slots) ? value : undefined;
    },
    *range({ limit = Number.POSITIVE_INFINITY, ...options }) {
      let count = 0;
      for (const row of view.range(options)) {
        if (!isOfSlots(row, slots)) continue;
        if (++count > limit) return;
        yield row;
      }
    },
    close: () => view.close(),
  };
}

function isOfSlots(row: Entry, { firstSlot, lastSlot }: SlotRange): boolean {
  const slot = row.key[0]! < firstIndexTable ? readUint16(binaryOfBytes(row.key.subarray(0, 3)), 1) : slotOfIndex(row);
  return slot === undefined || (slot >= firstSlot && slot <= lastSlot);
}

function slotOfIndex({ key, value }: Entry): number | undefined {
  const slotOf = slotOfTable.get(key[0]!);
  if (slotOf === undefined) {
    throw new OnefoldError("unsupported-version", `The store's table ${key[0]} is of a newer version of Onefold.`);
  }
  return slotOf(binaryOfBytes(key), value);
}
