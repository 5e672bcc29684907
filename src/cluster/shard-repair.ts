/**
 * Repairing a shard whose log was sealed because it is not whole: the member with the longest verified copy begins a new log with what
 * its copy says, and publishes it in the system log by compare-and-set (G8).
 *
 * RP1 Nothing is begun before every member has told how far its copy reaches, and for `graceMs` after the seal was seen: a node that
 *     restarts may have the longest.
 * RP2 One whose copy has less content leaves it to the one with the most (`copy-reach.ts`), of equal ones to the longest; of those the lowest
 *     member id does it.
 *     What the sealed log still has behind a copy, whole and chained, counts: it is taken first.
 * RP3 No copy is good enough that does not hold what an owner had in it when it gave the shard up, as the system log remembers: the shard
 *     stays quarantined until a node with such a copy is back.
 * RP4 Of two new logs the one that is published first is the shard's; the other is never used.
 */
import { toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { readGenesisPayload } from "../entity/genesis.ts";
import type { Host } from "../host/host.ts";
import type { LogEngine } from "../log/engine-log.ts";
import type { Blobs } from "../store/blobs.ts";
import { beginContinuingLog } from "./continuing-log.ts";
import { compareReaches } from "./copy-reach.ts";
import { LogFault } from "./log-fault.ts";
import type { ToldPosition } from "./copy-positions.ts";
import type { Anchor, Replica } from "./replica.ts";
import type { SystemRecord } from "./system-records.ts";
import type { ShardState } from "./system-state.ts";

export interface RepairParts {
  readonly host: Pick<Host, "clock" | "random" | "timers" | "trace">;
  readonly engine: LogEngine;
  /** Where the new log is to be. */
  readonly region: string | undefined;
  readonly member: string;
  readonly shard: ShardState;
  /** Nobody else works on it meanwhile. */
  readonly replica: Replica;
  /** RP3. */
  readonly anchor: Anchor | undefined;
  /** RP3: what an operator has to be told. Called at each attempt. */
  readonly onLacking: (facts: { readonly acknowledgedSequence: number; readonly longestSequence: number }) => void;
  readonly positions: () => Promise<{ readonly told: readonly ToldPosition[]; readonly isComplete: boolean }>;
  /** The place for the first snapshot of the log of this name. */
  readonly blobsOfNew: (log: string) => Blobs;
  readonly isWanted: () => boolean;
}

/** What to publish; undefined where it is not this member's to do, or can't be known yet. Throws `unavailable`. */
export async function repairShard(parts: RepairParts): Promise<SystemRecord | undefined> {
  const { host, engine, shard, replica, member } = parts;
  await takeWhatIsWhole(replica);
  const { end } = replica;
  const { told, isComplete } = await parts.positions();
  if (end === null || !isComplete) return undefined;
  const own = { contentSequence: replica.reach!.content.sequence, sequence: end.sequence };
  const isLongest = told.every(({ member: other, position, contentSequence }) => {
    const difference = compareReaches(own, { contentSequence, sequence: position?.sequence ?? 0 });
    return difference > 0 || (difference === 0 && member < other);
  });
  if (!isLongest) return undefined;
  if (parts.anchor !== undefined && !(await replica.holds(parts.anchor))) {
    parts.onLacking({ acknowledgedSequence: parts.anchor.sequence, longestSequence: end.sequence });
    return undefined;
  }
  await replica.fold();
  const log = `shard-${shard.id}-${toHex(host.random.bytes(6))}`;
  const view = replica.store.view();
  try {
    if (view.position?.sequence !== end.sequence) throw new OnefoldError("unavailable", "The store is not there yet.");
    const incarnation = await beginContinuingLog({
      host,
      engine,
      name: log,
      region: parts.region,
      parent: { ...end, timeMs: replica.timeMs },
      parentLog: shard.log,
      parentGenesis: readGenesisPayload(replica.store),
      view,
      blobs: parts.blobsOfNew(log),
      isWanted: parts.isWanted,
    });
    host.trace(
      "warn",
      "A shard goes on in a new log, begun from this node's copy. Look for what damaged the old one.",
      {
        shard: shard.id,
        log,
        sequence: end.sequence,
      },
    );
    const parent = { log: shard.log, ...positionAsText(end) };
    return { type: "repaired", shard: shard.id, log, incarnation: toHex(incarnation), parent };
  } finally {
    view.close();
  }
}

/** The damage may be before or behind what this copy lacks: as far as the sealed log goes on from it, it is as good as any. */
async function takeWhatIsWhole(replica: Replica): Promise<void> {
  try {
    await replica.catchUp();
  } catch (error) {
    // That is why it was sealed.
    if (!(error instanceof LogFault)) throw error;
  }
}

/** A position as the system log has it. */
export function positionAsText(position: {
  readonly incarnation: Uint8Array;
  readonly epoch: number;
  readonly sequence: number;
  readonly hash: Uint8Array;
}) {
  const { incarnation, epoch, sequence, hash } = position;
  return { incarnation: toHex(incarnation), epoch, sequence, hash: toHex(hash) };
}
