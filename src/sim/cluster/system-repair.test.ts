/** Damage to the system log in the engine: the cluster goes on by itself, with everything that was acknowledged (G8). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bank } from "../../../examples/bank/bank.ts";
import { SeededRandom } from "../../base/random.ts";
import type { SystemState } from "../../cluster/system-state.ts";
import { presentMembers, presentShards } from "../../cluster/system-state.ts";
import { tester } from "../../entity/shard.fixture.ts";
import type { SimulatedEngine } from "../engine/engine.ts";
import { FaultCounts } from "../faults.ts";
import { Scheduler } from "../scheduler.ts";
import { SimulatedCluster } from "./simulated-cluster.ts";

class World {
  readonly scheduler = new Scheduler({ eventsMax: 20_000_000 });
  readonly failures: string[] = [];
  readonly traces: string[] = [];
  readonly cluster: SimulatedCluster;
  #calls = 0;
  /** Acknowledged deposits, by account. */
  readonly acknowledged = new Map<string, number>();

  constructor(seed: string, nodeCount = 3) {
    const { scheduler } = this;
    this.cluster = new SimulatedCluster({
      scheduler,
      random: new SeededRandom(seed),
      counts: new FaultCounts(),
      system: () => bank,
      nodeCount,
      shardCount: 4,
      onTrace: (node, { level, message }) => {
        if (level === "error") this.traces.push(`${node}: ${message}`);
      },
      onFailure: (node, error) => this.failures.push(`${node}: ${error}`),
    });
  }

  get engine(): SimulatedEngine {
    return this.cluster.engine;
  }

  get state(): SystemState {
    const [serving] = this.cluster.serving;
    assert.ok(serving !== undefined, "a node serves");
    return serving.cluster.systemLog.state;
  }

  /** The log's leader, which damage strikes. */
  get systemEnd(): { readonly first: number; readonly commit: number } {
    return this.engine.existing("system")!.leader!;
  }

  async start(names = this.cluster.names): Promise<void> {
    for (const name of names) this.cluster.start(name);
    await this.until(() => this.isServed(names.length), 30_000);
    // So that there are renewals to lose.
    await this.scheduler.sleep(3000);
  }

  /** Ends every node's process at once. */
  crashAll(): void {
    for (const name of this.cluster.names) this.cluster.node(name).crash();
  }

  /** So many nodes are up, and every shard is served. */
  isServed(nodeCount = this.cluster.names.length): boolean {
    const { serving } = this.cluster;
    if (serving.length < nodeCount) return false;
    const shards = presentShards(this.state);
    const isOwned = ({ id }: { readonly id: string }) =>
      serving.some(({ cluster }) => cluster.shards?.owned(id) !== undefined && !cluster.isCutOff);
    return shards.length === 4 && shards.every(isOwned);
  }

  /** All nodes follow a successor of the first log. */
  get isRepaired(): boolean {
    return this.cluster.serving.every(({ cluster }) => {
      return cluster.systemLog.isReady && cluster.systemLog.state.sequence > 2 ** 40;
    });
  }

  async until(condition: () => boolean, withinMs: number): Promise<void> {
    const endMs = this.scheduler.nowMs + withinMs;
    while (!condition()) {
      assert.ok(this.scheduler.nowMs < endMs, `not within ${withinMs} ms: ${condition}\n${this.traces.join("\n")}`);
      await this.scheduler.sleep(20);
    }
  }

  /** One deposit to each account, each acknowledged within `withinMs`. */
  async deposit(withinMs: number): Promise<void> {
    for (let account = 0; account < 8; account++) await this.#deposit(`x${account}`, this.scheduler.nowMs + withinMs);
  }

  async #deposit(id: string, endMs: number): Promise<void> {
    const options = { principal: tester, idempotencyKey: `deposit ${++this.#calls}` };
    for (;;) {
      try {
        await this.cluster.serving[0]!.service.command({ kind: "account", id }, "deposit", { cents: 1 }, options);
        this.acknowledged.set(id, (this.acknowledged.get(id) ?? 0) + 1);
        return;
      } catch (error) {
        if (this.scheduler.nowMs > endMs) throw error;
        await this.scheduler.sleep(100);
      }
    }
  }

  async assertKept(): Promise<void> {
    for (const [id, cents] of this.acknowledged) {
      const { service } = this.cluster.serving[0]!;
      const reply = await service.query({ kind: "account", id }, "balance", undefined, { principal: tester });
      assert.equal(reply.output, cents, id);
    }
  }

  run(body: () => Promise<void>): Promise<void> {
    return this.scheduler.complete(body(), { untilMs: this.scheduler.nowMs + 3_600_000 });
  }
}

/** Strikes the system log as it is now. */
const damages: { readonly [name: string]: (world: World) => boolean } = {
  "a hole in the middle": ({ engine, systemEnd: { first, commit } }) => {
    const sequence = Math.floor((first + commit) / 2);
    return engine.damage.hole({ log: "system", sequence, toSequence: sequence + 2 });
  },
  "a hole at the end": ({ engine, systemEnd: { commit } }) =>
    engine.damage.hole({ log: "system", sequence: commit - 2, toSequence: commit }),
  "a bit flip": ({ engine, systemEnd: { first } }) => engine.damage.flip({ log: "system", sequence: first, bit: 4711 }),
  "a rollback": ({ engine, systemEnd: { commit } }) =>
    engine.damage.rollback({ log: "system", toSequence: commit - 7, downMs: 5000 }),
  "a rollback to nothing": ({ engine }) => engine.damage.rollback({ log: "system", toSequence: 0, downMs: 5000 }),
};

const repairedWithinMs = 90_000;

describe("a system log that the engine has damaged", () => {
  for (const [what, strike] of Object.entries(damages)) {
    test(`goes on by itself while the cluster runs: ${what}`, () => {
      const world = new World(`running ${what}`);
      return world.run(async () => {
        await world.start();
        await world.deposit(10_000);
        const members = presentMembers(world.state).map(({ id }) => id);
        assert.ok(strike(world));
        const isShort = what.startsWith("a rollback");
        // What every node has verified is no matter to them, as long as the log goes on behind it.
        if (isShort) await world.until(() => world.isRepaired, repairedWithinMs);
        await world.until(() => world.isServed(), 10_000);
        await world.deposit(20_000);
        await world.assertKept();
        await world.scheduler.sleep(10_000);
        assert.deepEqual(
          presentMembers(world.state).map(({ id }) => id),
          members,
          "nobody was declared gone for it",
        );
        assert.deepEqual(world.failures, []);
        world.cluster.end();
      });
    });

    test(`goes on by itself after the whole cluster has started again: ${what}`, () => {
      const world = new World(`restarted ${what}`);
      return world.run(async () => {
        await world.start();
        await world.deposit(10_000);
        const before = world.state.sequence;
        world.crashAll();
        assert.ok(strike(world));
        await world.scheduler.sleep(1000);
        for (const name of world.cluster.names) world.cluster.start(name);
        await world.until(() => world.isServed(), repairedWithinMs);
        assert.ok(world.state.sequence >= before);
        await world.deposit(20_000);
        await world.assertKept();
        assert.deepEqual(world.failures, []);
        world.cluster.end();
      });
    });
  }

  test("is followed by a node that was away meanwhile", () => {
    const world = new World("away");
    return world.run(async () => {
      await world.start();
      await world.deposit(10_000);
      world.cluster.node("n3").crash();
      await world.until(() => presentMembers(world.state).length === 2, 10_000);
      assert.ok(damages["a rollback"]!(world));
      await world.until(() => world.isRepaired, repairedWithinMs);
      world.cluster.start("n3");
      await world.until(() => world.isServed() && world.isRepaired, 30_000);
      await world.deposit(20_000);
      await world.assertKept();
      assert.deepEqual(world.failures, []);
      world.cluster.end();
    });
  });

  test("goes on for a new node's sake, which finds a hole where the others have a copy", () => {
    const world = new World("newcomer", 4);
    return world.run(async () => {
      await world.start(["n1", "n2", "n3"]);
      await world.deposit(10_000);
      assert.ok(damages["a hole in the middle"]!(world));
      await world.scheduler.sleep(60_000);
      assert.ok(!world.isRepaired, "nobody else minds");
      world.cluster.start("n4");
      await world.until(() => world.isServed() && world.isRepaired, repairedWithinMs);
      assert.equal(presentMembers(world.state).length, 4);
      await world.deposit(20_000);
      await world.assertKept();
      assert.deepEqual(world.failures, []);
      world.cluster.end();
    });
  });

  test("goes on without a node that stays away, once a majority has waited for it", () => {
    const world = new World("majority");
    return world.run(async () => {
      await world.start();
      await world.deposit(10_000);
      assert.ok(damages["a rollback"]!(world));
      world.cluster.node("n3").crash();
      await world.until(() => world.isRepaired, 2 * repairedWithinMs);
      await world.deposit(20_000);
      world.cluster.start("n3");
      await world.until(() => world.isServed(), 30_000);
      await world.assertKept();
      world.cluster.end();
    });
  });
});
