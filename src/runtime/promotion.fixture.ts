/**
 * An embedded node on a simulated machine, and a cluster on an engine in memory that it moves to; callers that ask both until one answers;
 * and what must hold of the two at any time.
 */
import assert from "node:assert/strict";
import { bank } from "../../examples/bank/bank.ts";
import { OnefoldError } from "../base/errors.ts";
import { ClusterRig } from "../cluster/cluster.fixture.ts";
import { tester } from "../entity/shard.fixture.ts";
import type { CallReply, ChangeItem, Service } from "../entity/service.ts";
import type { EngineLog, LogEngine } from "../log/engine-log.ts";
import { type SimulatedHost, SimulatedNode, type TraceLine } from "../sim/host.ts";
import type { Blobs } from "../store/blobs.ts";
import { type MemoryStoreEngine, memoryStore } from "../store/engine/memory.ts";
import type { ClusterEngine } from "./cluster-engine.ts";
import { promoteStopped } from "./stopped-promotion.ts";
import { EmbeddedNode, type EmbeddedOptions } from "./embedded.ts";
import type { PromotionOptions, PromotionProgress, PromotionReport } from "../wire/promotion.ts";

export const promotionOptions: PromotionOptions = {
  target: { to: "nats://simulated:4222" },
  shardCount: 4,
  followerCount: 1,
  allowsLaxEngine: false,
};

/** What ends the embedded node at one of its questions to the engine: before the engine hears it, or before its answer is heard. */
export interface EngineCrash {
  readonly operation: number;
  readonly moment: "before" | "after";
}

export class MovingRig {
  readonly cluster: ClusterRig<typeof bank>;
  readonly machine: SimulatedNode;
  readonly store: MemoryStoreEngine;
  readonly traced: TraceLine[] = [];
  readonly stops: OnefoldError[] = [];
  embedded: EmbeddedNode | undefined;
  crash: EngineCrash | undefined;
  /** Questions to the engine so far. */
  engineOperations = 0;
  isEngineCut = false;
  /** What a move tells of itself. */
  onProgress: (progress: PromotionProgress) => void = () => undefined;
  #host: SimulatedHost;

  constructor(seed: string) {
    this.cluster = new ClusterRig(bank, seed, { mayFound: false });
    const { scheduler, random } = this.cluster;
    this.machine = new SimulatedNode({
      scheduler,
      random: random.fork("embedded"),
      name: "embedded",
      onTrace: (line) => this.traced.push(line),
    });
    this.#host = this.machine.start();
    this.store = memoryStore({
      timers: {
        after: (delayMs, callback) => this.#host.timers.after(delayMs, callback),
        soon: (callback) => this.#host.timers.soon(callback),
      },
      random: random.fork("embedded store"),
    });
  }

  static run(seed: string, body: (rig: MovingRig) => Promise<void>): Promise<void> {
    const rig = new MovingRig(seed);
    return rig.cluster.run(() => body(rig));
  }

  async open(options: Partial<EmbeddedOptions> = {}): Promise<EmbeddedNode> {
    const host = this.#host;
    const node = await EmbeddedNode.open({
      system: bank,
      host,
      storeEngine: this.store,
      reserveBytes: 0,
      connectEngine: async () => this.#engine(),
      onStopped: (error) => this.stops.push(error),
      ...options,
    });
    this.embedded = node;
    return node;
  }

  /** Starts nodes of the cluster, which become members once it is founded. */
  async startNodes(...names: readonly string[]): Promise<void> {
    const { scheduler } = this.cluster;
    for (const name of names) {
      for (;;) {
        try {
          await this.cluster.node(name).start();
          break;
        } catch (error) {
          if (!(error instanceof OnefoldError) || error.code !== "unavailable") throw error;
          this.cluster.node(name).crash();
          await scheduler.sleep(300);
        }
      }
    }
  }

  /** The embedded process dies. */
  kill(): void {
    this.machine.crash();
    this.store.crash();
    this.embedded = undefined;
  }

  /** The next one starts; its `open` is the caller's. */
  restart(): void {
    this.#host = this.machine.start();
  }

  /** Moves the system of the directory, which nobody has open. */
  promoteStopped(): Promise<PromotionReport> {
    return promoteStopped({
      host: this.#host,
      storeEngine: this.store,
      connectEngine: async () => this.#engine(),
      options: promotionOptions,
      onProgress: (progress) => this.onProgress(progress),
    });
  }

  /** As the embedded node has it. A life that has ended hears nothing any more. */
  #engine(): ClusterEngine {
    const logs = this.cluster.server.connect();
    const isAlive = this.#aliveness();
    const ask = async <T>(run: () => Promise<T>): Promise<T> => {
      const at = ++this.engineOperations;
      if (this.crash?.operation === at && this.crash.moment === "before") this.kill();
      if (!isAlive()) return new Promise<T>(() => undefined);
      await this.cluster.scheduler.sleep(0.3);
      if (!isAlive()) return new Promise<T>(() => undefined);
      if (this.isEngineCut) throw new OnefoldError("unavailable", "The engine can't be reached.");
      const result = await run();
      if (this.crash?.operation === at && this.crash.moment === "after") this.kill();
      return isAlive() ? result : new Promise<T>(() => undefined);
    };
    return {
      logs: askedEngine(logs, ask),
      blobs: (place) => askedBlobs(this.cluster.blobs(place), ask),
      close: () => logs.close(),
    };
  }

  #aliveness(): () => boolean {
    let isAlive = true;
    this.machine.onDeath(() => {
      isAlive = false;
    });
    return () => isAlive;
  }

  /** Those that might answer a caller now, the embedded node first. */
  get services(): readonly Service[] {
    const nodes = [...this.cluster.nodes.values()].flatMap(({ cluster }) => cluster?.service ?? []);
    return this.embedded === undefined ? nodes : [this.embedded.service, ...nodes];
  }

  /** Asks one after the other until one has answered, as a client of many addresses does. */
  async call(run: (service: Service) => Promise<CallReply>, withinMs = 180_000): Promise<CallReply> {
    const { scheduler } = this.cluster;
    const endMs = scheduler.nowMs + withinMs;
    let last: unknown;
    for (let at = 0; scheduler.nowMs < endMs; at++) {
      const { services } = this;
      const service = services[at % Math.max(1, services.length)];
      if (service !== undefined) {
        const late = scheduler.sleep(3000).then(() => "late" as const);
        const asked = run(service).then(
          (reply) => ({ reply }),
          (error: unknown) => ({ error }),
        );
        const outcome = await Promise.race([asked, late]);
        if (outcome !== "late") {
          if ("reply" in outcome) return outcome.reply;
          last = outcome.error;
          if (!(last instanceof OnefoldError) || last.retry === "never") throw last;
        }
      }
      await scheduler.sleep(20);
    }
    throw new Error("nobody has answered", { cause: last });
  }

  deposit(id: string, cents: number, idempotencyKey: string): Promise<CallReply> {
    return this.call((service) =>
      service.command(
        { kind: "account", id },
        "deposit",
        { cents },
        { principal: tester, idempotencyKey, deadlineMs: 2000 },
      ),
    );
  }

  async balance(id: string): Promise<number> {
    const { output } = await this.call((service) =>
      service.query({ kind: "account", id }, "balance", undefined, { principal: tester, deadlineMs: 2000 }),
    );
    return output as number;
  }

  /** The cluster has so many shards, and all of them are served. */
  async isSplit(count: number): Promise<void> {
    await this.cluster.until(() => {
      const shards = [...this.cluster.node("a").cluster!.systemLog.state.shards.values()];
      return shards.filter(({ status }) => status === "active").length === count;
    });
    await this.cluster.settled();
  }

  /** All changes behind this position, page by page. */
  async changesFrom(service: Service, from: string): Promise<readonly ChangeItem[]> {
    const items: ChangeItem[] = [];
    for (let after = from, page = 0; page < 100; page++) {
      const reply = await service.changes({ principal: tester, after, limit: 50 });
      assert.equal(reply.trimmed, false);
      items.push(...reply.items);
      after = reply.next;
      if (reply.items.length === 0) return items;
    }
    throw new Error("the changes have no end");
  }

  /** Which of the two answer a strong read now. */
  async alive(): Promise<readonly ("embedded" | "cluster")[]> {
    const answers = async (service: Service): Promise<boolean> => {
      const read = service.query({ kind: "account", id: "a0" }, "balance", undefined, {
        principal: tester,
        deadlineMs: 1500,
      });
      const late = this.cluster.scheduler.sleep(3000).then(() => false);
      return Promise.race([
        read.then(
          () => true,
          () => false,
        ),
        late,
      ]);
    };
    const clusterNodes = [...this.cluster.nodes.values()].flatMap(({ cluster }) => cluster?.service ?? []);
    const [embedded, ...others] = await Promise.all([
      this.embedded === undefined ? false : answers(this.embedded.service),
      ...clusterNodes.map(answers),
    ]);
    return [...(embedded ? (["embedded"] as const) : []), ...(others.includes(true) ? (["cluster"] as const) : [])];
  }
}

/** Deposits of one cent to ten accounts, each with a key of its own, until it is ended. */
export class Load {
  readonly #rig: MovingRig;
  readonly #running: Promise<void>;
  #isOver = false;
  /** By account. */
  readonly acknowledged = new Map<string, number>();
  slowestMs = 0;
  count = 0;

  constructor(rig: MovingRig) {
    this.#rig = rig;
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    const { scheduler } = this.#rig.cluster;
    while (!this.#isOver) {
      const id = `a${this.count % 10}`;
      const beganMs = scheduler.nowMs;
      await this.#rig.deposit(id, 1, `load ${this.count++}`);
      this.slowestMs = Math.max(this.slowestMs, scheduler.nowMs - beganMs);
      this.acknowledged.set(id, (this.acknowledged.get(id) ?? 0) + 1);
      await scheduler.sleep(10);
    }
  }

  /** Every deposit took hold once (G6): balances are what was acknowledged. */
  async check(): Promise<void> {
    this.#isOver = true;
    await this.#running;
    for (const [id, cents] of this.acknowledged) assert.equal(await this.#rig.balance(id), cents, id);
  }
}

type Ask = <T>(run: () => Promise<T>) => Promise<T>;

function askedEngine(engine: LogEngine, ask: Ask): LogEngine {
  return {
    open: (name) => ask(async () => await engine.open(name).then((log) => log && askedLog(log, ask))),
    create: (name, options) => ask(async () => askedLog(await engine.create(name, options), ask)),
    laxities: (options) => ask(() => engine.laxities(options)),
    close: () => engine.close(),
  };
}

function askedLog(log: EngineLog, ask: Ask): EngineLog {
  return {
    name: log.name,
    append: (sequence, bytes) =>
      ask(() => log.append(sequence, bytes)).catch((cause: unknown) => ({ kind: "unknown", cause }) as const),
    read: (sequence) => ask(() => log.read(sequence)),
    readMany: (sequence, bytesMax) => ask(() => log.readMany(sequence, bytesMax)),
    bounds: () => ask(() => log.bounds()),
    tail: (sequence, listener) => log.tail(sequence, listener),
    trim: (sequence) => ask(() => log.trim(sequence)),
  };
}

function askedBlobs(blobs: Blobs, ask: Ask): Blobs {
  return {
    put: (bytes) => ask(() => blobs.put(bytes)),
    get: (address) => ask(() => blobs.get(address)),
    list: () => ask(() => blobs.list()),
    delete: (address) => ask(() => blobs.delete(address)),
    readPointer: (name) => ask(() => blobs.readPointer(name)),
    setPointer: (name, bytes) => ask(() => blobs.setPointer(name, bytes)),
  };
}
