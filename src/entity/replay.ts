/**
 * The replay: folds what the log holds beyond the store, before anything is served. Runs no user code.
 *
 * V1  What it applies is whole records in order, with the position of the last of them: it can end anywhere and go on.
 * V2  A log that begins behind the store's end is never replayed over the gap.
 */
import { OnefoldError } from "../base/errors.ts";
import { decodeBatch } from "./batch.ts";
import { foldBatch, WriteSet } from "./fold.ts";
import type { Log, LogPosition } from "../log/log.ts";
import type { LogRecord } from "../log/record.ts";
import type { Store, StoreReader, Write } from "../store/store.ts";
import { bytesOfBinary, keys } from "./keys.ts";
import { foldGenesis } from "./genesis.ts";

const ownershipKey = bytesOfBinary(keys.meta("ownership"));

/** The last claim, release or seal of the log that the store is the fold of, as it stands there. */
export function readOwnershipRecord(store: StoreReader): Uint8Array | undefined {
  return store.get(ownershipKey);
}

/** Log that is folded into one transaction of the store, and writes: each may touch another place of the store's file. */
const portionBytes = 4 * 1024 * 1024;
const portionWrites = 4096;

/**
 * Brings `store` up to the log's end; returns the slots that this has changed. `onPortion` hears of each sequence that has
 * been reached on the way. Throws `damaged` (retry never) for a log that is, or that begins too late (V2), and `DiskError`:
 * `full` leaves the store at some earlier position.
 */
export async function replay(
  log: Log,
  store: Store,
  onPortion: (sequence: number) => void,
): Promise<ReadonlySet<number>> {
  const from = (store.position?.sequence ?? 0) + 1;
  if (from < log.firstSequence) {
    throw new OnefoldError(
      "damaged",
      `The store must be rebuilt, but the log begins at ${log.firstSequence} and no whole snapshot reaches there. Restore a backup.`,
      { details: { firstSequence: log.firstSequence, neededSequence: from } },
    );
  }
  return foldRecords(log.scan(from), store, onPortion);
}

/**
 * Folds records that follow the store's position, contiguous and verified, as `replay` does; returns the slots that this has changed.
 * Throws `damaged` for a batch that can't be read, and `DiskError`.
 */
export async function foldRecords(
  records: Iterable<LogRecord> | AsyncIterable<LogRecord>,
  store: Store,
  onPortion: (sequence: number) => void = () => undefined,
): Promise<ReadonlySet<number>> {
  const slots = new Set<number>();
  let writes = new WriteSet();
  let meta: Write[] = [];
  let bytes = 0;
  let position: LogPosition | undefined;
  const applyPortion = async (to: LogPosition): Promise<void> => {
    await store.apply([...meta, ...writes], to);
    for (const slot of writes.slots) slots.add(slot);
    writes = new WriteSet();
    meta = [];
    bytes = 0;
  };
  for await (const record of records) {
    // Whoever owned what this log continues does not own this one.
    if (record.kind === "genesis") meta.push(foldGenesis(record.payload), { key: ownershipKey, value: null });
    else if (record.kind === "batch") foldBatch(decodeBatch(record.payload), record.sequence, writes);
    else meta.push({ key: ownershipKey, value: record.bytes });
    bytes += record.payload.length;
    const { incarnation, epoch, sequence, hash } = record;
    position = { incarnation, epoch, sequence, hash };
    if (bytes < portionBytes && writes.size < portionWrites) continue;
    await applyPortion(position);
    onPortion(sequence);
  }
  if (position !== undefined && position.sequence !== store.position?.sequence) await applyPortion(position);
  return slots;
}
