/**
 * A simulated engine: servers that keep logs and blobs for a cluster of simulated nodes, on the nodes' scheduler and network and from
 * one seed. It does what the port allows (`log/engine-log.ts`, EL1–EL3) and what was measured of a real engine: elections that take
 * seconds, deposed leaders that go on answering, acknowledgements that are lost, and damage.
 *
 * SM1 While nothing is damaged, what was said to be `appended` stands in the log, whatever servers and ways do.
 * SM2 Damage happens only where `damage` is told to do it.
 * SM3 Once it is healed, every log is served again within an election's time.
 */
import { assert } from "../../base/assert.ts";
import type { SeededRandom } from "../../base/random.ts";
import type { LogEngine } from "../../log/engine-log.ts";
import type { Blobs } from "../../store/blobs.ts";
import type { FaultCounts } from "../faults.ts";
import type { NodeLife } from "../life.ts";
import type { SimulatedNetwork } from "../network.ts";
import type { Scheduler } from "../scheduler.ts";
import { BlobShelf } from "./blob-shelf.ts";
import type { EngineCosts } from "./engine-costs.ts";
import { EngineDamage } from "./engine-damage.ts";
import { type EngineFaultRates, type EngineTimes, engineTimes, noEngineFaults } from "./engine-faults.ts";
import { EngineServers } from "./engine-servers.ts";
import { LiveBlobs } from "./live-blobs.ts";
import { LiveEngine, type LiveEngineWorld } from "./live-engine.ts";
import { type GroupWorld, ReplicaGroup } from "./replica-group.ts";
import { EngineSession } from "./session.ts";

/** Copies of each log. */
const replicaCount = 3;

export interface SimulatedEngineOptions {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  /** Its servers are hosts of their own there; no node may have a server's name. */
  readonly network: SimulatedNetwork;
  readonly counts?: FaultCounts;
  /** By default e1, e2 and e3, in zones z1, z2 and z3. At least three. */
  readonly servers?: readonly { readonly name: string; readonly zone: string }[];
  readonly times?: Partial<EngineTimes>;
  /** By default servers' work takes no time but what `times` says. */
  readonly costs?: EngineCosts;
  /** What `laxities` says. */
  readonly laxities?: readonly string[];
}

const serversDefault = [1, 2, 3].map((number) => ({ name: `e${number}`, zone: `z${number}` }));

interface MadeLog {
  readonly group: ReplicaGroup;
  /** The directory's entry that names it. */
  readonly madeAt: number;
}

export class SimulatedEngine implements LiveEngineWorld, GroupWorld {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly network: SimulatedNetwork;
  readonly counts: FaultCounts;
  readonly times: EngineTimes;
  readonly costs: EngineCosts | undefined;
  readonly servers: EngineServers;
  readonly directory: ReplicaGroup;
  readonly laxities: readonly string[];
  readonly damage: EngineDamage;
  /** What goes wrong by chance from now on. */
  rates: EngineFaultRates = noEngineFaults;
  readonly #logs = new Map<string, MadeLog>();
  readonly #vanished = new Set<string>();
  readonly #shelves = new Map<string, BlobShelf>();
  readonly #engines = new Set<LiveEngine>();
  #sessionCount = 0;

  constructor(options: SimulatedEngineOptions) {
    this.scheduler = options.scheduler;
    this.random = options.random;
    this.network = options.network;
    this.counts = options.counts ?? options.network.counts;
    this.times = { ...engineTimes, ...options.times };
    this.costs = options.costs;
    this.laxities = options.laxities ?? [];
    const servers = options.servers ?? serversDefault;
    assert(servers.length >= replicaCount, "an engine has at least three servers");
    this.servers = new EngineServers({
      scheduler: this.scheduler,
      network: this.network,
      counts: this.counts,
      servers,
      onChange: () => this.#changed(),
    });
    const names = servers.map(({ name }) => name);
    this.directory = new ReplicaGroup(this, { name: "directory", servers: names, firstSequence: 1 });
    this.damage = new EngineDamage(this);
  }

  /** The engine as one life of the node called `node` has it. */
  attach(node: string, life: NodeLife): LogEngine {
    const engine = new LiveEngine(this, this.#session(node, life));
    this.#engines.add(engine);
    life.onEnd(() => this.#engines.delete(engine));
    return engine;
  }

  /** The blobs that are kept under `name`, as one life of a node has them. */
  blobs(name: string, { node, life }: { readonly node: string; readonly life: NodeLife }): Blobs {
    return new LiveBlobs(this, this.#session(node, life), this.shelf(name));
  }

  #session(node: string, life: NodeLife): EngineSession {
    return new EngineSession(this, { node, life, random: this.random.fork(`session-${++this.#sessionCount}`) });
  }

  // -------------------------------------------------------------------------------------------------------- servers

  /** kill -9: what it had synced is there when it is restarted. */
  crashServer(name: string): void {
    if (!this.servers.isUp(name)) return;
    this.counts.add("server-crash");
    for (const group of this.#groups()) group.crash(name);
    this.servers.goDown(name);
  }

  /** Stops it in good order: its logs have other leaders within a moment. */
  stopServer(name: string): void {
    if (!this.servers.isRunning(name)) return;
    this.counts.add("server-stop");
    for (const group of this.#groups()) {
      group.handOver(name);
      group.crash(name);
    }
    this.servers.goDown(name);
  }

  restartServer(name: string): void {
    this.servers.restart(name);
  }

  pauseServer(name: string): void {
    if (this.servers.pause(name)) this.counts.add("server-pause");
  }

  resumeServer(name: string): void {
    this.servers.resume(name);
  }

  /** Its replicas take nothing new, though they vote and answer. */
  lagServer(name: string, isLagging: boolean): void {
    if (isLagging && !this.servers.isLagging(name)) this.counts.add("server-lag");
    this.servers.lag(name, isLagging);
  }

  /** From now on nothing fails by chance, and all servers run. Obstructions are the network's to clear; damage stays. */
  heal(): void {
    this.rates = noEngineFaults;
    for (const name of this.#vanished) this.show(name);
    for (const { name } of this.servers.all) {
      this.servers.resume(name);
      this.servers.restart(name);
      this.servers.lag(name, false);
    }
  }

  #groups(): readonly ReplicaGroup[] {
    return [this.directory, ...[...this.#logs.values()].map(({ group }) => group)];
  }

  #changed(): void {
    for (const group of this.#groups()) group.changed();
    for (const engine of this.#engines) engine.changed();
  }

  isRunning(server: string): boolean {
    return this.servers.isRunning(server);
  }

  isConnected(one: string, other: string): boolean {
    return this.servers.isConnected(one, other);
  }

  isLagging(server: string): boolean {
    return this.servers.isLagging(server);
  }

  // ----------------------------------------------------------------------------------------------------------- logs

  /** Names of all logs, in order of making. */
  get logNames(): readonly string[] {
    return [...this.#logs.keys()];
  }

  /** For clients: undefined also for a log that has vanished. */
  group(name: string): ReplicaGroup | undefined {
    return this.#vanished.has(name) ? undefined : this.existing(name);
  }

  /** For faults and checkers: the log, vanished or not. */
  existing(name: string): ReplicaGroup | undefined {
    return this.#logs.get(name)?.group;
  }

  madeAt(name: string): number | undefined {
    return this.#logs.get(name)?.madeAt;
  }

  isVanished(name: string): boolean {
    return this.#vanished.has(name);
  }

  make(name: string, options: { readonly firstSequence: number; readonly madeAt: number }): void {
    if (this.#logs.has(name)) return;
    const group = new ReplicaGroup(this, { name, servers: this.#place(name), firstSequence: options.firstSequence });
    this.#logs.set(name, { group, madeAt: options.madeAt });
  }

  /** Servers of different zones, as far as there are zones enough. */
  #place(name: string): readonly string[] {
    const servers = this.random.fork(`place-${name}`).shuffle(this.servers.all);
    const zones = new Set<string>();
    const spread = servers.filter(({ zone }) => !zones.has(zone) && zones.add(zone));
    const rest = servers.filter((server) => !spread.includes(server));
    return [...spread, ...rest].slice(0, replicaCount).map((server) => server.name);
  }

  // ---------------------------------------------------------------------------------------------- for `damage` only

  /** From now on the engine answers as if there were no such log. */
  hide(name: string): void {
    this.#vanished.add(name);
  }

  /** Takes back `hide`. */
  show(name: string): void {
    this.#vanished.delete(name);
  }

  shelf(name: string): BlobShelf {
    let shelf = this.#shelves.get(name);
    if (shelf === undefined) {
      shelf = new BlobShelf();
      this.#shelves.set(name, shelf);
    }
    return shelf;
  }

  /** Names under which blobs are kept. */
  get shelfNames(): readonly string[] {
    return [...this.#shelves.keys()];
  }
}
