/**
 * What the system log says: members, the shard map, who is to own what. The fold itself is in `system-fold.ts`; every node has the
 * same, as far as it has read the log.
 */
import { type Region, regionOfRange } from "../base/regions.ts";
import type { Suspects } from "../entity/suspects.ts";

/** A member. Its id is its name and the random life that it joined with: a restarted node is another member. */
export interface MemberState {
  readonly id: string;
  readonly name: string;
  /** Where peers reach it (`Peers`). */
  readonly address: string;
  /** Where clients reach it; undefined where it serves none. */
  readonly httpUrl: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Of the program. */
  readonly version: string;
  /** What it can read: the highest format version of records. */
  readonly readerVersion: number;
  /** The schema versions of its code, by kind, where they are above 1. */
  readonly schemas: SchemaVersions;
  /** `draining`: owns what it owns until it has handed it over, gets nothing new. `gone`: expired or left; its id never comes back. */
  readonly status: "live" | "draining" | "gone";
  /** The sequence of the system log at which its lease was renewed last. */
  readonly renewedAt: number;
  /** What its wall clock showed when it wrote that renewal: see `clock-check.ts`. */
  readonly wallMs: number;
}

/** Versions of states' schemas by kind; a kind that is not named has version 1, or is not known. */
export type SchemaVersions = Readonly<Record<string, number>>;

/** What all of the cluster could read and run when it was told so: see `deployed-code.ts`. */
export interface DeployedCode {
  readonly readerVersion: number;
  readonly schemas: SchemaVersions;
}

/** A part of a shard that is to be split, or was. */
export interface ChildRange {
  readonly id: string;
  /** Slots from ≤ slot < to. */
  readonly from: number;
  readonly to: number;
}

export interface ShardState {
  readonly id: string;
  /** Slots from ≤ slot < to. */
  readonly from: number;
  readonly to: number;
  /** The engine's name of its present log: another one for each incarnation. */
  readonly log: string;
  /** Of that log, as hex; undefined for a shard's first, whose genesis its first owner writes. */
  readonly incarnation: string | undefined;
  /**
   * `active`; `splitting`: its owner is sealing it to begin `children`; `quarantined`: its log is sealed and is repaired from the
   * nodes' copies; `retired`: split, its children serve.
   */
  readonly status: "active" | "splitting" | "quarantined" | "retired";
  /**
   * The member that is to own it; undefined where there is none. Only a claim in its own log makes it the owner. Owner, followers and
   * `movingTo` are never `gone`.
   */
  readonly owner: string | undefined;
  /** Members that follow it, in order of preference for a takeover. */
  readonly followers: readonly string[];
  /** One more with each change of `owner`: which assignment a node acts on. */
  readonly assignment: number;
  /** Where a planned move is under way: the member that shall own it once the present owner has released it. */
  readonly movingTo: string | undefined;
  /** The log that this one continues, and where: after a split or a repair. Hash and incarnation as hex. */
  readonly parent: ParentPosition | undefined;
  /** Its newest snapshot that is known to be whole, if one was taken since the log was begun. */
  readonly snapshot: SnapshotPlace | undefined;
  /**
   * Where an owner that gave it up had brought this log: nothing shorter is ever served or repaired from (G8), whoever else is there to
   * remember it. Undefined before the first release.
   */
  readonly anchor: LogPlace | undefined;
  /** An operator has asked for a split into so many, which is not ordered yet. */
  readonly splitInto: number | undefined;
  /** Of a split that is ordered or done: those that take its slots, ascending. */
  readonly children: readonly ChildRange[];
}

/** Each ownership has a place of its own for its snapshots; `sequence` is the log's, of the newest one there. */
export interface SnapshotPlace {
  readonly epoch: number;
  readonly sequence: number;
}

/** A place in the present log. Hash as hex. */
export interface LogPlace {
  readonly epoch: number;
  readonly sequence: number;
  readonly hash: string;
}

/** A place in a log, whose name it says. Hash and incarnation as hex. */
export interface ParentPosition extends LogPlace {
  readonly log: string;
  readonly incarnation: string;
}

export interface SystemState {
  /** Entities whose calls nodes died in, by name: one with enough deaths is in quarantine on every node (G10). */
  readonly suspects: Suspects;
  /** 16 random bytes as hex, and the system's name; undefined before the founding record. */
  readonly cluster: ClusterIdentity | undefined;
  readonly members: ReadonlyMap<string, MemberState>;
  readonly shards: ReadonlyMap<string, ShardState>;
  /** Who decides placement: the member, which may be gone by now, and the term in which it does. */
  readonly controller: { readonly member: string; readonly term: number } | undefined;
  /** Undefined before the first controller has looked. */
  readonly deployed: DeployedCode | undefined;
  /** Undefined where the cluster was founded without regions. */
  readonly regions: RegionsState | undefined;
  /** Of a cluster that an embedded system moves to, or has moved to. */
  readonly promotion: PromotionState | undefined;
  /** The newest two checkpoints' sequences, ascending: the log may be trimmed before the older one, if there are two. */
  readonly checkpoints: readonly number[];
  /** The last record that is folded in; 0 for none. */
  readonly sequence: number;
}

/**
 * An embedded system's way to the cluster. Until it is `activated` the cluster has no shards: the embedded node has the system. The last
 * attempt is the one that counts, and once `abandoned` it never takes hold.
 */
export interface PromotionState {
  /** 16 random bytes as hex. */
  readonly attempt: string;
  /** Where the embedded node's log is copied to. */
  readonly log: string;
  readonly status: "copying" | "activated" | "abandoned";
  /** What the first owner found in its store before it changed anything: the digest of its state, as hex. */
  readonly verified: { readonly member: string; readonly digest: string } | undefined;
}

/** Decided when the cluster is founded. */
export interface RegionsState {
  readonly list: readonly Region[];
  /** Every kind that the cluster has ever run, with the name of the region that it is pinned to; `""` for none. Never changed. */
  readonly kinds: Readonly<Record<string, string>>;
}

export interface ClusterIdentity {
  readonly id: string;
  readonly systemName: string;
  /** 32 random bytes: the key of session tokens, the same for all shards. */
  readonly secret: Uint8Array;
  readonly shardCount: number;
  /** Copies of each shard besides the owner's. */
  readonly followerCount: number;
}

export const emptySystemState: SystemState = {
  suspects: new Map(),
  cluster: undefined,
  members: new Map(),
  shards: new Map(),
  controller: undefined,
  deployed: undefined,
  regions: undefined,
  promotion: undefined,
  checkpoints: [],
  sequence: 0,
};

/** The shard that holds the slot now; undefined before the cluster is founded, and while its system is still elsewhere (`promotion`). */
export function shardOfSlot(state: SystemState, slot: number): ShardState | undefined {
  for (const shard of state.shards.values()) {
    if (shard.status !== "retired" && shard.from <= slot && slot < shard.to) return shard;
  }
  return undefined;
}

/** Whether the member is in the cluster, as far as the log says: one that was forgotten is as gone as one that is marked so. */
export function isPresent(state: SystemState, member: string): boolean {
  const status = state.members.get(member)?.status;
  return status !== undefined && status !== "gone";
}

/** The members that are not gone, in the order in which they joined. */
export function presentMembers(state: SystemState): readonly MemberState[] {
  return [...state.members.values()].filter((member) => member.status !== "gone");
}

/** The shards that hold slots now, by their slots. */
export function presentShards(state: SystemState): readonly ShardState[] {
  return [...state.shards.values()].filter((shard) => shard.status !== "retired").sort((a, b) => a.from - b.from);
}

/** The name of the region that the shard never leaves; undefined for one that may be anywhere. */
export function regionOfShard(state: SystemState, shard: ChildRange): string | undefined {
  return state.regions === undefined ? undefined : regionOfRange(state.regions.list, shard)?.name;
}

/** The member's label; undefined for one that is in no region. */
export function regionOfMember({ labels }: MemberState): string | undefined {
  return labels.region;
}

/** Whether the member may have any of the shard: it is in the shard's region, if that has one. */
export function isInReach(state: SystemState, shard: ChildRange, member: string): boolean {
  const region = regionOfShard(state, shard);
  const known = state.members.get(member);
  return region === undefined || (known !== undefined && regionOfMember(known) === region);
}
