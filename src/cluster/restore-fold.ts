/**
 * The part of the system log's fold that is about a cluster that begins with a backup. Its invariants are those of `system-fold.ts`, and:
 *
 * RF1 Only a log that nobody has founded a cluster in is restored to: what is there is never replaced.
 * RF2 The shards hold every slot once, each in a log of its own (SF2): else the record changes nothing.
 */
import { limits } from "../base/limits.ts";
import { newShard } from "./placement-fold.ts";
import { isShardCount, type RestoredShard, type SystemRecord } from "./system-records.ts";
import type { ShardState, SystemState } from "./system-state.ts";

export function restore(
  state: SystemState,
  { cluster, shards }: Extract<SystemRecord, { readonly type: "restored" }>,
): SystemState {
  if (state.cluster !== undefined || !isShardCount(cluster.shardCount) || !holdsAllSlots(shards)) return state;
  const restored = shards.map((shard): [string, ShardState] => [shard.id, { ...newShard, ...shard }]);
  return { ...state, cluster, shards: new Map(restored) };
}

/** RF2. In the order of their slots. */
export function holdsAllSlots(shards: readonly Pick<RestoredShard, "id" | "from" | "to" | "log">[]): boolean {
  let next = 0;
  for (const { from, to } of shards) {
    if (from !== next || to <= from) return false;
    next = to;
  }
  const areDistinct = [shards.map(({ id }) => id), shards.map(({ log }) => log)].every(
    (names) => new Set(names).size === shards.length,
  );
  return next === limits.slotCount && shards.length <= limits.shardsMax && areDistinct;
}
