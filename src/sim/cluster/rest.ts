/**
 * What must be so of a healed cluster to which nobody has said anything for a while.
 *
 * RS1 Every copy of a shard ends where its log ends, with the same hash, and every store there is the fold of all of it: `not-at-rest`
 *     where that does not come about.
 * RS2 The log of a shard, and the system's, is a chain, and holds what each node remembers of it.
 * RS3 Owner and followers have the same rows.
 * RS4 Nothing is left in between: no message in an outbox, no transaction prepared, no decision that somebody has yet to be told.
 * RS5 What an answer said to be durable is in the log that it named, or in what that log's successors go on from.
 */
import { toHex } from "../../base/bytes.ts";
import { ownershipOf } from "../../cluster/shard-records.ts";
import { indexOfName, systemLogName } from "../../cluster/system-names.ts";
import { type ShardState, presentShards } from "../../cluster/system-state.ts";
import { decodeGenesis } from "../../entity/genesis.ts";
import { tables } from "../../entity/keys.ts";
import type { Position } from "../../entity/service.ts";
import type { LogPosition } from "../../log/log.ts";
import { decodeRecord, type LogRecord } from "../../log/record.ts";
import { keyEnd } from "../../store/key.ts";
import type { StoreReader } from "../../store/store.ts";
import { checkChain } from "../checkers/chain-integrity.ts";
import { checkConvergence, type Replica } from "../checkers/convergence.ts";
import type { Finding } from "../checkers/history.ts";
import type { SimulatedCluster } from "./simulated-cluster.ts";

/** Why the cluster is not at rest (RS1, RS4); undefined where it is. It may only not be yet: that is the caller's to wait for. */
export function unrest(cluster: SimulatedCluster): string | undefined {
  if (cluster.serving.length < cluster.names.length) return "a node is down";
  for (const shard of shardsOf(cluster)) {
    const last = recordsOf(cluster, shard.log).at(-1);
    for (const { name, position, store } of holdersOf(cluster, shard)) {
      const what = `the shard ${shard.id} on ${name}`;
      if (last === undefined || position === null) return `${what} is empty`;
      if (position.sequence < last.sequence) return `${what} ends at ${position.sequence}, the log at ${last.sequence}`;
      const applied = store?.position?.sequence ?? 0;
      if (applied < last.sequence) return `the store of ${what} is at ${applied}, the log at ${last.sequence}`;
      for (const { key } of store === undefined ? [] : rows(store)) {
        const table = unfinished.get(key[0]!);
        if (table !== undefined) return `${what} has a row of ${table}: ${toHex(key)}`;
      }
    }
  }
  return undefined;
}

/** The latest log time of any shard. */
export function logTimeMs(cluster: SimulatedCluster): number {
  return Math.max(0, ...shardsOf(cluster).map(({ log }) => recordsOf(cluster, log).at(-1)?.timeMs ?? 0));
}

/** RS4. */
const unfinished = new Map<number, string>(
  (["outbox", "prepared", "decision"] as const).map((table) => [tables[table], table]),
);

/** RS2, RS3 and RS5. `acknowledged`: the newest position of each incarnation. */
export function checkRest(cluster: SimulatedCluster, acknowledged: readonly Position[]): readonly Finding[] {
  const systemLog = newestSystemLog(cluster);
  const findings = [...checkChain(recordsOf(cluster, systemLog), [])].map((finding) => of(systemLog, finding));
  for (const shard of shardsOf(cluster)) {
    const holders = holdersOf(cluster, shard);
    const anchors = holders.flatMap(({ position }) => (position === null ? [] : [position]));
    const about = (finding: Finding): Finding => of(shard.log, finding);
    findings.push(...checkChain(recordsOf(cluster, shard.log), anchors).map(about));
    const replicas = holders.flatMap(({ name, store }) => (store === undefined ? [] : [replicaOf(name, store)]));
    findings.push(...checkConvergence(replicas).map(about));
  }
  return [...findings, ...lostOf(cluster, acknowledged)];
}

function of(log: string, { anomaly, explanation }: Finding): Finding {
  return { anomaly, explanation: `log ${log}: ${explanation}` };
}

// --------------------------------------------------------------------------------------------------------- what there is

/** One that was damaged has a successor, and is of no account. */
function newestSystemLog({ engine }: SimulatedCluster): string {
  const names = engine.logNames.filter((name) => (engine.existing(name)?.leader?.commit ?? 0) > 0);
  const indices = names.flatMap((name) => indexOfName(name) ?? []);
  return systemLogName(Math.max(0, ...indices));
}

function shardsOf(cluster: SimulatedCluster): readonly ShardState[] {
  const state = cluster.serving[0]?.cluster.systemLog.state;
  return state === undefined ? [] : presentShards(state);
}

/** As a majority of the engine's servers has it, damage to single copies aside. */
function recordsOf(cluster: SimulatedCluster, log: string): readonly LogRecord[] {
  const leader = cluster.engine.existing(log)?.leader;
  const records: LogRecord[] = [];
  for (let sequence = leader?.first ?? 1; sequence <= (leader?.commit ?? 0); sequence++) {
    records.push(decodeRecord(leader!.entry(sequence)!.bytes));
  }
  return records;
}

interface Holder {
  readonly name: string;
  /** Its copy's end. */
  readonly position: LogPosition | null;
  readonly store: StoreReader | undefined;
}

/** The nodes that are to have the shard, its owner first. */
function holdersOf(cluster: SimulatedCluster, { log, owner, followers }: ShardState): readonly Holder[] {
  return [owner, ...followers].flatMap((member) => {
    const serving = cluster.serving.find((each) => each.cluster.memberId === member);
    if (serving === undefined) return [];
    const { name } = serving;
    const position = serving.cluster.shards?.position(log) ?? null;
    return [{ name, position, store: cluster.stores(name).get(log)?.durableView() }];
  });
}

function rows(store: StoreReader): ReturnType<StoreReader["range"]> {
  return store.range({ from: new Uint8Array(0), to: keyEnd });
}

function replicaOf(name: string, store: StoreReader): Replica {
  const entries = new Map<string, string>();
  for (const { key, value } of rows(store)) entries.set(toHex(key), toHex(value));
  return { name, entries };
}

// ---------------------------------------------------------------------------------------------------- what was said (RS5)

interface Successor {
  readonly incarnation: string;
  /** The last record of the log before it that it goes on from. */
  readonly sequence: number;
}

function lostOf(cluster: SimulatedCluster, acknowledged: readonly Position[]): readonly Finding[] {
  const ends = new Map<string, number>();
  const successors = new Map<string, Successor[]>();
  const succeeds = (parent: { readonly incarnation: string; readonly sequence: number }, incarnation: string): void => {
    const known = successors.get(parent.incarnation) ?? [];
    successors.set(parent.incarnation, [...known, { incarnation, sequence: parent.sequence }]);
  };
  for (const log of cluster.engine.logNames) {
    const first = recordsOf(cluster, log)[0];
    // A log that has lost everything begins with its seal.
    if (indexOfName(log) !== undefined || first?.kind !== "genesis" || ownershipOf(first) !== undefined) continue;
    const { parent } = decodeGenesis(first.payload);
    if (parent !== undefined) succeeds({ ...parent, incarnation: toHex(parent.incarnation) }, toHex(first.incarnation));
  }
  for (const { log, parent } of shardsOf(cluster)) {
    const last = recordsOf(cluster, log).at(-1);
    if (last === undefined) continue;
    const incarnation = toHex(last.incarnation);
    ends.set(incarnation, last.sequence);
    if (parent !== undefined) succeeds(parent, incarnation);
  }
  const isHeld = (incarnation: string, sequence: number): boolean =>
    sequence <= (ends.get(incarnation) ?? 0) ||
    (successors.get(incarnation) ?? []).some(
      (next) => sequence <= next.sequence && isHeld(next.incarnation, next.sequence),
    );
  return acknowledged
    .filter(({ incarnation, sequence }) => !isHeld(incarnation, sequence))
    .map(({ shard, incarnation, sequence }) => ({
      anomaly: "lost",
      explanation: `${sequence} of the incarnation ${incarnation} of the shard ${shard} was acknowledged, and is not there.`,
    }));
}
