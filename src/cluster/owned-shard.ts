/** The shard object of an ownership: a `Shard` on the owned log and the replica's store, with its snapshots. */
import { fromHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { Shard } from "../entity/shard.ts";
import { Coordinator } from "../transaction/coordinator.ts";
import { OwnedLog } from "./owned-log.ts";
import type { Replica } from "./replica.ts";
import type { ShardHostParts } from "./shard-host.ts";
import { ShardSnapshots } from "./shard-snapshots.ts";

export interface OpenOwnedShard {
  readonly shard: Shard;
  readonly epoch: number;
  readonly snapshots: ShardSnapshots;
}

/**
 * Begins to serve; the replica's end is this ownership's claim, and its store is there. `onStopped` hears, once, that the shard has
 * stopped by itself, perhaps before this returns: with `damaged` where the store must be made anew.
 */
export function openOwnedShard(
  parts: Omit<ShardHostParts, "quarantined"> & { readonly quarantined: ReadonlySet<string> },
  replica: Replica,
  epoch: number,
  onStopped: (error: OnefoldError) => void,
): OpenOwnedShard {
  const { host, limits, system, cluster, neighbours, mayTellDurable, cacheBytes, measureLog, quarantined } = parts;
  const { store } = replica;
  const log = new OwnedLog(replica, host.clock);
  let isStopped = false;
  const shard = new Shard({
    host,
    limits,
    system,
    log: measureLog?.(log) ?? log,
    store,
    lastTimeMs: replica.timeMs,
    secret: cluster.secret,
    sessionsOf: fromHex(cluster.id),
    mayTellDurable,
    quarantined,
    neighbours,
    past: parts.pastOf(replica),
    ...(cacheBytes === undefined ? {} : { cacheBytes }),
    transactions: (core) => new Coordinator(core, host.newScope()),
    onStopped: (error, { isDamage }) => {
      isStopped = true;
      onStopped(isDamage ? new OnefoldError("damaged", error.message, { cause: error }) : error);
    },
  });
  const snapshots = new ShardSnapshots({
    host,
    store,
    log,
    blobs: parts.blobsOfEpoch(epoch),
    publish: parts.publishSnapshot,
    applier: shard.applier,
    snapshotBytes: parts.snapshotBytes,
  });
  shard.start();
  if (!isStopped) snapshots.start();
  return { shard, epoch, snapshots };
}
