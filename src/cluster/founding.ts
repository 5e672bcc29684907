/** Founding a cluster: whoever appends the system log's first record has founded it, and the others take what it says. */
import { toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Host } from "../host/host.ts";
import type { SystemLog } from "./system-log.ts";
import { isShardCount, type SystemRecord } from "./system-records.ts";
import type { ClusterIdentity, RegionsState, SystemState } from "./system-state.ts";

export interface FoundingOptions {
  readonly systemName: string;
  /** A power of two up to `limits.shardsMax`: the shards divide the slots evenly. */
  readonly shardCount: number;
  readonly followerCount: number;
  /** See `regionsToFound`. */
  readonly regions?: RegionsState | undefined;
  /** False: only joins a cluster that there is, so that a system can be moved to a new one while its nodes are up already. */
  readonly mayFound?: boolean;
}

/**
 * The cluster's identity: as founded with these options, or as another has founded it. Throws `invalid-configuration` (retry never) for
 * options out of bounds, or where the log is another system's; `unavailable` (retry safe) where the log can't be read or written in time,
 * and where nobody has founded a cluster that this node is not to found.
 */
export async function foundOrJoin(
  log: SystemLog,
  host: Pick<Host, "random">,
  options: FoundingOptions,
  { deadlineMs }: { readonly deadlineMs: number },
): Promise<ClusterIdentity> {
  const { systemName, shardCount, followerCount, regions, mayFound = true } = options;
  if (
    !isShardCount(shardCount) ||
    !Number.isInteger(followerCount) ||
    followerCount < 0 ||
    followerCount > limits.followersMax
  ) {
    throw new OnefoldError(
      "invalid-configuration",
      `A cluster has 1 to ${limits.shardsMax} shards, a power of two, and 0 to ${limits.followersMax} followers of each.`,
    );
  }
  const cluster = {
    id: toHex(host.random.bytes(16)),
    systemName,
    secret: host.random.bytes(32),
    shardCount,
    followerCount,
  };
  if (log.state.cluster === undefined) {
    const isDue = ({ cluster: founded }: SystemState): boolean => mayFound && founded === undefined;
    const records: readonly SystemRecord[] = [
      { type: "founded", cluster },
      ...(regions === undefined ? [] : [{ type: "regions-founded", regions } as const]),
    ];
    await log.propose((state) => (isDue(state) ? records : undefined), { deadlineMs });
  }
  // Whatever became of the proposal: the log says who has founded it, or this node's copy of it does.
  const founded = log.state.cluster;
  if (founded === undefined) {
    const message = mayFound
      ? "The cluster's system log can't be reached."
      : "The cluster is not founded yet: this node waits until a system is moved to it with `onefold promote`.";
    throw new OnefoldError("unavailable", message, { retryAfterMs: 1000 });
  }
  if (founded.systemName === systemName) return founded;
  throw new OnefoldError(
    "invalid-configuration",
    `The cluster runs the system ${founded.systemName}, not ${systemName}. Start this node with that system, or on another engine account.`,
  );
}
