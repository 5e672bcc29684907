/** A cluster of simulated nodes over an engine in memory, for tests of the whole: everything is real but clocks, network and disks. */
import { assert } from "../base/assert.ts";
import { SeededRandom } from "../base/random.ts";
import type { Client } from "../entity/client-types.ts";
import type { SystemHandle } from "../entity/definition.ts";
import { tester } from "../entity/shard.fixture.ts";
import { OnefoldError } from "../base/errors.ts";
import { MemoryEngineServer } from "../log/engine/memory-engine.ts";
import type { EngineLog, LogEngine } from "../log/engine-log.ts";
import { inProcessClient } from "../runtime/in-process-client.ts";
import { type SimulatedHost, SimulatedNode, type TraceLine } from "../sim/host.ts";
import { type Obstacle, SimulatedNetwork } from "../sim/network.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { type Blobs, openDiskBlobs } from "../store/blobs.ts";
import { type MemoryStoreEngine, memoryStore } from "../store/engine/memory.ts";
import { ClusterNode, type ClusterNodeOptions } from "./cluster-node.ts";

export class ClusterRig<S extends SystemHandle> {
  readonly scheduler = new Scheduler({ eventsMax: 20_000_000, notesKeptMax: 2000 });
  readonly server = new MemoryEngineServer();
  readonly network: SimulatedNetwork;
  readonly traces: string[] = [];
  readonly nodes = new Map<string, RigNode<S>>();
  readonly random: SeededRandom;
  readonly system: S;
  options: Partial<ClusterNodeOptions>;
  /** What one node has besides. */
  optionsOf: (name: string) => Partial<ClusterNodeOptions> = () => ({});
  readonly #blobsHost: SimulatedHost;
  readonly #blobs = new Map<string, Blobs>();

  constructor(system: S, seed: string, options: Partial<ClusterNodeOptions> = {}) {
    this.system = system;
    this.options = options;
    this.random = new SeededRandom(seed);
    const { scheduler } = this;
    this.network = new SimulatedNetwork({ scheduler, random: this.random.fork("network") });
    this.#blobsHost = new SimulatedNode({ scheduler, random: this.random.fork("blobs") }).start();
  }

  run(body: () => Promise<void>): Promise<void> {
    return this.scheduler.complete(body(), { untilMs: this.scheduler.nowMs + 3_600_000 });
  }

  node(name: string): RigNode<S> {
    let node = this.nodes.get(name);
    if (node === undefined) {
      node = new RigNode(this, name);
      this.nodes.set(name, node);
    }
    return node;
  }

  /** Starts these, and waits until every shard is served. */
  async start(...names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.node(name).start()));
    await this.settled();
  }

  /** Every shard has an owner that serves it. */
  async settled(): Promise<void> {
    await this.until(() => {
      const open = [...this.nodes.values()].flatMap(({ cluster }) => (cluster === undefined ? [] : [cluster]));
      const shards = [...(open[0]?.systemLog.state.shards.values() ?? [])].filter(({ status }) => status !== "retired");
      return shards.length > 0 && shards.every(({ id }) => open.some((node) => node.shards?.owned(id) !== undefined));
    });
  }

  async until(condition: () => boolean, withinMs = 120_000): Promise<void> {
    const endMs = this.scheduler.nowMs + withinMs;
    while (!condition()) {
      assert(this.scheduler.nowMs < endMs, `it never came to be: ${condition.toString()}`);
      await this.scheduler.sleep(20);
    }
  }

  blobs(place: string): Blobs {
    let blobs = this.#blobs.get(place);
    if (blobs === undefined) {
      const opening = openDiskBlobs({ disk: this.#blobsHost.disk, directory: place });
      blobs = {
        put: async (bytes) => (await opening).put(bytes),
        get: async (address) => (await opening).get(address),
        list: async () => (await opening).list(),
        delete: async (address) => (await opening).delete(address),
        readPointer: async (name) => (await opening).readPointer(name),
        setPointer: async (name, bytes) => (await opening).setPointer(name, bytes),
      };
      this.#blobs.set(place, blobs);
    }
    return blobs;
  }
}

export class RigNode<S extends SystemHandle> {
  readonly name: string;
  readonly node: SimulatedNode;
  readonly #rig: ClusterRig<S>;
  readonly #stores = new Map<string, MemoryStoreEngine>();
  #host: SimulatedHost | undefined;
  cluster: ClusterNode | undefined;
  #isCutOff = false;
  #cut: Obstacle | undefined;
  readonly failures: unknown[] = [];

  constructor(rig: ClusterRig<S>, name: string) {
    this.#rig = rig;
    this.name = name;
    this.node = new SimulatedNode({
      scheduler: rig.scheduler,
      network: rig.network,
      random: rig.random.fork(name),
      name,
      onTrace: (line) => rig.traces.push(`${rig.scheduler.nowMs.toFixed(0)} ${name} ${textOf(line)}`),
    });
  }

  async start(): Promise<void> {
    const host = this.node.start();
    this.#host = host;
    this.cluster = await ClusterNode.open({
      system: this.#rig.system,
      host,
      engine: this.#engine(),
      blobs: (place) => this.#rig.blobs(place),
      storeEngine: (log) => this.#store(log),
      name: this.name,
      address: `${this.name}:1`,
      labels: { zone: this.name },
      shardCount: 4,
      followerCount: 1,
      segmentBytes: 64 * 1024,
      onFailed: (error) => this.failures.push(error),
      ...this.#rig.options,
      ...this.#rig.optionsOf(this.name),
    });
  }

  #engine(): LogEngine {
    const engine = this.#rig.server.connect();
    return gatedEngine(engine, () => this.#isCutOff);
  }

  /** From now on neither the engine nor the other nodes can be reached. */
  cutOff(): void {
    this.#isCutOff = true;
    this.#cut = this.#rig.network.obstruct({ kind: "cut", from: [this.name], isBothWays: true });
  }

  reconnect(): void {
    this.#isCutOff = false;
    this.#cut?.clear();
  }

  #store(log: string): MemoryStoreEngine {
    let store = this.#stores.get(log);
    if (store === undefined) {
      const timers = {
        after: (delayMs: number, run: () => void) => this.#host!.timers.after(delayMs, run),
        soon: (run: () => void) => this.#host!.timers.soon(run),
      };
      store = memoryStore({ timers, random: this.#rig.random.fork(`${this.name} ${log}`) });
      this.#stores.set(log, store);
    }
    return store;
  }

  crash(): void {
    this.node.crash();
    for (const store of this.#stores.values()) store.crash();
    this.cluster = undefined;
  }

  async stop(): Promise<void> {
    await this.cluster!.close();
    this.crash();
  }

  get client(): Client<S> {
    return inProcessClient(this.#rig.system, this.cluster!.service, tester);
  }
}

function textOf({ level, message, fields }: TraceLine): string {
  const facts = Object.entries(fields).map(
    ([name, value]) => ` ${name}=${value instanceof Error ? value.stack : JSON.stringify(value)}`,
  );
  return `${level}: ${message}${facts.join("")}`;
}

/** The engine as a node has it whose way there is cut from time to time. */
function gatedEngine(engine: LogEngine, isCut: () => boolean): LogEngine {
  const reach = <T>(ask: () => Promise<T>): Promise<T> =>
    isCut() ? Promise.reject(new OnefoldError("unavailable", "The engine can't be reached.")) : ask();
  const gated = (log: EngineLog): EngineLog => ({
    name: log.name,
    append: (sequence, bytes) =>
      isCut() ? Promise.resolve({ kind: "unknown", cause: "cut off" }) : log.append(sequence, bytes),
    read: (sequence) => reach(() => log.read(sequence)),
    readMany: (sequence, bytesMax) => reach(() => log.readMany(sequence, bytesMax)),
    bounds: () => reach(() => log.bounds()),
    tail: (sequence, listener) =>
      log.tail(sequence, {
        // A tail behind a cut says nothing.
        record: (at, bytes) => {
          if (!isCut()) listener.record(at, bytes);
        },
        ended: (cause) => listener.ended(cause),
      }),
    trim: (sequence) => reach(() => log.trim(sequence)),
  });
  return {
    open: (name) => reach(async () => await engine.open(name).then((log) => log && gated(log))),
    create: (name, options) => reach(async () => gated(await engine.create(name, options))),
    laxities: (options) => engine.laxities(options),
    close: () => engine.close(),
  };
}
