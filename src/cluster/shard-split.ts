/**
 * Splitting a shard: its owner has taken what it had accepted into the log, seals it, and begins a log for each part, with the part of
 * the state that goes on there. Publishing them in the system log is the moment from which they are the shards (docs/cluster.md).
 *
 * SP1 A transaction that is prepared and undecided would be in two shards: then the split is given up, before anything is sealed.
 * SP2 A crash at any step leaves a log that is sealed for a split, or not even that: the next owner finishes it.
 */
import { toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { readGenesisPayload } from "../entity/genesis.ts";
import { hasRowsOf } from "../entity/fold.ts";
import { viewOfSlots } from "../entity/slots.ts";
import type { Host } from "../host/host.ts";
import type { LogEngine } from "../log/engine-log.ts";
import type { Blobs } from "../store/blobs.ts";
import { beginContinuingLog } from "./continuing-log.ts";
import type { Replica } from "./replica.ts";
import { sendUntilKnown } from "./sending.ts";
import { nextRecord } from "./shard-records.ts";
import { positionAsText } from "./shard-repair.ts";
import type { PublishedChild, SystemRecord } from "./system-records.ts";
import type { ChildRange, ShardState } from "./system-state.ts";

export interface SplitParts {
  readonly host: Pick<Host, "clock" | "random" | "timers" | "trace">;
  readonly engine: LogEngine;
  readonly member: string;
  readonly shard: ShardState;
  /** Folded to its end; nobody else works on it. */
  readonly replica: Replica;
  /** Where a part's log is to be. */
  readonly regionOf: (range: ChildRange) => string | undefined;
  readonly blobsOfNew: (log: string, range: ChildRange) => Blobs;
  readonly isWanted: () => boolean;
}

/** What to publish. Throws `unavailable` (retry safe) where the engine can't be reached, or it is not wanted any more. */
export async function splitShard(parts: SplitParts): Promise<SystemRecord> {
  const { shard, replica, host } = parts;
  if (replica.ownership?.kind !== "seal") {
    if (hasRowsOf(replica.store, "prepared")) {
      host.trace("info", "A shard is not split now: a transaction is not decided yet.", { shard: shard.id });
      return { type: "split-abandoned", shard: shard.id, log: shard.log };
    }
    await sealForSplit(parts);
    await replica.fold();
  }
  const children: PublishedChild[] = [];
  for (const child of shard.children) children.push(await beginChild(parts, child));
  return { type: "split-published", shard: shard.id, log: shard.log, children };
}

async function sealForSplit({ host, member, replica, isWanted }: SplitParts): Promise<void> {
  const end = replica.end!;
  const record = nextRecord(
    { ...end, timeMs: replica.timeMs },
    { kind: "seal", epoch: end.epoch, wallMs: host.clock.wallMs() },
    { member, reason: "split", detail: "its slots go on in other logs", nonce: host.random.bytes(16) },
  );
  const fate = await sendUntilKnown(replica.log, record.sequence, record, { timers: host.timers, isWanted });
  if (fate !== "ours") throw new OnefoldError("unavailable", "The shard's log could not be sealed for a split.");
  await replica.take(record.bytes);
}

async function beginChild(
  { host, engine, replica, shard, regionOf, blobsOfNew, isWanted }: SplitParts,
  child: ChildRange,
): Promise<PublishedChild> {
  const { id, from, to } = child;
  const end = replica.end!;
  const log = `shard-${id}-${toHex(host.random.bytes(6))}`;
  const view = replica.store.view();
  try {
    const incarnation = await beginContinuingLog({
      host,
      engine,
      name: log,
      region: regionOf(child),
      parent: { ...end, timeMs: replica.timeMs },
      parentLog: shard.log,
      parentGenesis: readGenesisPayload(replica.store),
      view: viewOfSlots(view, { firstSlot: from, lastSlot: to - 1 }),
      blobs: blobsOfNew(log, child),
      isWanted,
    });
    return { id, log, incarnation: toHex(incarnation), parent: { log: shard.log, ...positionAsText(end) } };
  } finally {
    view.close();
  }
}
