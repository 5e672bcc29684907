/**
 * The part of the system log's fold that is about shards: who has them, how they split and are repaired. Its invariants are those of
 * `system-fold.ts`; each function gives the state back as it was where its record doesn't apply.
 *
 *                 ┌──abandoned──┐
 *     active ──ordered──▶ splitting ──published──▶ retired, and its children active
 *       │ ▲                   │
 *       │ └──────repaired─────┼──────┐
 *       └──quarantined──▶ quarantined
 */
import { limits } from "../base/limits.ts";
import { isShardCount, type SystemRecord } from "./system-records.ts";
import {
  type ChildRange,
  type ClusterIdentity,
  isPresent,
  type LogPlace,
  type ParentPosition,
  presentShards,
  type ShardState,
  type SystemState,
} from "./system-state.ts";

type Saying<T extends SystemRecord["type"]> = Extract<SystemRecord, { readonly type: T }>;

/** Whether a decision of this term is to be taken: its controller is still in office (SF3). */
export function decisionHolds(state: SystemState, term: number): boolean {
  return state.controller?.term === term && isPresent(state, state.controller.member);
}

/** The first record's shard map: shards of one size, each with a log of its own that nobody has begun. */
export function found(state: SystemState, cluster: ClusterIdentity): SystemState {
  if (state.cluster !== undefined || !isShardCount(cluster.shardCount)) return state;
  const slots = limits.slotCount / cluster.shardCount;
  const shards = new Map<string, ShardState>();
  for (let index = 0; index < cluster.shardCount; index++) {
    const id = String(index);
    shards.set(id, { ...newShard, id, from: index * slots, to: (index + 1) * slots, log: `shard-${id}` });
  }
  return { ...state, cluster, shards };
}

export const newShard = {
  incarnation: undefined,
  status: "active",
  owner: undefined,
  followers: [],
  assignment: 0,
  movingTo: undefined,
  parent: undefined,
  anchor: undefined,
  snapshot: undefined,
  splitInto: undefined,
  children: [],
} as const;

export function assign(state: SystemState, record: Saying<"assigned">): SystemState {
  const { owner, followers, assignment } = record;
  return change(state, record.shard, (shard) => {
    const isSame = owner === shard.owner;
    const isNext = assignment === shard.assignment + (isSame ? 0 : 1);
    if (shard.status === "retired" || !isNext || followers.length > limits.followersMax) return undefined;
    const named = owner === undefined ? followers : [owner, ...followers];
    if (new Set(named).size < named.length || !named.every((id) => isPresent(state, id))) return undefined;
    return { ...shard, owner, followers, assignment, movingTo: isSame ? shard.movingTo : undefined };
  });
}

export function planMove(state: SystemState, { shard: id, to, assignment }: Saying<"move-planned">): SystemState {
  return change(state, id, (shard) => {
    const isOpen = shard.status === "active" && shard.owner !== undefined && shard.movingTo === undefined;
    if (!isOpen || shard.assignment !== assignment || shard.owner === to || !isPresent(state, to)) return undefined;
    return { ...shard, movingTo: to };
  });
}

export function release(state: SystemState, { shard: id, member, assignment, end }: Saying<"released">): SystemState {
  const followerCount = state.cluster?.followerCount ?? 0;
  return change(state, id, (shard) => {
    if (shard.status === "retired" || shard.owner !== member || shard.assignment !== assignment) return undefined;
    const owner = shard.movingTo;
    const others = shard.followers.filter((follower) => follower !== owner);
    // The copy of who had it is the best there is: it follows, in the place of the one that it goes to.
    const followers =
      owner === undefined
        ? [...others, member].slice(0, limits.followersMax)
        : [member, ...others].slice(0, Math.max(shard.followers.length, Math.min(1, followerCount)));
    const isNews = end?.log === shard.log && end.sequence > (shard.anchor?.sequence ?? 0);
    const anchor = isNews ? placeOf(end) : shard.anchor;
    return { ...shard, owner, followers, assignment: assignment + 1, movingTo: undefined, anchor };
  });
}

function placeOf({ epoch, sequence, hash }: ParentPosition): LogPlace {
  return { epoch, sequence, hash };
}

/** SF4: who is gone has nothing. */
export function withoutMember(state: SystemState, member: string): SystemState {
  const shards = new Map(state.shards);
  for (const shard of state.shards.values()) {
    const isOwner = shard.owner === member;
    if (!isOwner && shard.movingTo !== member && !shard.followers.includes(member)) continue;
    shards.set(shard.id, {
      ...shard,
      owner: isOwner ? undefined : shard.owner,
      assignment: shard.assignment + (isOwner ? 1 : 0),
      movingTo: isOwner || shard.movingTo === member ? undefined : shard.movingTo,
      followers: shard.followers.filter((follower) => follower !== member),
    });
  }
  return { ...state, shards };
}

// -------------------------------------------------------------------------------------------------------------- splits

export function askSplit(state: SystemState, { shard: id, parts }: Saying<"split-asked">): SystemState {
  return change(state, id, (shard) => {
    const isPossible = parts >= 2 && parts <= limits.splitPartsMax && parts <= shard.to - shard.from;
    return shard.status === "active" && isPossible && hasRoomFor(state, parts)
      ? { ...shard, splitInto: parts }
      : undefined;
  });
}

/** SF7: with one more shard split into so many. */
export function hasRoomFor(state: SystemState, parts: number): boolean {
  const splitting = presentShards(state).reduce((sum, shard) => sum + Math.max(1, shard.children.length), 0);
  return splitting - 1 + parts <= (state.regions === undefined ? limits.shardsMax : limits.shardsWithRegionsMax);
}

export function orderSplit(state: SystemState, { shard: id, children }: Saying<"split-ordered">): SystemState {
  return change(state, id, (shard) => {
    const isOpen = shard.status === "active" && shard.movingTo === undefined;
    const isNew = children.every((child, index) => {
      return !state.shards.has(child.id) && children.findIndex((each) => each.id === child.id) === index;
    });
    const isAllowed = children.length <= limits.splitPartsMax && hasRoomFor(state, children.length);
    if (!isOpen || !isNew || !isAllowed || !divides(shard, children)) return undefined;
    return { ...shard, status: "splitting", splitInto: undefined, children };
  });
}

/** SF2: the children hold the shard's slots, each of them once. */
function divides(shard: ShardState, children: readonly ChildRange[]): boolean {
  let from = shard.from;
  for (const child of children) {
    if (child.from !== from || child.to <= child.from) return false;
    from = child.to;
  }
  return from === shard.to && children.length >= 2;
}

export function abandonSplit(state: SystemState, { shard: id, log }: Saying<"split-abandoned">): SystemState {
  return change(state, id, (shard) =>
    shard.status === "splitting" && shard.log === log ? { ...shard, status: "active", children: [] } : undefined,
  );
}

export function publishSplit(state: SystemState, record: Saying<"split-published">): SystemState {
  const parent = state.shards.get(record.shard);
  if (parent?.status !== "splitting" || parent.log !== record.log) return state;
  const isWhole =
    record.children.length === parent.children.length &&
    parent.children.every((child, index) => child.id === record.children[index]!.id && !state.shards.has(child.id));
  if (!isWhole) return state;
  const { owner, followers } = parent;
  const shards = new Map(state.shards);
  const nothing = { owner: undefined, followers: [], movingTo: undefined, anchor: undefined, snapshot: undefined };
  shards.set(parent.id, { ...parent, ...nothing, status: "retired" });
  for (const [index, { id, log, incarnation, parent: position }] of record.children.entries()) {
    const { from, to } = parent.children[index]!;
    // Their logs and snapshots are where the parent's owner is.
    const first = { owner, followers, assignment: owner === undefined ? 0 : 1, log, incarnation, parent: position };
    shards.set(id, { ...newShard, ...first, id, from, to });
  }
  return { ...state, shards };
}

/** An owner that has been replaced may still publish: what a later epoch has published stays. */
export function publishSnapshot(state: SystemState, record: Saying<"snapshot-published">): SystemState {
  const { epoch, sequence } = record;
  return change(state, record.shard, (shard) => {
    const { snapshot } = shard;
    const isNewer =
      snapshot === undefined || epoch > snapshot.epoch || (epoch === snapshot.epoch && sequence > snapshot.sequence);
    return isNewer && shard.log === record.log ? { ...shard, snapshot: { epoch, sequence } } : undefined;
  });
}

// ------------------------------------------------------------------------------------------------- quarantine and repair

export function quarantine(state: SystemState, { shard: id, log }: Saying<"quarantined">): SystemState {
  return change(state, id, (shard) => {
    const isServed = shard.status === "active" || shard.status === "splitting";
    if (!isServed || shard.log !== log) return undefined;
    return { ...shard, status: "quarantined", movingTo: undefined, splitInto: undefined, children: [] };
  });
}

export function repair(state: SystemState, record: Saying<"repaired">): SystemState {
  const { log, incarnation, parent } = record;
  return change(state, record.shard, (shard) => {
    if (shard.status !== "quarantined" || shard.log !== parent.log || log === parent.log) return undefined;
    return { ...shard, status: "active", log, incarnation, parent, anchor: undefined, snapshot: undefined };
  });
}

/** The state with that shard changed; as it was where there is none, or `next` says so. */
function change(state: SystemState, id: string, next: (shard: ShardState) => ShardState | undefined): SystemState {
  const shard = state.shards.get(id);
  const changed = shard === undefined ? undefined : next(shard);
  return changed === undefined ? state : { ...state, shards: new Map(state.shards).set(id, changed) };
}
