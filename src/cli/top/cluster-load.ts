/** How busy the parts of a cluster were between two looks at `GET /v1/cluster`: what `onefold top` shows of it besides the node that it asks. */
import type { ClusterView, NodeView, ShardView } from "../../wire/cluster-view.ts";

export interface NodeLoad {
  readonly name: string;
  readonly status: NodeView["status"];
  readonly answers: boolean;
  readonly isController: boolean;
  readonly owned: number;
  readonly followed: number;
  /** Of the shards that it owns. */
  readonly batchesPerSecond: number;
  /** What the copies that it keeps for others lack, at most. */
  readonly lagBatches: number;
}

export interface ShardLoad {
  readonly id: string;
  /** `unserved` where nobody serves it just now. */
  readonly status: ShardView["status"] | "unserved";
  /** That it never leaves; null where it may be anywhere. */
  readonly region: string | null;
  readonly owner: string | null;
  readonly epoch: number | null;
  readonly batchesPerSecond: number;
  readonly queuedCalls: number;
  readonly lagBatches: number;
}

export interface ClusterLoad {
  readonly nodes: readonly NodeLoad[];
  /** Those that need looking at first, then the busiest. */
  readonly shards: readonly ShardLoad[];
}

/** A shard that went on in another log, or has an owner that was not heard before, has no rate for once. */
export function clusterLoadBetween(before: ClusterView, now: ClusterView, seconds: number): ClusterLoad {
  const shards = now.shards.map((shard) => shardLoad(before, shard, seconds));
  return {
    nodes: now.nodes.map((node) => {
      const own = shards.filter(({ owner }) => owner === node.name);
      const copies = now.shards.flatMap(({ followers }) => followers.filter((follower) => follower.node === node.name));
      const { name, status, answers, owned, followed } = node;
      return {
        name,
        status,
        answers,
        isController: now.controller === name,
        owned,
        followed,
        batchesPerSecond: own.reduce((sum, { batchesPerSecond }) => sum + batchesPerSecond, 0),
        lagBatches: Math.max(0, ...copies.map(({ lagBatches }) => lagBatches ?? 0)),
      };
    }),
    shards: shards.sort(
      (a, b) => Number(isWell(a)) - Number(isWell(b)) || b.batchesPerSecond - a.batchesPerSecond || compare(a.id, b.id),
    ),
  };
}

export function isWell({ status }: ShardLoad): boolean {
  return status === "active";
}

function shardLoad(before: ClusterView, shard: ShardView, seconds: number): ShardLoad {
  const { id, status, region, log, owner, isServed, epoch, sequence, queuedCalls, followers } = shard;
  const earlier = before.shards.find((each) => each.id === id && each.log === log)?.sequence ?? null;
  const grown = sequence === null || earlier === null ? 0 : Math.max(0, sequence - earlier);
  return {
    id,
    status: status === "active" && !isServed ? "unserved" : status,
    region,
    owner,
    epoch,
    batchesPerSecond: grown / Math.max(0.001, seconds),
    queuedCalls: queuedCalls ?? 0,
    lagBatches: Math.max(0, ...followers.map(({ lagBatches }) => lagBatches ?? 0)),
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
