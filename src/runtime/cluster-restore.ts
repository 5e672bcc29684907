/**
 * Restoring the backup of a cluster into an engine in which there is no cluster yet: all of it, verified, or nothing.
 *
 * CR1 What is written to the engine counts for nothing before the record that founds the cluster stands (RL1); that comes last, when the
 *     backup was read to its end and verified, and every shard's snapshot was read back.
 * CR2 Each shard's state is the backup's, byte for byte: kept outcomes, outbox and inbox, timers, prepared and decided transactions with it,
 *     so that what was under way at the cut goes on as after a crash of all nodes (CC1).
 * CR3 Every log is a new incarnation, which goes on from the backup's numbers, in a new epoch; the cluster is a new one, with a new id and a new
 *     system log. The secret stays, so that an old session's token is told from a forged one.
 */
import { BackupContents } from "../backup/contents.ts";
import { BackupDecoder, type WholeBackup } from "../backup/decoder.ts";
import { type ClusterSummary, isOfCluster, type ShardSummary } from "../backup/summary.ts";
import { toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { firstPlace } from "../cluster/continuing-log.ts";
import { holdsAllSlots } from "../cluster/restore-fold.ts";
import { RestoringLog } from "../cluster/restoring-log.ts";
import { sendUntilKnown } from "../cluster/sending.ts";
import { positionAsText } from "../cluster/shard-repair.ts";
import type { RestoredShard } from "../cluster/system-records.ts";
import type { ClusterIdentity } from "../cluster/system-state.ts";
import { continuingGenesis, decodeGenesis } from "../entity/genesis.ts";
import type { Host } from "../host/host.ts";
import { incarnationBytes, positionOf } from "../log/record.ts";
import type { Blobs } from "../store/blobs.ts";
import { encodeManifest, type Manifest, publishNewest } from "../store/manifest.ts";
import { verifySnapshot } from "../store/snapshot.ts";
import type { ClusterEngine } from "./cluster-engine.ts";
import { assertStrict } from "./promotion.ts";
import type { RestoreProgress } from "./restore.ts";

export interface ClusterRestoreOptions {
  /** Its disk's root is a directory of this restore alone, to be thrown away. */
  readonly host: Pick<Host, "disk" | "clock" | "random" | "timers" | "trace">;
  readonly limits: Limits;
  /** Stays the caller's to close. */
  readonly engine: ClusterEngine;
  readonly allowsLaxEngine: boolean;
  /** The backup, in chunks of any size. Read only as fast as it is written. */
  readonly backup: AsyncIterable<Uint8Array>;
  readonly sizeBytes?: number;
  readonly onProgress?: (progress: RestoreProgress) => void;
}

export interface ClusterRestoreReport {
  readonly systemName: string;
  readonly takenAtMs: number;
  readonly sizeBytes: number;
  /** The cluster that was backed up, and the one that there is now. */
  readonly parent: string;
  readonly cluster: string;
  readonly shardCount: number;
}

/** For a log's first record. */
const beginMs = 60_000;

/** One shard's state, as it stands in the engine. */
interface Place {
  readonly log: string;
  readonly blobs: Blobs;
}

/**
 * At return the cluster has begun, durably; nodes that join it serve it. Throws `damaged` and `unsupported-version` (retry never) for the
 * backup, with the part in its `details`; `invalid-configuration` (never) for a backup of one node, an engine with a cluster, or a lax one;
 * `unavailable` (safe), `outcome-unknown`, and what reading `backup` throws. What was written before stays in the engine, and is never used.
 */
export async function restoreToCluster(options: ClusterRestoreOptions): Promise<ClusterRestoreReport> {
  const { host, limits, engine, allowsLaxEngine } = options;
  await assertStrict({ host, engine, options: { allowsLaxEngine } });
  const systemLog = await RestoringLog.open({ host, limits, engine: engine.logs, directory: "system" });
  try {
    await systemLog.assertEmpty();
    const { whole, manifests, places } = await readInto(options);
    const summary = clusterSummary(whole);
    const shards: RestoredShard[] = [];
    for (const [index, shard] of summary.shards.entries()) {
      shards.push(await beginShard(options, shard, manifests[index]!, places[index]!));
    }
    const { shardCount, followerCount, id: parent } = summary.cluster;
    const cluster: ClusterIdentity = {
      id: toHex(host.random.bytes(incarnationBytes)),
      systemName: summary.systemName,
      secret: decodeGenesis(summary.shards[0]!.genesis).secret,
      shardCount,
      followerCount,
    };
    await systemLog.found({ type: "restored", cluster, shards });
    return {
      systemName: summary.systemName,
      takenAtMs: whole.header.takenAtMs,
      sizeBytes: whole.sizeBytes,
      parent,
      cluster: cluster.id,
      shardCount: shards.length,
    };
  } finally {
    await systemLog.close();
  }
}

async function readInto(options: ClusterRestoreOptions): Promise<{
  readonly whole: WholeBackup;
  readonly manifests: readonly Manifest[];
  readonly places: readonly Place[];
}> {
  const { backup, engine, host, sizeBytes: bytesTotal, onProgress } = options;
  const decoder = new BackupDecoder();
  const contents = new BackupContents();
  const places: Place[] = [];
  for await (const chunk of backup) {
    for (const blob of decoder.push(chunk)) {
      if (decoder.header!.version === 1) throw loneBackup();
      contents.note(blob);
      if (blob.kind === "manifest") {
        const log = `shard-r${places.length}-${toHex(host.random.bytes(6))}`;
        places.push({ log, blobs: engine.blobs(firstPlace(log)) });
      } else {
        const place = places.at(-1);
        if (place === undefined) throw new OnefoldError("damaged", "The backup has a piece that belongs to no shard.");
        await place.blobs.put(blob.content);
      }
    }
    onProgress?.({ step: "reading", bytes: decoder.sizeBytes, bytesTotal });
  }
  const whole = decoder.end();
  return { whole, manifests: contents.manifests(whole), places };
}

function clusterSummary({ summary }: WholeBackup): ClusterSummary {
  if (!isOfCluster(summary)) throw loneBackup();
  if (holdsAllSlots(summary.shards)) return summary;
  throw new OnefoldError("damaged", "The backup's shards do not hold every slot once. Take another one.");
}

/** CR2, CR3: its snapshot, read back and under the new incarnation, and a log that goes on from it. */
async function beginShard(
  { host, engine, onProgress }: ClusterRestoreOptions,
  { id, from, to, log: parentLog, position, genesis }: ShardSummary,
  manifest: Manifest,
  { log, blobs }: Place,
): Promise<RestoredShard> {
  const { timers, random, clock } = host;
  let bytes = 0;
  const counting: Pick<Blobs, "get"> = {
    get: async (address) => {
      const content = await blobs.get(address);
      bytes += content.length;
      onProgress?.({ step: "verifying", bytes, bytesTotal: undefined });
      return content;
    },
  };
  const takeTurn = (): Promise<void> => new Promise((resolve) => timers.soon(resolve));
  await verifySnapshot({ manifest, blobs: counting, yield: takeTurn });
  const parent = positionOf(position);
  const before = { ...position, incarnation: random.bytes(incarnationBytes) };
  await publishNewest(blobs, [await blobs.put(encodeManifest({ ...manifest, position: positionOf(before) }))]);
  // The parent's log is not in this engine: history begins here.
  const { record, link } = continuingGenesis(genesis, parent, before, clock);
  const created = await engine.logs.create(log, { firstSequence: link.sequence });
  const giveUpAtMs = clock.monotonicMs() + beginMs;
  const isWanted = (): boolean => clock.monotonicMs() < giveUpAtMs;
  const fate = await sendUntilKnown(created, link.sequence, record, { timers, isWanted });
  if (fate !== "ours") throw new OnefoldError("unavailable", `The log ${log} could not be begun.`);
  const incarnation = toHex(before.incarnation);
  return { id, from, to, log, incarnation, parent: { log: parentLog, ...positionAsText(parent) } };
}

function loneBackup(): OnefoldError {
  return new OnefoldError(
    "invalid-configuration",
    "This is the backup of a node that serves alone. Restore it with --data, and move it to a cluster with `onefold promote`.",
  );
}
