/**
 * One run: a simulated cluster under faults from one seed, clients on it, then everything healed and held against what clients were told.
 *
 * RU1 The same seed and options give the same run: `traceHash` says so.
 * RU2 After healing, every shard is served and every operation is answered within `healMs` of virtual time, a fresh write within
 *     `freshMs` (`repairedMs` where the engine itself is damaged), and a cluster to which nobody says anything comes to rest within
 *     `restMs`; else that is a finding (liveness).
 * RU3 Where nothing that the plan does loses what the engine acknowledged, a log that is sealed as not whole is a finding (false alarm).
 * RU4 Timers go by log time. Where the only node that was left to own a shard had a clock far ahead, that took log time along for good, and
 *     its timers go off when all clocks have come there: such a run says nothing of lost timers. Nor is that an error (`clock-check.ts`).
 */
import { SeededRandom } from "../../base/random.ts";
import { OnefoldError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import { slotOf } from "../../base/ids.ts";
import type { Value } from "../../base/value.ts";
import { presentShards } from "../../cluster/system-state.ts";
import type { Service } from "../../entity/service.ts";
import type { Finding } from "../checkers/history.ts";
import { wallStartMs } from "../clock.ts";
import { FaultCounts } from "../faults.ts";
import { Scheduler } from "../scheduler.ts";
import { type Answer, driller } from "./cluster-client.ts";
import { Drill } from "./drill.ts";
import { drill as olderDrill, newerDrill } from "./drill-system.ts";
import { ClusterFaults } from "./faults.ts";
import { type ClusterFault, type ClusterFaultsPlan, engineDamages, makeClusterFaultsPlan } from "./faults-plan.ts";
import { checkRest, logTimeMs, unrest } from "./rest.ts";
import { type ServingNode, SimulatedCluster } from "./simulated-cluster.ts";

/** What a run is like, beside its seed. */
export interface ClusterSetting {
  readonly nodeCount: number;
  readonly shardCount: number;
  readonly clientCount: number;
  /** Of virtual time, with faults. */
  readonly durationMs: number;
  /** Between two operations of a client, on average. */
  readonly thinkMs: number;
  /** A shard's owner takes a snapshot after so much log. */
  readonly snapshotBytes: number;
}

const settingDefault: ClusterSetting = {
  nodeCount: 3,
  shardCount: 4,
  clientCount: 4,
  durationMs: 20_000,
  thinkMs: 100,
  snapshotBytes: 64 * 1024,
};

export interface ClusterSimulationOptions extends Partial<ClusterSetting> {
  readonly seed: string;
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
  readonly setting: ClusterSetting;
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
const freshMs = 5000;
/** Where the engine is damaged: a follower that finds a hole doubts it for 10 s, and a repair waits 5 s for longer copies. */
const repairedMs = 25_000;
const restMs = 30_000;

export async function simulateCluster(options: ClusterSimulationOptions): Promise<ClusterSimulationReport> {
  const { seed, kinds, plan: givenPlan, keepsNotes = false } = options;
  const setting = settingOf(options);
  const { nodeCount, shardCount, clientCount, durationMs, thinkMs, snapshotBytes } = setting;
  const scheduler = new Scheduler({ eventsMax: 50_000_000, notesKeptMax: keepsNotes ? 20_000 : 0 });
  const random = new SeededRandom(seed);
  const counts = new FaultCounts();
  const findings: Finding[] = [];
  const cluster = new SimulatedCluster({
    scheduler,
    random: random.fork("cluster"),
    counts,
    system: (codeChoice) => (codeChoice === undefined ? olderDrill : newerDrill),
    nodeCount,
    shardCount,
    snapshotBytes,
    watchesCutOffs: true,
    onTrace: (node, { level, message, fields }) => {
      options.onLine?.(`${scheduler.nowMs.toFixed(0)} ${node} ${level}: ${message} ${describe(fields)}`);
      if (keepsNotes) scheduler.note(`${node} ${level}: ${message} ${describe(fields)}`);
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
    givenPlan ??
    makeClusterFaultsPlan(random.fork("plan"), {
      nodes: cluster.names,
      servers,
      durationMs,
      ...(kinds === undefined ? {} : { kinds }),
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
  let isLogTimeAhead = false;
  const run = async (): Promise<void> => {
    for (const name of cluster.names) cluster.start(name);
    await within(scheduler, { forMs: startMs, what: "the cluster to come up" }, () => unserved(cluster), findings);
    const clients = drill.run();
    faults.run(plan);
    await scheduler.sleep(durationMs);
    faults.heal();
    const served = (): Promise<void> =>
      within(scheduler, { forMs: healMs, what: "every shard to be served" }, () => unserved(cluster), findings);
    await served();
    await cluster.upgradeRest(served);
    await served();
    drill.end();
    const late = Symbol("late");
    const answered = await Promise.race([clients, scheduler.sleep(healMs).then(() => late)]);
    if (answered === late)
      findings.push({ anomaly: "liveness", explanation: "clients were not answered after healing" });
    await scheduler.sleep(settleMs);
    // Messages may rest between two attempts for longer than that.
    await within(scheduler, { forMs: restMs, what: "rest" }, () => unrest(cluster), findings);
    await drill.judge((call) => ask(cluster, scheduler, call));
    isLogTimeAhead = logTimeMs(cluster) > wallStartMs + scheduler.nowMs + limits.clockSkewMsMax;
    const forMs = mayLose() ? repairedMs : freshMs;
    await within(scheduler, { forMs, what: "fresh writes" }, writeEverywhere(cluster, scheduler, forMs), findings);
    await within(scheduler, { forMs: restMs, what: "rest" }, () => unrest(cluster), findings);
    findings.push(...checkRest(cluster, drill.acknowledgedPositions));
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
    setting,
    plan,
    findings: [...findings, ...drill.findings.filter(({ anomaly }) => anomaly !== "lost-timer" || !isLogTimeAhead)],
    operations: drill.operationCount,
    virtualMs: scheduler.nowMs,
    events: scheduler.eventCount,
    faults: faults.counts(),
    traceHash: scheduler.traceHash,
    notes: scheduler.notes,
  };
}

function settingOf(asked: Partial<ClusterSetting>): ClusterSetting {
  const {
    nodeCount = settingDefault.nodeCount,
    shardCount = settingDefault.shardCount,
    clientCount = settingDefault.clientCount,
    durationMs = settingDefault.durationMs,
    thinkMs = settingDefault.thinkMs,
    snapshotBytes = settingDefault.snapshotBytes,
  } = asked;
  return { nodeCount, shardCount, clientCount, durationMs, thinkMs, snapshotBytes };
}

/** Waits until `why` knows no reason any more why it is not so; after `limitMs` the reason is a finding. */
async function within(
  scheduler: Scheduler,
  limit: { readonly forMs: number; readonly what: string },
  why: () => string | undefined,
  findings: Finding[],
): Promise<void> {
  const endMs = scheduler.nowMs + limit.forMs;
  for (let reason = why(); reason !== undefined; reason = why()) {
    if (scheduler.nowMs > endMs) {
      const explanation = `waited ${limit.forMs} ms of virtual time in vain for ${limit.what}: ${reason}`;
      findings.push({ anomaly: "liveness", explanation });
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

/** A shard that is not served by the owner that it is to have, or is about to get another; or a node that goes. */
function unserved(cluster: SimulatedCluster): string | undefined {
  const { serving } = cluster;
  const state = serving[0]?.cluster.systemLog.state;
  const shards = state === undefined ? [] : presentShards(state);
  if (shards.length === 0) return "no node serves";
  if (cluster.isStopping) return `a node that was told to stop is still at it:\n${standing(cluster)}`;
  const shard = shards.find(({ id, owner, movingTo }) => {
    const isOwner = ({ cluster: node }: ServingNode): boolean =>
      node.memberId === owner && node.shards?.owned(id) !== undefined;
    return movingTo !== undefined || !serving.some(isOwner);
  });
  return shard === undefined ? undefined : `nobody serves ${shard.id}, or it is about to move:\n${standing(cluster)}`;
}

/** Writes to each shard through each node, again where that is safe; tells which writes have not succeeded yet, and why. */
function writeEverywhere(cluster: SimulatedCluster, scheduler: Scheduler, forMs: number): () => string | undefined {
  const open = new Map<string, string>();
  const endMs = scheduler.nowMs + forMs;
  const write = async (service: Service, what: string, id: string): Promise<void> => {
    open.set(what, "no answer");
    for (let mustTry = true; mustTry; ) {
      try {
        const options = { principal: driller, deadlineMs: forMs };
        await service.command({ kind: "register", id }, "write", { value: what }, options);
        open.delete(what);
        return;
      } catch (error) {
        open.set(what, error instanceof Error ? error.message : String(error));
        mustTry = error instanceof OnefoldError && error.retry === "safe" && scheduler.nowMs < endMs;
      }
      await scheduler.sleep(100);
    }
  };
  for (const { name, service, cluster: node } of cluster.serving) {
    for (const { id, from, to } of presentShards(node.systemLog.state)) {
      void write(service, `a write to ${id} through ${name}`, idBetween(from, to));
    }
  }
  return () => [...open].map(([what, why]) => `${what}: ${why}`)[0];
}

/** Of a register whose slot is one of these. */
function idBetween(from: number, to: number): string {
  for (let number = 0; ; number++) {
    const slot = slotOf("register", `fresh-${number}`, driller.tenant);
    if (from <= slot && slot < to) return `fresh-${number}`;
  }
}

async function ask(
  cluster: SimulatedCluster,
  scheduler: Scheduler,
  call: (service: Service) => Promise<Answer>,
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
