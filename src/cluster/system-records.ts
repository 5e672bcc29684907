/**
 * What the system log says, record by record: members, the controller's decisions, what nodes have done. A log record's payload is a
 * list of these, as a Onefold value; they take effect together. Specified in `docs/format.md`.
 *
 * SR1 A payload that decodes has exactly these shapes; what a later version added to one of them is passed over.
 * SR2 A type that this version doesn't know is `unsupported-version`, never skipped: the state would be another one (G11).
 * SR3 Decisions carry the controller's term; what nodes report carries what it is about (assignment, log), so that whatever comes too
 *     late is known by itself.
 */
import { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Region } from "../base/regions.ts";
import { decodeValue, encodeValue, type Value } from "../base/value.ts";
import type { Suspect } from "../entity/suspects.ts";
import type {
  ChildRange,
  ClusterIdentity,
  DeployedCode,
  MemberState,
  ParentPosition,
  PromotionState,
  RegionsState,
  SchemaVersions,
  LogPlace,
  ShardState,
  SnapshotPlace,
  SystemState,
} from "./system-state.ts";
import {
  bytesOf,
  hexOf,
  listOf,
  mapOf,
  object,
  oneOf,
  optional,
  properties,
  type Reader,
  ShapeFault,
  text,
  tokenOf,
  whole,
} from "./value-shape.ts";

/** An entity by what its name is made of. */
export type EntityParts = Pick<Suspect, "tenant" | "kind" | "id">;

/** A part of a split as its owner has made it. */
export interface PublishedChild {
  readonly id: string;
  readonly log: string;
  readonly incarnation: string;
  readonly parent: ParentPosition;
}

/** A whole state, as a checkpoint holds it. */
export interface StateImage {
  readonly cluster: ClusterIdentity | undefined;
  readonly members: readonly MemberState[];
  readonly shards: readonly ShardState[];
  readonly suspects: readonly Suspect[];
  readonly controller: SystemState["controller"];
  readonly deployed: SystemState["deployed"];
  readonly regions: SystemState["regions"];
  readonly promotion: SystemState["promotion"];
  readonly checkpoints: readonly number[];
  readonly sequence: number;
}

/** What a member says of itself when it joins. */
export type MemberDescription = Omit<MemberState, "status" | "renewedAt" | "wallMs">;

export type SystemRecord =
  /** The log's first record, and nowhere else. */
  | { readonly type: "founded"; readonly cluster: ClusterIdentity }
  // ---- an embedded node that moves here: see `promotion-fold.ts`
  /** Instead of `founded`, or after an earlier attempt of the same system: a cluster without shards, which waits for its system. */
  | {
      readonly type: "promotion-begun";
      readonly cluster: ClusterIdentity;
      readonly attempt: string;
      readonly log: string;
    }
  /** The moment from which the system is here: one shard with all slots, in a log that continues the copy of the embedded one. */
  | {
      readonly type: "promotion-activated";
      readonly attempt: string;
      readonly log: string;
      readonly incarnation: string;
      readonly parent: ParentPosition;
    }
  /** The system stays where it was: this attempt never takes hold any more. */
  | { readonly type: "promotion-abandoned"; readonly attempt: string }
  /** What the shard's first owner has found in its store. */
  | {
      readonly type: "promotion-verified";
      readonly attempt: string;
      readonly member: string;
      readonly digest: string;
    }
  // ---- regions: see `regions-fold.ts`
  /** Right behind the founding, in the same payload, and nowhere else. A cluster without regions has none. */
  | { readonly type: "regions-founded"; readonly regions: RegionsState }
  /** Kinds that the cluster has not run before. Holds only if it contradicts nothing that stands. */
  | { readonly type: "kinds-declared"; readonly kinds: RegionsState["kinds"] }
  // ---- a member of itself
  | { readonly type: "joined"; readonly member: MemberDescription; readonly wallMs: number }
  | { readonly type: "renewed"; readonly member: string; readonly wallMs: number }
  | { readonly type: "draining"; readonly member: string }
  | { readonly type: "left"; readonly member: string }
  /** Takes the controller's office; the term is the last one's plus 1. */
  | { readonly type: "controller-claimed"; readonly member: string; readonly term: number }
  // ---- the controller's decisions
  /** Holds only if the member has not renewed since `renewedAt`. */
  | { readonly type: "expired"; readonly term: number; readonly member: string; readonly renewedAt: number }
  /** `assignment`: the present one where the owner stays, that plus 1 where it changes. */
  | {
      readonly type: "assigned";
      readonly term: number;
      readonly shard: string;
      readonly owner: string | undefined;
      readonly followers: readonly string[];
      readonly assignment: number;
    }
  /** The owner of this assignment shall release the shard, for `to`. */
  | {
      readonly type: "move-planned";
      readonly term: number;
      readonly shard: string;
      readonly to: string;
      readonly assignment: number;
    }
  | {
      readonly type: "split-ordered";
      readonly term: number;
      readonly shard: string;
      readonly children: readonly ChildRange[];
    }
  /** Every live member has this code: who owns shards may write what it takes this to read. */
  | { readonly type: "deployed"; readonly term: number; readonly code: DeployedCode }
  // ---- what is asked of the controller
  | { readonly type: "split-asked"; readonly shard: string; readonly parts: number }
  // ---- what nodes have done
  /** The owner of this assignment has given the shard up, or has never claimed it and won't: who it moves to has it, else nobody. */
  | {
      readonly type: "released";
      readonly shard: string;
      readonly member: string;
      readonly assignment: number;
      /** Everything up to here was acknowledged, or stands in the log for other reasons. Absent where it was never claimed. */
      readonly end: ParentPosition | undefined;
    }
  /** The split can't be done now; the shard goes on. Only before its log was sealed. */
  | { readonly type: "split-abandoned"; readonly shard: string; readonly log: string }
  /** Of those for one log, the first holds. */
  | {
      readonly type: "split-published";
      readonly shard: string;
      readonly log: string;
      readonly children: readonly PublishedChild[];
    }
  /** A snapshot of the shard's state at `sequence` of this log is whole in the engine, in the place of this epoch's owner. */
  | {
      readonly type: "snapshot-published";
      readonly shard: string;
      readonly log: string;
      readonly epoch: number;
      readonly sequence: number;
    }
  /** A seal stands in the log because it is not whole. */
  | { readonly type: "quarantined"; readonly shard: string; readonly log: string; readonly detail: string }
  /** The shard goes on in another log. Of those for one `parent.log`, the first holds. */
  | {
      readonly type: "repaired";
      readonly shard: string;
      readonly log: string;
      readonly incarnation: string;
      readonly parent: ParentPosition;
    }
  // ---- entities that end processes: see `suspect-fold.ts`
  /** A node that starts again has died while this entity ran: so many times, the last at that moment. */
  | { readonly type: "suspected"; readonly suspect: Suspect }
  /** A call of it that looked dangerous has ended by itself: it was not to blame. Not for one in quarantine. */
  | { readonly type: "cleared"; readonly entity: EntityParts }
  /** An operator lets it serve again, or forgets what it is suspected of. */
  | { readonly type: "quarantine-lifted"; readonly entity: EntityParts }
  /**
   * This log goes on from a damaged one, whose position this is. In the first record of a successor, before the checkpoint that holds the
   * state there.
   */
  | { readonly type: "continued"; readonly parent: ParentPosition }
  /** The state before this record: alone in its payload, but for `continued`. Who starts may begin with it. */
  | { readonly type: "checkpoint"; readonly state: StateImage };

export type SystemRecordType = SystemRecord["type"];
type OfType<T extends SystemRecordType> = Extract<SystemRecord, { readonly type: T }>;

const memberId = tokenOf(limits.memberIdBytesMax);
const shardId = tokenOf(limits.shardIdBytesMax);
const logName = tokenOf(limits.logNameBytesMax);
const hash = hexOf(32);
const incarnation = hexOf(16);

const cluster = object<ClusterIdentity>({
  id: hexOf(16),
  systemName: text,
  secret: bytesOf(32),
  shardCount: (value, what) => {
    const count = whole(value, what);
    if (isShardCount(count)) return count;
    throw new ShapeFault(`${what} does not divide the slots evenly`);
  },
  followerCount: (value, what) => {
    const count = whole(value, what);
    if (count <= limits.followersMax) return count;
    throw new ShapeFault(`${what} is larger than ${limits.followersMax}`);
  },
});

/** Absent where an earlier version wrote it. */
const schemaVersions: Reader<SchemaVersions> = (value, what) => (value === undefined ? {} : mapOf(whole)(value, what));
const deployedCode = object<DeployedCode>({ readerVersion: whole, schemas: schemaVersions });

const kinds: Reader<RegionsState["kinds"]> = mapOf(text);
const regions = object<RegionsState>({
  list: listOf(object<Region>({ name: text, from: whole, to: whole })),
  kinds,
});

const description = {
  id: memberId,
  name: text,
  address: text,
  httpUrl: optional(text),
  labels: mapOf(text),
  version: text,
  readerVersion: whole,
  schemas: schemaVersions,
} as const;

const attempt = hexOf(16);
const parent = object<ParentPosition>({ log: logName, incarnation, epoch: whole, sequence: whole, hash });
const place = object<LogPlace>({ epoch: whole, sequence: whole, hash });
const child = object<ChildRange>({ id: shardId, from: whole, to: whole });

const entity = { tenant: text, kind: text, id: text } as const;
const suspect = object<Suspect>({ ...entity, what: text, deaths: whole, lastDeathMs: whole });
/** Absent where an earlier version wrote it. */
const suspects: Reader<readonly Suspect[]> = (value, what) => (value === undefined ? [] : listOf(suspect)(value, what));

const image = object<StateImage>({
  cluster: optional(cluster),
  members: listOf(
    object<MemberState>({
      ...description,
      status: oneOf("live", "draining", "gone"),
      renewedAt: whole,
      wallMs: whole,
    }),
  ),
  shards: listOf(
    object<ShardState>({
      id: shardId,
      from: whole,
      to: whole,
      log: logName,
      incarnation: optional(incarnation),
      status: oneOf("active", "splitting", "quarantined", "retired"),
      owner: optional(memberId),
      followers: listOf(memberId),
      assignment: whole,
      movingTo: optional(memberId),
      parent: optional(parent),
      splitInto: optional(whole),
      anchor: optional(place),
      snapshot: optional(object<SnapshotPlace>({ epoch: whole, sequence: whole })),
      children: listOf(child),
    }),
  ),
  suspects,
  controller: optional(object<{ readonly member: string; readonly term: number }>({ member: memberId, term: whole })),
  deployed: optional(deployedCode),
  regions: optional(regions),
  promotion: optional(
    object<PromotionState>({
      attempt,
      log: logName,
      status: oneOf("copying", "activated", "abandoned"),
      verified: optional(object<NonNullable<PromotionState["verified"]>>({ member: memberId, digest: hash })),
    }),
  ),
  checkpoints: listOf(whole),
  sequence: whole,
});

const readers: { readonly [T in SystemRecordType]: Reader<Omit<OfType<T>, "type">> } = {
  founded: object({ cluster }),
  "promotion-begun": object({ cluster, attempt, log: logName }),
  "promotion-activated": object({ attempt, log: logName, incarnation, parent }),
  "promotion-abandoned": object({ attempt }),
  "promotion-verified": object({ attempt, member: memberId, digest: hash }),
  "regions-founded": object({ regions }),
  "kinds-declared": object({ kinds }),
  joined: object({ member: object<MemberDescription>(description), wallMs: whole }),
  renewed: object({ member: memberId, wallMs: whole }),
  draining: object({ member: memberId }),
  left: object({ member: memberId }),
  "controller-claimed": object({ member: memberId, term: whole }),
  expired: object({ term: whole, member: memberId, renewedAt: whole }),
  assigned: object<Omit<OfType<"assigned">, "type">>({
    term: whole,
    shard: shardId,
    owner: optional(memberId),
    followers: listOf(memberId),
    assignment: whole,
  }),
  "move-planned": object({ term: whole, shard: shardId, to: memberId, assignment: whole }),
  "split-ordered": object({ term: whole, shard: shardId, children: listOf(child) }),
  deployed: object({ term: whole, code: deployedCode }),
  "split-asked": object({ shard: shardId, parts: whole }),
  released: object({ shard: shardId, member: memberId, assignment: whole, end: optional(parent) }),
  "split-abandoned": object({ shard: shardId, log: logName }),
  "split-published": object({
    shard: shardId,
    log: logName,
    children: listOf(object<PublishedChild>({ id: shardId, log: logName, incarnation, parent })),
  }),
  "snapshot-published": object({ shard: shardId, log: logName, epoch: whole, sequence: whole }),
  quarantined: object({ shard: shardId, log: logName, detail: text }),
  repaired: object({ shard: shardId, log: logName, incarnation, parent }),
  suspected: object({ suspect }),
  cleared: object({ entity: object<EntityParts>(entity) }),
  "quarantine-lifted": object({ entity: object<EntityParts>(entity) }),
  continued: object({ parent }),
  checkpoint: object({ state: image }),
};

/** Whether the slots can be divided among so many shards, all of one size. */
export function isShardCount(count: number): boolean {
  return count >= 1 && count <= limits.shardsMax && limits.slotCount % count === 0;
}

/** The state's room for them (SF7). */
export function fitsRegions(regions: RegionsState): boolean {
  const { list, kinds: known } = regions;
  return (
    list.length <= limits.regionsMax &&
    Object.keys(known).length <= limits.kindsWithRegionsMax &&
    encodeValue({ list: list.map((region) => ({ ...region })), kinds: { ...known } }).length <= limits.regionsBytesMax
  );
}

/** A log record's payload. Throws `too-large`, or `invalid-value` for text that UTF-8 can't carry (retry never). */
export function encodeSystemRecords(records: readonly SystemRecord[]): Uint8Array {
  for (const record of records) {
    if (record.type === "joined") checkSize(record.member);
  }
  const payload = encodeValue(records, { what: "the system log's records" });
  if (payload.length <= limits.batchBytesMax) return payload;
  throw new OnefoldError("too-large", "These changes of the cluster's state are too large for one record.", {
    details: { sizeBytes: payload.length, sizeBytesMax: limits.batchBytesMax },
  });
}

function checkSize(member: MemberDescription): void {
  // What the fold adds to it: three short properties.
  const sizeBytes = encodeValue(member).length + 64;
  if (sizeBytes <= limits.memberBytesMax) return;
  throw new OnefoldError("too-large", "A member's name, addresses and labels are too long. Shorten them.", {
    details: { sizeBytes, sizeBytesMax: limits.memberBytesMax },
  });
}

/**
 * The records of a payload (SR1). Throws `damaged` (retry never) for what no version wrote, `unsupported-version` (retry never) for what a
 * newer one did (SR2).
 */
export function decodeSystemRecords(payload: Uint8Array): readonly SystemRecord[] {
  const list = decodeValue(payload);
  try {
    return listOf(readRecord)(list, "records");
  } catch (error) {
    if (!(error instanceof ShapeFault)) throw error;
    throw new OnefoldError("damaged", `A record of the system log is damaged: ${error.message}.`, {
      details: { reason: error.message },
      cause: error,
    });
  }
}

function readRecord(value: Value | undefined, what: string): SystemRecord {
  const type = text(properties(value, what).type, `${what}.type`);
  if (!isKnown(type)) {
    const message = `The system log holds a record of a type that this version does not know: ${type}. Upgrade Onefold.`;
    throw new OnefoldError("unsupported-version", message, { details: { type } });
  }
  // The table pairs each type with its reader; the compiler can't follow that through a variable.
  return { type, ...readers[type](value, what) } as SystemRecord;
}

function isKnown(type: string): type is SystemRecordType {
  return Object.hasOwn(readers, type);
}
