/**
 * The cluster as one node can tell of it to people and programs: what the system log says, and what every member answers about its own
 * shards. Who does not answer in time is shown so; nothing waits longer for it.
 */
import { compareUtf8 } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { ClusterView, FollowerView, NodeView, ShardView } from "../wire/cluster-view.ts";
import type { LocalShards } from "./local-shards.ts";
import type { Peers } from "./peers.ts";
import {
  type MemberState,
  presentMembers,
  presentShards,
  regionOfShard,
  type ShardState,
  type SystemState,
} from "./system-state.ts";

/** What a member says of the shards that it has, by id. A type and no interface: it travels as a value. */
type Standing = {
  readonly owned: {
    readonly [shard: string]: { readonly epoch: number; readonly sequence: number; readonly queuedCalls: number };
  };
  readonly copies: { readonly [shard: string]: { readonly sequence: number; readonly staleForMs: number | null } };
};

const method = "cluster.standing";
const askMs = 500;

export interface ViewParts {
  readonly peers: Peers;
  readonly map: { readonly state: SystemState };
  readonly local: LocalShards;
  /** How far this node's copies reach, by shard. */
  readonly reaches: () => Readonly<Record<string, number>>;
  /** This node's member. */
  readonly self: () => string | undefined;
}

/** Answers what other nodes ask. */
export function handleStandings(parts: ViewParts): void {
  parts.peers.handle(method, async () => ownStanding(parts));
}

/** Never throws for what others do or don't. Throws `not-ready` (retry safe) before the cluster is founded. */
export async function clusterView(parts: ViewParts, node: string): Promise<ClusterView> {
  const { peers, map, self } = parts;
  const asked = presentMembers(map.state);
  const standings = new Map<string, Standing>();
  await Promise.all(
    asked.map(async ({ id, address }) => {
      const standing = id === self() ? ownStanding(parts) : await askStanding(peers, address);
      if (standing !== undefined) standings.set(id, standing);
    }),
  );
  return describe(map.state, standings, node);
}

function ownStanding({ map, local, reaches }: ViewParts): Standing {
  const owned: Record<string, Standing["owned"][string]> = {};
  const copies: Record<string, Standing["copies"][string]> = {};
  const reached = reaches();
  for (const { id } of presentShards(map.state)) {
    const shard = local.owned(id);
    if (shard !== undefined) {
      const { sequence, queuedCalls } = shard.health();
      owned[id] = { epoch: shard.epoch, sequence, queuedCalls };
    } else if (reached[id] !== undefined) {
      copies[id] = { sequence: reached[id], staleForMs: local.follower(id)?.staleForMs ?? null };
    }
  }
  return { owned, copies };
}

async function askStanding(peers: Peers, address: string): Promise<Standing | undefined> {
  try {
    const answer: Value = await peers.call(address, method, null, { deadlineMs: askMs });
    return answer as unknown as Standing;
  } catch (error) {
    if (error instanceof OnefoldError) return undefined;
    throw error;
  }
}

/** Pure. */
export function describe(state: SystemState, standings: ReadonlyMap<string, Standing>, node: string): ClusterView {
  const { cluster, controller } = state;
  if (cluster === undefined) {
    throw new OnefoldError("not-ready", "The cluster is not founded yet.", { retryAfterMs: 500 });
  }
  const members = presentMembers(state);
  const shards = presentShards(state);
  const nameOf = (member: string | undefined): string | null => members.find(({ id }) => id === member)?.name ?? null;
  return {
    system: cluster.systemName,
    engine: "nats",
    cluster: cluster.id,
    node,
    controller: nameOf(controller?.member),
    nodes: [...members]
      .sort((a, b) => compareUtf8(a.name, b.name))
      .map((member) => describeNode(member, shards, standings.has(member.id))),
    shards: shards.map((shard) => ({
      ...describeShard(shard, standings, nameOf),
      region: regionOfShard(state, shard) ?? null,
    })),
  };
}

function describeNode(member: MemberState, shards: readonly ShardState[], answers: boolean): NodeView {
  const { id, name, status, httpUrl, address, labels, version } = member;
  return {
    name,
    status: status === "draining" ? status : "live",
    answers,
    httpUrl: httpUrl ?? null,
    address,
    labels,
    version,
    owned: shards.filter(({ owner }) => owner === id).length,
    followed: shards.filter(({ followers }) => followers.includes(id)).length,
  };
}

function describeShard(
  shard: ShardState,
  standings: ReadonlyMap<string, Standing>,
  nameOf: (member: string | undefined) => string | null,
): Omit<ShardView, "region"> {
  const { id, status, from, to, log, owner, movingTo, followers } = shard;
  const served = owner === undefined ? undefined : standings.get(owner)?.owned[id];
  const describeFollower = (member: string): FollowerView => {
    const copy = standings.get(member)?.copies[id];
    const lagBatches = served === undefined || copy === undefined ? null : Math.max(0, served.sequence - copy.sequence);
    return {
      node: nameOf(member) ?? member,
      sequence: copy?.sequence ?? null,
      lagBatches,
      staleForMs: copy?.staleForMs ?? null,
    };
  };
  return {
    id,
    status: status === "retired" ? "active" : status,
    slots: { from, to },
    log,
    owner: nameOf(owner),
    isServed: served !== undefined,
    movingTo: nameOf(movingTo),
    epoch: served?.epoch ?? null,
    sequence: served?.sequence ?? null,
    queuedCalls: served?.queuedCalls ?? null,
    followers: followers.map(describeFollower),
  };
}
