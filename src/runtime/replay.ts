/**
 * The replay: folds what the log holds beyond the store, before anything is served. Runs no user code.
 *
 * V1  What it applies is whole records in order, with the position of the last of them: it can end anywhere and go on.
 * V2  A log that begins behind the store's end is never replayed over the gap.
 */
import { OnefoldError } from "../base/errors.ts";
import { decodeBatch } from "../entity/batch.ts";
import { foldBatch, WriteSet } from "../entity/fold.ts";
import type { Log, LogPosition } from "../log/log.ts";
import type { Store, Write } from "../store/store.ts";
import { foldGenesis } from "./genesis.ts";

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
  const slots = new Set<number>();
  let writes = new WriteSet();
  let genesis: Write[] = [];
  let bytes = 0;
  let position: LogPosition | undefined;
  const applyPortion = async (to: LogPosition): Promise<void> => {
    await store.apply([...genesis, ...writes], to);
    for (const slot of writes.slots) slots.add(slot);
    writes = new WriteSet();
    genesis = [];
    bytes = 0;
  };
  for await (const record of log.scan(from)) {
    if (record.kind === "genesis") genesis.push(foldGenesis(record.payload));
    if (record.kind === "batch") foldBatch(decodeBatch(record.payload), record.sequence, writes);
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
