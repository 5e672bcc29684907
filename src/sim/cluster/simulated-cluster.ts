/**
 * A simulated cluster over all lives of its nodes: each node is the real `ClusterNode` on a simulated host, over the simulated engine.
 *
 * SC1 What outlives a life is the node's disk and its stores' files, as they were at the crash.
 * SC2 A node that stops by itself, or does not come up, is started again a little later.
 */
import type { SeededRandom } from "../../base/random.ts";
import { ClusterNode } from "../../cluster/cluster-node.ts";
import { indexOfName } from "../../cluster/system-names.ts";
import type { SystemHandle } from "../../entity/definition.ts";
import type { Service } from "../../entity/service.ts";
import type { Limits } from "../../base/limits.ts";
import { DiskError, type Host } from "../../host/host.ts";
import type { LogEngine } from "../../log/engine-log.ts";
import { type MemoryStoreEngine, memoryStore } from "../../store/engine/memory.ts";
import type { EngineCosts } from "../engine/engine-costs.ts";
import type { EngineTimes } from "../engine/engine-faults.ts";
import { type DiskLatency, SimulatedDisk } from "../disk.ts";
import { SimulatedEngine } from "../engine/engine.ts";
import type { FaultCounts } from "../faults.ts";
import type { RealLimit } from "../guard.ts";
import { type SimulatedHost, SimulatedNode, type TraceLine } from "../host.ts";
import { SimulatedNetwork } from "../network.ts";
import type { NodeLife, TurnTaker } from "../life.ts";
import type { Scheduled, Scheduler } from "../scheduler.ts";
import type { ClusterWorld } from "./strike.ts";

/** Stands between nodes and their world, where what they do there is counted. */
export interface NodeMeter {
  turns(node: string): TurnTaker;
  host(node: string, host: Host): Host;
  engine(node: string, engine: LogEngine): LogEngine;
}

export interface SimulatedClusterOptions {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly counts: FaultCounts;
  /** The system that a life of a node runs; `codeChoice` as a fault asked for in this or an earlier life. */
  readonly system: (codeChoice: number | undefined, node: string) => SystemHandle;
  readonly nodeCount: number;
  readonly shardCount: number;
  readonly followerCount?: number;
  readonly snapshotBytes?: number;
  /** Of nodes' copies of logs: no batch is larger. */
  readonly segmentBytes?: number;
  /** Looks now and then whether nodes know to be cut off: for `cutOffForMs`, which is 0 otherwise. */
  readonly watchesCutOffs?: boolean;
  /** What ends user code that takes long in real time; by default nothing does. */
  readonly realLimit?: RealLimit;
  readonly limits?: Partial<Limits>;
  /** Names of the engine's servers, each in a zone of its own; by default three. */
  readonly servers?: readonly string[];
  readonly meter?: NodeMeter;
  readonly diskLatency?: DiskLatency;
  readonly engineTimes?: Partial<EngineTimes>;
  readonly engineCosts?: EngineCosts;
  readonly onTrace?: (node: string, line: TraceLine) => void;
  /** A node has stopped by itself, or did not come up. */
  readonly onFailure?: (node: string, error: unknown) => void;
}

const restartMs = 300;
const segmentBytesDefault = 64 * 1024;

/** One node over its lives. */
interface Member {
  readonly node: SimulatedNode;
  readonly stores: Map<string, MemoryStoreEngine>;
  host: SimulatedHost | undefined;
  serving: ServedLife | undefined;
  /** What it was upgraded with last. */
  codeChoice: number | undefined;
}

/** A life of a node that serves. */
export interface ServingNode {
  readonly name: string;
  readonly service: Service;
  readonly cluster: ClusterNode;
  /** So long, without a break, it has known to be cut off, and was awake; 0 where it is not, or nobody looks (`watchesCutOffs`). */
  readonly cutOffForMs: number;
  /** Calls `listener`, once, when that life is over, unless it is forgotten before. */
  onEnd(listener: () => void): { forget(): void };
}

export class SimulatedCluster {
  readonly engine: SimulatedEngine;
  readonly network: SimulatedNetwork;
  readonly names: readonly string[];
  readonly #options: SimulatedClusterOptions;
  readonly #members = new Map<string, Member>();
  /** Told to stop, and still at it. */
  readonly #stopping = new Set<SimulatedHost>();
  #isOver = false;
  #lifeCount = 0;

  constructor(options: SimulatedClusterOptions) {
    const { scheduler, random, counts, nodeCount } = options;
    this.#options = options;
    this.network = new SimulatedNetwork({ scheduler, random: random.fork("network"), counts });
    this.engine = new SimulatedEngine({
      scheduler,
      random: random.fork("engine"),
      network: this.network,
      counts,
      ...(options.servers === undefined
        ? {}
        : { servers: options.servers.map((server) => ({ name: server, zone: server })) }),
      ...(options.engineCosts === undefined ? {} : { costs: options.engineCosts }),
      ...(options.engineTimes === undefined ? {} : { times: options.engineTimes }),
    });
    this.names = Array.from({ length: nodeCount }, (_, index) => `n${index + 1}`);
    for (const name of this.names) {
      const latency = options.diskLatency;
      const disk = { scheduler, random: random.fork(name).fork("disk"), counts };
      const node = new SimulatedNode({
        scheduler,
        network: this.network,
        random: random.fork(name),
        name,
        counts,
        onTrace: (line) => options.onTrace?.(name, line),
        ...(options.realLimit === undefined ? {} : { realLimit: options.realLimit }),
        ...(latency === undefined ? {} : { disk: new SimulatedDisk({ ...disk, latency }) }),
        ...(options.meter === undefined ? {} : { turns: options.meter.turns(name) }),
      });
      this.#members.set(name, { node, stores: new Map(), host: undefined, serving: undefined, codeChoice: undefined });
    }
  }

  /** What faults strike. */
  get world(): ClusterWorld {
    return {
      scheduler: this.#options.scheduler,
      nodes: [...this.#members.values()].map(({ node }) => node),
      network: this.network,
      engine: this.engine,
      hooks: {
        start: (name, { codeChoice }) => this.start(name, codeChoice),
        stop: (name) => this.#stop(name),
        move: (choice) => this.#move(choice),
        heldTwice: (log) => this.#heldTwice(log),
      },
    };
  }

  /** Nodes that serve now. */
  get serving(): readonly ServingNode[] {
    return [...this.#members.values()].flatMap(({ node, serving }) =>
      serving === undefined || !node.alive ? [] : [serving],
    );
  }

  /** Some node was told to stop in good order, and has not ended yet: it serves no more, whoever asks it. */
  get isStopping(): boolean {
    return this.#stopping.size > 0;
  }

  /** How many lives all nodes together have had. */
  get lifeCount(): number {
    return this.#lifeCount;
  }

  /** Every shard is served by the owner that it is to have, and none is about to get another. */
  get isServed(): boolean {
    const { serving } = this;
    const state = serving[0]?.cluster.systemLog.state;
    const shards = [...(state?.shards.values() ?? [])].filter(({ status }) => status !== "retired");
    return (
      shards.length > 0 &&
      shards.every(({ id, owner, movingTo }) => {
        const isOwner = ({ cluster }: ServingNode): boolean =>
          cluster.memberId === owner && cluster.shards?.owned(id) !== undefined;
        return movingTo === undefined && serving.some(isOwner);
      })
    );
  }

  /** What each node's stores hold, by log. */
  stores(name: string): ReadonlyMap<string, MemoryStoreEngine> {
    return this.#members.get(name)!.stores;
  }

  host(name: string): SimulatedHost | undefined {
    return this.#members.get(name)?.host;
  }

  node(name: string): SimulatedNode {
    return this.#members.get(name)!.node;
  }

  /** Begins a life of a node that is down. */
  start(name: string, codeChoice?: number): void {
    const member = this.#members.get(name)!;
    if (this.#isOver || member.node.alive) return;
    const host = member.node.start();
    this.#lifeCount++;
    member.host = host;
    member.codeChoice = codeChoice ?? member.codeChoice;
    host.life.onEnd(() => {
      const { serving } = member;
      member.serving = undefined;
      serving?.end();
      // In an event of its own: what the dead life's code still does in this one has no effect, but must not fail either.
      this.#options.scheduler.at(0, () => {
        for (const store of member.stores.values()) store.crash();
      });
    });
    void this.#live(name, member, host);
  }

  /**
   * Finishes what faults may have begun: where some node was upgraded, all others are now, one by one, each in good order. `settled` is
   * awaited before each.
   */
  async upgradeRest(settled: () => Promise<void>): Promise<void> {
    const choices = [...this.#members.values()].flatMap(({ codeChoice }) => codeChoice ?? []);
    if (choices.length === 0) return;
    for (const [name, member] of this.#members) {
      if (member.codeChoice !== undefined) continue;
      await settled();
      await this.#stop(name);
      member.node.crash();
      this.start(name, choices[0]!);
    }
  }

  async #stop(name: string): Promise<void> {
    const member = this.#members.get(name)!;
    const { host } = member;
    if (host === undefined || member.serving === undefined) return;
    this.#stopping.add(host);
    host.life.onEnd(() => this.#stopping.delete(host));
    try {
      await member.serving.cluster.close();
    } catch (error) {
      // A disk that refuses to close a file is as good as a crash; anything else is a bug.
      if (!(error instanceof DiskError)) throw error;
      this.#failed(name, member, host, error);
    }
  }

  /** Ends everything at once. */
  end(): void {
    this.#isOver = true;
    for (const { node } of this.#members.values()) node.crash();
  }

  async #live(name: string, member: Member, host: SimulatedHost): Promise<void> {
    const failed = (error: unknown): void => this.#failed(name, member, host, error);
    const { meter, limits } = this.#options;
    const engine = this.engine.attach(name, host.life);
    try {
      const system = this.#options.system(member.codeChoice, name);
      const cluster = await ClusterNode.open({
        system,
        host: meter?.host(name, host) ?? host,
        engine: meter?.engine(name, engine) ?? engine,
        ...(limits === undefined ? {} : { limits }),
        blobs: (place) => this.engine.blobs(place, { node: name, life: host.life }),
        storeEngine: (log) => this.#store(name, member, log),
        name,
        address: `${name}:1`,
        labels: { zone: name, ...this.#regionOf(name, system) },
        shardCount: this.#options.shardCount,
        followerCount: this.#options.followerCount ?? 1,
        segmentBytes: this.#options.segmentBytes ?? segmentBytesDefault,
        snapshotBytes: this.#options.snapshotBytes ?? 64 * 1024,
        onFailed: failed,
      });
      if (!host.life.alive) return;
      const { scheduler, watchesCutOffs = false } = this.#options;
      const serving = new ServedLife(name, cluster, { scheduler, life: host.life });
      if (watchesCutOffs) serving.watchCutOffs();
      member.serving = serving;
    } catch (error) {
      failed(error);
    }
  }

  /** Where kinds are pinned, nodes are in one region after the other. */
  #regionOf(name: string, { definition }: SystemHandle): { readonly region?: string } {
    const regions = [...new Set([...definition.entities.values()].flatMap(({ region }) => region?.name ?? []))].sort();
    const region = regions[this.names.indexOf(name) % Math.max(1, regions.length)];
    return region === undefined ? {} : { region };
  }

  #failed(name: string, member: Member, host: SimulatedHost, error: unknown): void {
    if (!host.life.alive) return;
    this.#options.scheduler.note(`${name} failed: ${error instanceof Error ? error.message : String(error)}`);
    this.#options.onFailure?.(name, error);
    const { scheduler } = this.#options;
    scheduler.at(0, () => {
      if (member.host !== host || !host.life.alive) return;
      member.node.crash();
      scheduler.at(restartMs, () => this.start(name));
    });
  }

  #store(name: string, member: Member, log: string): MemoryStoreEngine {
    let store = member.stores.get(log);
    if (store === undefined) {
      const timers = {
        after: (delayMs: number, run: () => void) => member.host!.timers.after(delayMs, run),
        soon: (run: () => void) => member.host!.timers.soon(run),
      };
      store = memoryStore({ timers, random: this.#options.random.fork(`store ${name} ${log}`) });
      member.stores.set(log, store);
    }
    return store;
  }

  #heldTwice(log: string): number {
    const reaches = this.serving.map(({ cluster }) =>
      indexOfName(log) === undefined
        ? (cluster.shards?.position(log)?.sequence ?? 0)
        : // What is folded is durable in the node's copy.
          cluster.systemLog.state.sequence,
    );
    return reaches.sort((a, b) => b - a)[1] ?? 0;
  }

  /** Orders a planned move through the controller, if there is one. */
  #move(choice: number): void {
    const controller = this.serving.find(({ cluster }) => cluster.isController);
    if (controller === undefined) return;
    const { systemLog } = controller.cluster;
    void systemLog.propose(
      (state) => {
        const shards = [...state.shards.values()].filter(
          ({ status, owner, movingTo }) => status === "active" && owner !== undefined && movingTo === undefined,
        );
        const shard = shards[choice % Math.max(1, shards.length)];
        const to = shard?.followers[choice % Math.max(1, shard.followers.length)];
        const term = state.controller?.term;
        if (shard === undefined || to === undefined || term === undefined) return undefined;
        return [{ type: "move-planned", term, shard: shard.id, to, assignment: shard.assignment }];
      },
      { deadlineMs: 2000 },
    );
  }
}

const cutOffLookMs = 100;

class ServedLife implements ServingNode {
  readonly name: string;
  readonly cluster: ClusterNode;
  readonly #scheduler: Scheduler;
  readonly #life: NodeLife;
  readonly #listeners = new Set<{ readonly tell: () => void }>();
  #looking: Scheduled | undefined;
  #cutOffSinceMs: number | undefined;

  constructor(name: string, cluster: ClusterNode, world: { readonly scheduler: Scheduler; readonly life: NodeLife }) {
    this.name = name;
    this.cluster = cluster;
    this.#scheduler = world.scheduler;
    this.#life = world.life;
  }

  watchCutOffs(): void {
    this.#looking = this.#lookLater();
  }

  get service(): Service {
    return this.cluster.service;
  }

  get cutOffForMs(): number {
    return this.#cutOffSinceMs === undefined ? 0 : this.#scheduler.nowMs - this.#cutOffSinceMs;
  }

  onEnd(listener: () => void): { forget(): void } {
    const entry = { tell: listener };
    this.#listeners.add(entry);
    return { forget: () => this.#listeners.delete(entry) };
  }

  /** The life is over. */
  end(): void {
    this.#looking?.cancel();
    for (const { tell } of this.#listeners) tell();
    this.#listeners.clear();
  }

  #lookLater(): Scheduled {
    return this.#scheduler.at(cutOffLookMs, () => {
      const isCutOff = this.cluster.isCutOff && !this.#life.paused;
      this.#cutOffSinceMs = isCutOff ? (this.#cutOffSinceMs ?? this.#scheduler.nowMs) : undefined;
      this.#looking = this.#lookLater();
    });
  }
}
