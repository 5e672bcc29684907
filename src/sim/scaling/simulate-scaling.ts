/**
 * How a cluster scales, by simulation: the real nodes' code over a simulated engine and network, in virtual time, where each node and each
 * server of the engine is charged with what its work costs (`costs.ts`). So what limits the throughput are those costs, and what the
 * protocol does: how many records, frames and questions a call takes at this size.
 *
 * SS1 The same options give the same figures, and the same `traceHash`.
 * SS2 Each client's call is answered once: what is counted are answers, within a time in which nothing was started or stopped.
 */
import { assert } from "../../base/assert.ts";
import { slotOf } from "../../base/ids.ts";
import { limits } from "../../base/limits.ts";
import { SeededRandom } from "../../base/random.ts";
import { shardOfSlot } from "../../cluster/system-state.ts";
import { SimulatedCluster, type ServingNode } from "../cluster/simulated-cluster.ts";
import { FaultCounts } from "../faults.ts";
import { reliableLink } from "../link.ts";
import { Scheduler } from "../scheduler.ts";
import { ChargedNodes } from "./charged-nodes.ts";
import { ChargedServers } from "./charged-servers.ts";
import { measuredCosts, type ScalingCosts } from "./costs.ts";
import { Load, scalingSystem, type ScalingWorkload } from "./load.ts";

export interface ScalingOptions {
  readonly nodes: number;
  /** One after the other, on the same cluster. */
  readonly workloads: readonly ScalingWorkload[];
  /** Default: four for each node or more, as a power of two, at most `shardsMax`. */
  readonly shards?: number;
  /** Servers of the engine; default: as many as nodes, at least three. */
  readonly servers?: number;
  readonly clientsPerNode?: number;
  /** Of virtual time under each load: not counted, then counted. */
  readonly warmMs?: number;
  readonly measuredMs?: number;
  readonly costs?: ScalingCosts;
  readonly seed?: string;
}

/** Rates are of virtual seconds, loads are shares of the time in which a processor or disk was busy. */
export interface ScalingReport {
  readonly nodes: number;
  readonly servers: number;
  readonly shards: number;
  readonly workload: ScalingWorkload;
  readonly clients: number;
  readonly callsPerSecond: number;
  readonly refusedPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of calls, those whose home was another node than the one they came to. */
  readonly forwardedShare: number;
  readonly appendsPerSecond: number;
  readonly callsPerAppend: number;
  readonly bytesPerAppend: number;
  readonly framesPerCall: number;
  readonly nodeLoad: Spread;
  readonly serverLoad: Spread;
  readonly diskLoad: Spread;
  readonly controllerLoad: number;
  readonly system: SystemLogUse;
  /** From the first node's start until every shard was served. */
  readonly startMs: number;
  readonly traceHash: string;
}

export interface Spread {
  readonly mean: number;
  readonly max: number;
}

export interface SystemLogUse {
  readonly recordsPerSecond: number;
  /** Of attempts to append, those that another node's record came before. */
  readonly refusedShare: number;
  /** Of one node's processor, what taking in the system log's records costs. */
  readonly followLoad: number;
}

const startMsMax = 120_000;
const snapshotBytes = 1024 * 1024 * 1024;
const segmentBytes = 4 * 1024 * 1024;

/** A report for each workload. Throws where a node stops by itself, or the cluster does not come up. */
export async function simulateScaling(options: ScalingOptions): Promise<readonly ScalingReport[]> {
  return new ScalingRun(options).run();
}

class ScalingRun {
  readonly #options: Required<ScalingOptions>;
  readonly #scheduler = new Scheduler({ eventsMax: 500_000_000 });
  readonly #random: SeededRandom;
  readonly #nodes: ChargedNodes;
  readonly #servers: ChargedServers;
  readonly #cluster: SimulatedCluster;
  #failure: unknown;

  constructor(given: ScalingOptions) {
    const { nodes } = given;
    this.#options = {
      shards: shardsFor(nodes),
      servers: Math.max(3, nodes),
      clientsPerNode: 64,
      warmMs: 300,
      measuredMs: 1000,
      costs: measuredCosts,
      seed: "scaling",
      ...given,
    };
    const { costs, servers, shards, seed } = this.#options;
    this.#random = new SeededRandom(seed);
    const scheduler = this.#scheduler;
    const names = Array.from({ length: servers }, (_, index) => `e${index + 1}`);
    this.#nodes = new ChargedNodes(scheduler, costs.node);
    this.#servers = new ChargedServers(names, { scheduler, random: this.#random.fork("servers"), costs });
    const syncMs = costs.server.syncUs / 1000;
    this.#cluster = new SimulatedCluster({
      scheduler,
      random: this.#random.fork("cluster"),
      counts: new FaultCounts(),
      system: (_, node) => scalingSystem(node, (where) => this.#nodes.of(where).processor.charge(costs.node.commandUs)),
      nodeCount: nodes,
      shardCount: shards,
      snapshotBytes,
      segmentBytes,
      servers: names,
      meter: this.#nodes,
      engineCosts: this.#servers,
      engineTimes: { wayMs: costs.wayMs },
      diskLatency: { read: [0.01, 0.02], write: [0.01, 0.02], sync: [syncMs, 2 * syncMs], name: [0.01, 0.02] },
      onFailure: (_, error) => {
        this.#failure ??= error;
      },
    });
    this.#cluster.network.behaviour = { ...reliableLink, delayMs: costs.wayMs };
  }

  async run(): Promise<readonly ScalingReport[]> {
    try {
      return await this.#scheduler.complete(this.#drive());
    } finally {
      this.#cluster.end();
    }
  }

  async #drive(): Promise<readonly ScalingReport[]> {
    for (const name of this.#cluster.names) this.#cluster.start(name);
    await this.#settle();
    const startMs = this.#scheduler.nowMs;
    const reports: ScalingReport[] = [];
    for (const workload of this.#options.workloads) reports.push(await this.#measure(workload, startMs));
    if (this.#failure !== undefined) throw this.#failure;
    return reports;
  }

  async #measure(workload: ScalingWorkload, startMs: number): Promise<ScalingReport> {
    const { warmMs, measuredMs } = this.#options;
    const load = this.#load(workload);
    const running = load.run();
    await Promise.race([running, this.#scheduler.sleep(warmMs)]);
    load.begin();
    const before = this.#work();
    await Promise.race([running, this.#scheduler.sleep(measuredMs)]);
    const report = this.#report(workload, { load, before, after: this.#work(), startMs });
    load.stop();
    await running;
    return report;
  }

  /** Every node is a member, every shard is served, and none is about to move. */
  async #settle(): Promise<void> {
    const { nodes } = this.#options;
    let calmMs = 0;
    while (calmMs < 500) {
      assert(this.#scheduler.nowMs < startMsMax, "the cluster does not come up");
      await this.#scheduler.sleep(50);
      const isAll = this.#cluster.serving.length === nodes && this.#cluster.isServed;
      calmMs = isAll ? calmMs + 50 : 0;
    }
  }

  #load(workload: ScalingWorkload): Load {
    const { clientsPerNode, costs, nodes } = this.#options;
    return new Load({
      workload,
      clientsPerNode,
      entityCount: 1000 * nodes,
      scheduler: this.#scheduler,
      random: this.#random.fork(`load ${workload}`),
      costs,
      nodes: this.#cluster.serving.map((serving) => ({
        host: this.#cluster.host(serving.name)!,
        service: serving.service,
        processor: this.#nodes.of(serving.name).processor,
        isElsewhere: (kind, id) => isElsewhere(serving, kind, id),
      })),
    });
  }

  #work(): WorkDone {
    const nodes = this.#cluster.names.map((name) => {
      const { processor, ...counts } = this.#nodes.of(name);
      return { busyMs: processor.busyMs, ...counts };
    });
    const servers = [...this.#servers.servers.values()].map(({ processor, disk }) => {
      return { busyMs: processor.busyMs, diskMs: disk.busyMs };
    });
    const { sequence } = this.#cluster.serving[0]!.cluster.systemLog.state;
    return { nodes, servers, systemSequence: sequence };
  }

  #report(
    workload: ScalingWorkload,
    measured: {
      readonly load: Load;
      readonly before: WorkDone;
      readonly after: WorkDone;
      readonly startMs: number;
    },
  ): ScalingReport {
    const { load, before, after, startMs } = measured;
    const { nodes, servers, shards, clientsPerNode, measuredMs, costs } = this.#options;
    const { calls, forwarded, refused, latenciesMs } = load.counts;
    const sorted = latenciesMs.toSorted((a, b) => a - b);
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
    const perSecond = (count: number): number => (count * 1000) / measuredMs;
    const sum = (key: keyof NodeDone): number =>
      after.nodes.reduce((total, node, index) => total + node[key] - before.nodes[index]![key], 0);
    const loadOf = <K extends string>(now: readonly Record<K, number>[], then: readonly Record<K, number>[], key: K) =>
      spread(now.map((each, index) => (each[key] - then[index]![key]) / measuredMs));
    const controller = this.#cluster.serving.findIndex(({ cluster }) => cluster.isController);
    const appends = sum("appends");
    const attempts = sum("systemAppends");
    const { followUs } = costs.node;
    return {
      nodes,
      servers,
      shards,
      workload,
      clients: nodes * clientsPerNode,
      callsPerSecond: perSecond(calls),
      refusedPerSecond: perSecond(refused),
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      forwardedShare: forwarded / Math.max(1, calls),
      appendsPerSecond: perSecond(appends),
      callsPerAppend: calls / Math.max(1, appends),
      bytesPerAppend: sum("appendedBytes") / Math.max(1, appends),
      framesPerCall: sum("frames") / Math.max(1, calls),
      nodeLoad: loadOf(after.nodes, before.nodes, "busyMs"),
      serverLoad: loadOf(after.servers, before.servers, "busyMs"),
      diskLoad: loadOf(after.servers, before.servers, "diskMs"),
      controllerLoad:
        controller < 0 ? 0 : (after.nodes[controller]!.busyMs - before.nodes[controller]!.busyMs) / measuredMs,
      system: {
        recordsPerSecond: perSecond(after.systemSequence - before.systemSequence),
        refusedShare: sum("systemRefusals") / Math.max(1, attempts),
        followLoad: (sum("systemFollowed") / nodes / measuredMs) * (followUs / 1000),
      },
      startMs,
      traceHash: this.#scheduler.traceHash,
    };
  }
}

interface NodeDone {
  readonly busyMs: number;
  readonly appends: number;
  readonly appendedBytes: number;
  readonly systemAppends: number;
  readonly systemRefusals: number;
  readonly followed: number;
  readonly systemFollowed: number;
  readonly frames: number;
}

interface WorkDone {
  readonly nodes: readonly NodeDone[];
  readonly servers: readonly { readonly busyMs: number; readonly diskMs: number }[];
  readonly systemSequence: number;
}

function spread(values: readonly number[]): Spread {
  return { mean: values.reduce((sum, value) => sum + value, 0) / values.length, max: Math.max(...values) };
}

function shardsFor(nodes: number): number {
  return Math.min(limits.shardsMax, 2 ** Math.ceil(Math.log2(4 * nodes)));
}

function isElsewhere({ cluster }: ServingNode, kind: string, id: string): boolean {
  const shard = shardOfSlot(cluster.systemLog.state, slotOf(kind, id, "default"));
  return shard?.owner !== cluster.memberId;
}
