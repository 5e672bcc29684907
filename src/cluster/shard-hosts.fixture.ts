/** One shard on several simulated nodes over one engine in memory, for tests of the shard host. */
import { assert } from "../base/assert.ts";
import { toHex } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import { makeNotebook } from "../entity/notebook.fixture.ts";
import { tester } from "../entity/shard.fixture.ts";
import { MemoryEngineServer } from "../log/engine/memory-engine.ts";
import type { EngineLog, LogEngine } from "../log/engine-log.ts";
import type { LogPosition } from "../log/log.ts";
import { type SimulatedHost, SimulatedNode } from "../sim/host.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { type Blobs, openDiskBlobs } from "../store/blobs.ts";
import { type MemoryStoreEngine, memoryStore } from "../store/engine/memory.ts";
import { FoldPace } from "./fold-pace.ts";
import type { LogFault } from "./log-fault.ts";
import { type Handed, ShardHost, type ShardRole } from "./shard-host.ts";
import type { SealPayload } from "./shard-records.ts";

const cluster = {
  id: toHex(new Uint8Array(16).fill(5)),
  systemName: "notebook",
  secret: new Uint8Array(32).fill(9),
  shardCount: 1,
  followerCount: 1,
};

/** What one node's log calls pass through; a test may replace it. */
export type Tamper = (log: EngineLog) => EngineLog;

export class HostedNode {
  readonly node: SimulatedNode;
  readonly store: MemoryStoreEngine;
  readonly name: string;
  readonly seals: SealPayload[] = [];
  readonly faults: LogFault[] = [];
  readonly epochs: number[] = [];
  readonly released: number[] = [];
  /** What it has said to whom its shard moves to. */
  readonly handed: Handed[] = [];
  mayClaim = true;
  #world: ShardWorld;
  #host: SimulatedHost | undefined;
  #shardHost: ShardHost | undefined;

  constructor(world: ShardWorld, name: string, random: SeededRandom) {
    this.#world = world;
    this.name = name;
    this.node = new SimulatedNode({ scheduler: world.scheduler, random: random.fork("node"), name });
    const timers = {
      after: (delayMs: number, run: () => void) => this.#host!.timers.after(delayMs, run),
      soon: (run: () => void) => this.#host!.timers.soon(run),
    };
    this.store = memoryStore({ timers, random: random.fork("store") });
  }

  get shardHost(): ShardHost {
    assert(this.#shardHost !== undefined, "the node has been started");
    return this.#shardHost;
  }

  /** Another object for another quarantine. */
  quarantined: ReadonlySet<string> = new Set();

  async start(role: ShardRole, tamper: Tamper = (log) => log): Promise<void> {
    const host = this.node.start();
    this.#host = host;
    const log = tamper(await this.#world.engineOf().create("s1", { firstSequence: 1 }));
    const shardHost = new ShardHost(
      {
        host,
        limits,
        system: this.#world.notebook.notebook.definition,
        cluster,
        member: this.name,
        log,
        directory: "copy",
        storeEngine: this.store,
        foldPace: new FoldPace(host.clock),
        newestBlobs: () => this.#world.newestBlobs(),
        blobsOfEpoch: (epoch) => this.#world.blobs(`s1.${epoch}`),
        newestSnapshotSequence: () => this.#world.published.at(-1)?.sequence ?? 0,
        publishSnapshot: (position) => this.#world.publish(position),
        segmentBytes: 64 * 1024,
        snapshotBytes: this.#world.snapshotBytes,
        neighbours: { isOwn: () => true, ask: () => Promise.reject(new Error("there is one shard")) },
        pastOf: () => ({
          read: async () => undefined,
          firstSequence: async () => Number.MAX_SAFE_INTEGER,
          holds: () => true,
        }),
        anchors: () => this.#world.anchors(this),
        mayClaim: () => this.mayClaim,
        mayTellDurable: () => false,
        quarantined: () => this.quarantined,
        onOwned: (epoch) => this.epochs.push(epoch),
        beforeClaim: () => undefined,
        nextIsReady: (end) => this.#world.nextIsReady(this, end),
        tellNext: (handed) => this.handed.push(handed),
        onReleased: (assignment) => void this.released.push(assignment),
        split: () => Promise.reject(new Error("nothing is split here")),
        onSealed: (seal) => this.seals.push(seal),
        onFault: (fault) => this.faults.push(fault),
      },
      role,
    );
    this.#shardHost = shardHost;
    shardHost.start();
  }

  crash(): void {
    this.node.crash();
    this.store.crash();
    this.#shardHost = undefined;
  }

  /** Writes a line as soon as the node owns the shard. */
  async write(id: string, line: string): Promise<number> {
    await this.#world.until(() => this.shardHost.owned !== undefined);
    const reply = await this.shardHost.owned!.shard.command(
      { kind: "note", id },
      "write",
      { line },
      { principal: tester },
    );
    return reply.output as number;
  }

  async lines(id: string): Promise<readonly string[]> {
    const reply = await this.shardHost.owned!.shard.state({ kind: "note", id }, { principal: tester });
    return (reply.state as { lines: string[] }).lines;
  }

  get position(): LogPosition | null {
    return this.#shardHost?.replica?.end ?? null;
  }
}

export class ShardWorld {
  readonly scheduler = new Scheduler({ eventsMax: 2_000_000 });
  readonly server = new MemoryEngineServer();
  readonly notebook = makeNotebook();
  readonly nodes: HostedNode[] = [];
  readonly published: LogPosition[] = [];
  snapshotBytes = 1024 * 1024 * 1024;
  /** What happens between a node's claim and the answers of the others. */
  beforeAnchors: (asking: HostedNode) => Promise<void> = async () => undefined;
  /** What the one that a shard moves to says of its copy. */
  nextIsReady: (owner: HostedNode, end: LogPosition) => Promise<void> = async () => undefined;
  readonly #random: SeededRandom;
  readonly #disk: SimulatedHost;
  readonly #blobs = new Map<string, Blobs>();

  constructor(seed = "shard-host") {
    this.#random = new SeededRandom(seed);
    const blobsNode = new SimulatedNode({ scheduler: this.scheduler, random: this.#random.fork("blobs") });
    this.#disk = blobsNode.start();
  }

  node(name: string): HostedNode {
    const node = new HostedNode(this, name, this.#random.fork(name));
    this.nodes.push(node);
    return node;
  }

  engineOf(): LogEngine {
    return this.server.connect();
  }

  blobs(name: string): Blobs {
    let blobs = this.#blobs.get(name);
    if (blobs === undefined) {
      blobs = lazyBlobs(openDiskBlobs({ disk: this.#disk.disk, directory: name }));
      this.#blobs.set(name, blobs);
    }
    return blobs;
  }

  newestBlobs(): Blobs | undefined {
    const newest = this.published.at(-1);
    return newest === undefined ? undefined : this.blobs(`s1.${newest.epoch}`);
  }

  async publish(position: LogPosition): Promise<boolean> {
    this.published.push(position);
    return true;
  }

  async anchors(asking: HostedNode): Promise<readonly LogPosition[]> {
    await this.beforeAnchors(asking);
    const others = this.nodes.filter((node) => node !== asking && node.node.alive);
    return others.flatMap(({ position }) => (position === null ? [] : [position]));
  }

  run(body: () => Promise<void>): Promise<void> {
    return this.scheduler.complete(body(), { untilMs: this.scheduler.nowMs + 600_000 });
  }

  /** Waits until it is so; fails after a minute of virtual time. */
  async until(condition: () => boolean): Promise<void> {
    const endMs = this.scheduler.nowMs + 60_000;
    while (!condition()) {
      assert(this.scheduler.nowMs < endMs, `it never came to be: ${condition.toString()}`);
      await this.scheduler.sleep(5);
    }
  }
}

function lazyBlobs(opening: Promise<Blobs>): Blobs {
  return {
    put: async (bytes) => (await opening).put(bytes),
    get: async (address) => (await opening).get(address),
    list: async () => (await opening).list(),
    delete: async (address) => (await opening).delete(address),
    readPointer: async (name) => (await opening).readPointer(name),
    setPointer: async (name, bytes) => (await opening).setPointer(name, bytes),
  };
}
