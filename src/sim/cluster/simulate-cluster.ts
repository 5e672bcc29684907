/**
 * One run: a simulated cluster under faults from one seed, clients on it, then everything healed and held against what clients were told.
 *
 * RU1 The same seed and options give the same run: `traceHash` says so.
 * RU2 After healing, every shard is served and every operation is answered within `healMs` of virtual time, or that is a finding (liveness).
 * RU3 Where nothing that the plan does loses what the engine acknowledged, a log that is sealed as not whole is a finding (false alarm).
 */
import { SeededRandom } from "../../base/random.ts";
import type { Value } from "../../base/value.ts";
import type { Service } from "../../entity/service.ts";
import type { Finding } from "../checkers/history.ts";
import { FaultCounts } from "../faults.ts";
import { Scheduler } from "../scheduler.ts";
import { Drill } from "./drill.ts";
import { drill as drillSystem } from "./drill-system.ts";
import { ClusterFaults } from "./faults.ts";
import { type ClusterFault, type ClusterFaultsPlan, engineDamages, makeClusterFaultsPlan } from "./faults-plan.ts";
import { SimulatedCluster } from "./simulated-cluster.ts";

export interface ClusterSimulationOptions {
  readonly seed: string;
  readonly nodeCount?: number;
  readonly shardCount?: number;
  readonly clientCount?: number;
  /** Of virtual time, with faults. */
  readonly durationMs?: number;
  readonly thinkMs?: number;
  /** A shard's owner takes a snapshot after so much log. */
  readonly snapshotBytes?: number;
  /** What may go wrong; the seed chooses of it. Default: all. */
  readonly kinds?: readonly ClusterFault[];
  /** Instead of the one that the seed gives. */
  readonly plan?: ClusterFaultsPlan;
  /** What nodes' logs say, as it comes, with its time. */
  readonly onLine?: (line: string) => void;
  /** Lines of the run are kept for a transcript. */
  readonly keepsNotes?: boolean;
}

export interface ClusterSimulationReport {
  readonly seed: string;
  readonly plan: ClusterFaultsPlan;
  readonly findings: readonly Finding[];
  readonly operations: number;
  readonly virtualMs: number;
  readonly events: number;
  /** Events of the plan that took effect, by kind. */
  readonly faults: readonly (readonly [ClusterFault, number])[];
  readonly traceHash: string;
  readonly notes: readonly string[];
}

const startMs = 30_000;
const healMs = 120_000;
const settleMs = 8000;

export async function simulateCluster(options: ClusterSimulationOptions): Promise<ClusterSimulationReport> {
  const { seed, nodeCount = 3, shardCount = 4, clientCount = 4, durationMs = 20_000, thinkMs = 100 } = options;
  const scheduler = new Scheduler({ eventsMax: 50_000_000, notesKeptMax: options.keepsNotes === true ? 20_000 : 0 });
  const random = new SeededRandom(seed);
  const counts = new FaultCounts();
  const findings: Finding[] = [];
  const cluster = new SimulatedCluster({
    scheduler,
    random: random.fork("cluster"),
    counts,
    system: () => drillSystem,
    nodeCount,
    shardCount,
    ...(options.snapshotBytes === undefined ? {} : { snapshotBytes: options.snapshotBytes }),
    onTrace: (node, { level, message, fields }) => {
      options.onLine?.(`${scheduler.nowMs.toFixed(0)} ${node} ${level}: ${message} ${describe(fields)}`);
      if (options.keepsNotes === true) scheduler.note(`${node} ${level}: ${message} ${describe(fields)}`);
      if (message.startsWith("A shard's log was sealed") && !mayLose()) {
        findings.push({ anomaly: "false-alarm", explanation: `${node}: ${message} ${describe(fields)}` });
      }
      if (message.includes("bug in Onefold") || message.includes("report this")) {
        findings.push({ anomaly: "bug", explanation: `${node}: ${message} ${describe(fields)}` });
      }
    },
  });
  const servers = cluster.engine.servers.all.map(({ name }) => name);
  const plan =
    options.plan ??
    makeClusterFaultsPlan(random.fork("plan"), {
      nodes: cluster.names,
      servers,
      durationMs,
      ...(options.kinds === undefined ? {} : { kinds: options.kinds }),
    });
  /** RU3. */
  const mayLose = (): boolean => plan.events.some(({ kind }) => engineDamages.includes(kind));
  const faults = new ClusterFaults(cluster.world);
  const world = {
    get serving() {
      return cluster.serving;
    },
    sleep: (ms: number) => scheduler.sleep(ms),
    at: (ms: number, run: () => void) => scheduler.at(ms, run),
    nowMs: () => scheduler.nowMs,
  };
  const drill = new Drill({
    world,
    random: random.fork("drill"),
    clientCount,
    thinkMs,
    accuse: (what) => findings.push({ anomaly: "unexplained-error", explanation: what }),
  });
  const run = async (): Promise<void> => {
    for (const name of cluster.names) cluster.start(name);
    await within(scheduler, startMs, "the cluster to come up", cluster, findings);
    const clients = drill.run();
    faults.run(plan);
    await scheduler.sleep(durationMs);
    faults.heal();
    await within(scheduler, healMs, "every shard to be served after healing", cluster, findings);
    drill.end();
    const late = Symbol("late");
    const answered = await Promise.race([clients, scheduler.sleep(healMs).then(() => late)]);
    if (answered === late)
      findings.push({ anomaly: "liveness", explanation: "clients were not answered after healing" });
    await scheduler.sleep(settleMs);
    await drill.judge((call) => ask(cluster, scheduler, call));
    cluster.end();
  };
  try {
    await scheduler.complete(run());
  } catch (error) {
    findings.push({
      anomaly: "failed",
      explanation: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  }
  return {
    seed,
    plan,
    findings: [...findings, ...drill.findings],
    operations: drill.operationCount,
    virtualMs: scheduler.nowMs,
    events: scheduler.eventCount,
    faults: faults.counts(),
    traceHash: scheduler.traceHash,
    notes: scheduler.notes,
  };
}

async function within(
  scheduler: Scheduler,
  limitMs: number,
  what: string,
  cluster: SimulatedCluster,
  findings: Finding[],
): Promise<void> {
  const endMs = scheduler.nowMs + limitMs;
  while (!cluster.isServed) {
    if (scheduler.nowMs > endMs) {
      findings.push({
        anomaly: "liveness",
        explanation: `waited ${limitMs} ms of virtual time in vain for ${what}:\n${standing(cluster)}`,
      });
      return;
    }
    await scheduler.sleep(50);
  }
}

/** Who is what, as the first node that serves has read it: for people. */
function standing(cluster: SimulatedCluster): string {
  const { serving } = cluster;
  const state = serving[0]?.cluster.systemLog.state;
  if (state === undefined) return "no node serves";
  const shards = [...state.shards.values()].map(
    ({ id, status, log, owner, followers, assignment, movingTo }) =>
      `shard ${id}: ${status}, log ${log}, owner ${owner} (${assignment}), followers ${followers.join(" ")}, moving to ${movingTo}`,
  );
  const members = [...state.members.values()].map(({ id, status }) => `member ${id}: ${status}`);
  const nodes = serving.map(
    ({ name, cluster: node }) =>
      `node ${name} is ${node.memberId}, ${node.isCutOff ? "cut off" : "in touch"}; owns ${node.shards?.ownedCount}`,
  );
  return [...shards, ...members, ...nodes, `controller ${state.controller?.member}`].join("\n");
}

async function ask(
  cluster: SimulatedCluster,
  scheduler: Scheduler,
  call: (service: Service) => Promise<{ readonly output: Value | undefined }>,
): Promise<Value | undefined> {
  const endMs = scheduler.nowMs + healMs;
  for (;;) {
    try {
      return (await call(cluster.serving[0]!.service)).output;
    } catch (error) {
      if (scheduler.nowMs > endMs) throw error;
      await scheduler.sleep(200);
    }
  }
}

function describe(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(
      ([name, value]) => `${name}=${value instanceof Error ? (value.stack ?? value.message) : JSON.stringify(value)}`,
    )
    .join(" ");
}
