/** Small states and records of the system log, for the tests of this folder. */
import { toHex } from "../base/bytes.ts";
import { regionOf } from "../base/regions.ts";
import { continuingVersion, decodeRecord, encodeRecord, incarnationBytes, type LogRecord } from "../log/record.ts";
import { checkpointOf, foldOne } from "./system-fold.ts";
import { imageOf } from "./system-image.ts";
import { firstSequenceOf } from "./system-names.ts";
import { encodeSystemRecords, type MemberDescription, type SystemRecord } from "./system-records.ts";
import {
  type ClusterIdentity,
  emptySystemState,
  type ParentPosition,
  type SchemaVersions,
  type SystemState,
} from "./system-state.ts";

export const cluster: ClusterIdentity = {
  id: "0123456789abcdef0123456789abcdef",
  systemName: "bank",
  secret: new Uint8Array(32).fill(7),
  shardCount: 4,
  followerCount: 1,
};

export function describe(id: string, zone?: string): MemberDescription {
  return {
    id,
    name: id.split(".")[0]!,
    address: `${id}:1`,
    httpUrl: undefined,
    labels: zone === undefined ? {} : { zone },
    version: "1.0.0",
    readerVersion: 1,
    schemas: {},
  };
}

export function parentPosition(log: string, sequence = 9): ParentPosition {
  return { log, incarnation: "ab".repeat(16), epoch: 2, sequence, hash: "cd".repeat(32) };
}

/** The state after these records, each in a log record of its own. */
export function stateAfter(records: readonly SystemRecord[], from: SystemState = emptySystemState): SystemState {
  let state = from;
  for (const record of records) {
    const sequence = state.sequence + 1;
    state = { ...foldOne(state, record, sequence), sequence };
  }
  return state;
}

export function founding(options: Partial<ClusterIdentity> = {}): SystemRecord {
  return { type: "founded", cluster: { ...cluster, ...options } };
}

export function joining(id: string, zone?: string, wallMs = 1000): SystemRecord {
  return { type: "joined", member: describe(id, zone), wallMs };
}

/** One that says where it is: `[region, zone]`. */
export function joiningAt(id: string, [region, zone = id]: readonly [region: string, zone?: string]): SystemRecord {
  return { type: "joined", member: { ...describe(id), labels: { region, zone } }, wallMs: 1000 };
}

/** What stands right behind the founding of a cluster with these regions. */
export function foundingRegions(names: readonly string[], kinds: Readonly<Record<string, string>> = {}): SystemRecord {
  return { type: "regions-founded", regions: { list: names.map(regionOf), kinds } };
}

/** One whose code has these schemas. */
export function joiningWith(id: string, schemas: SchemaVersions): SystemRecord {
  return { type: "joined", member: { ...describe(id), schemas }, wallMs: 1000 };
}

/** A cluster of these members, of which the first has the office. */
export function clusterOf(ids: readonly string[], options: Partial<ClusterIdentity> = {}): SystemState {
  return stateAfter([
    founding(options),
    ...ids.map((id) => joining(id)),
    { type: "controller-claimed", member: ids[0]!, term: 1 },
  ]);
}

/** The first record of the successor that goes on from `parent`, with this state. */
export function successorOf(parent: LogRecord, state: SystemState): LogRecord {
  const { incarnation, epoch, sequence, hash } = parent;
  const position = { log: "system", incarnation: toHex(incarnation), epoch, sequence, hash: toHex(hash) };
  const { bytes } = encodeRecord(
    {
      kind: "genesis",
      readerVersion: continuingVersion,
      incarnation: new Uint8Array(incarnationBytes).fill(2),
      epoch: 1,
      sequence: firstSequenceOf(1),
      timeMs: parent.timeMs,
      previousHash: hash,
    },
    encodeSystemRecords([{ type: "continued", parent: position }, checkpointOf(state)]),
  );
  return decodeRecord(bytes);
}

const incarnation = "ef".repeat(16);
const small = stateAfter([
  founding(),
  foundingRegions(["eu"], { account: "eu" }),
  joining("a.1", "east"),
  joining("b.1"),
]);

/** One of each type. */
export const records: readonly SystemRecord[] = [
  founding(),
  foundingRegions(["eu", "us"], { account: "eu", note: "" }),
  { type: "kinds-declared", kinds: { order: "us" } },
  joining("a.1", "east"),
  { type: "renewed", member: "a.1", wallMs: 5 },
  { type: "draining", member: "a.1" },
  { type: "left", member: "a.1" },
  { type: "controller-claimed", member: "a.1", term: 1 },
  { type: "expired", term: 1, member: "b.1", renewedAt: 3 },
  { type: "assigned", term: 1, shard: "0", owner: "a.1", followers: ["b.1"], assignment: 1 },
  { type: "move-planned", term: 1, shard: "0", to: "b.1", assignment: 1 },
  {
    type: "split-ordered",
    term: 1,
    shard: "0",
    children: [
      { id: "0-0", from: 0, to: 512 },
      { id: "0-1", from: 512, to: 1024 },
    ],
  },
  { type: "split-asked", shard: "0", parts: 2 },
  { type: "released", shard: "0", member: "a.1", assignment: 1, end: undefined },
  { type: "split-abandoned", shard: "0", log: "shard-0" },
  {
    type: "split-published",
    shard: "0",
    log: "shard-0",
    children: ["0-0", "0-1"].map((id) => ({ id, log: `shard-${id}`, incarnation, parent: parentPosition("shard-0") })),
  },
  { type: "snapshot-published", shard: "0", log: "shard-0", epoch: 2, sequence: 70 },
  { type: "quarantined", shard: "0", log: "shard-0", detail: "it lacks record 7" },
  { type: "repaired", shard: "0", log: "shard-0-r", incarnation, parent: parentPosition("shard-0") },
  { type: "continued", parent: parentPosition("system") },
  { type: "checkpoint", state: imageOf(small) },
];
