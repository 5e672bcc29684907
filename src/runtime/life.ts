/**
 * One life of an embedded node's shard: what is open, and what keeps it up, from its opening to its end. A node has many lives: it begins
 * another after its store was rebuilt, and after a move that came to nothing.
 */
import type { OpenParts } from "./opening.ts";
import type { Upkeep } from "./upkeep.ts";

export interface Life extends OpenParts {
  readonly upkeep: Upkeep;
}

/** Takes no more calls and finishes what was accepted; at return all of it is in the log, to which nobody appends any more. */
export async function endServing({ upkeep, snapshots, shard }: Life): Promise<void> {
  const upkeepEnded = upkeep.stop();
  const snapshotsEnded = snapshots.stop();
  await shard.close();
  await upkeepEnded;
  await snapshotsEnded;
}

/** Lets go of the files of a life that serves no more. */
export async function closeFiles({ log, store }: Life): Promise<void> {
  await log.close();
  await store.close();
}
