/** Two regions, 80 ms apart each way, in simulated time: the cluster's own log, and what is pinned nowhere, is kept in eu. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { entity } from "../entity/define.ts";
import { system, transaction } from "../entity/define-system.ts";
import { tester } from "../entity/shard.fixture.ts";
import { reliableLink } from "../sim/link.ts";
import type { Obstacle } from "../sim/network.ts";
import { ClusterRig } from "./cluster.fixture.ts";
import { FarEngine } from "./far-engine.fake.ts";
import { presentShards, regionOfShard } from "./system-state.ts";

const purse = <const Name extends string>(name: Name) =>
  entity(name)
    .state(z.object({ cents: z.number() }), () => ({ cents: 0 }))
    .command("add", z.object({ cents: z.number() }), (state, { cents }) => {
      state.cents += cents;
      return state.cents;
    })
    .query("cents", (state) => state.cents);
const european = purse("european").region("eu");
const american = purse("american").region("us");
const worldly = purse("worldly");
const move = transaction("move", z.object({ cents: z.number() })).run(async (tx, { cents }) => {
  await tx(european, "a").add({ cents: -cents });
  await tx(american, "a").add({ cents });
});
const places = system("places", { european, american, worldly, move });

const delayMs = 80;
/** By the first letter of their names. */
const regionOf = (node: string): string => (node.startsWith("e") ? "eu" : "us");
const nodes = ["e1", "e2", "u1", "u2"] as const;

class World extends ClusterRig<typeof places> {
  readonly engine = new FarEngine({ server: this.server, scheduler: this.scheduler, delayMs, home: "eu" });
  #cut: Obstacle | undefined;

  constructor(seed: string) {
    super(places, seed);
    this.optionsOf = (name) => {
      const region = regionOf(name);
      return { labels: { region, zone: name }, engine: this.engine.connect(region) };
    };
    for (const from of nodes) {
      for (const to of nodes) {
        if (regionOf(from) === regionOf(to)) continue;
        this.network.behave({ from, to }, { ...reliableLink, delayMs: [delayMs, delayMs + 1] });
      }
    }
  }

  cut(): void {
    this.engine.isCut = true;
    this.#cut = this.network.obstruct({ kind: "cut", from: ["e1", "e2"], to: ["u1", "u2"], isBothWays: true });
  }

  heal(): void {
    this.engine.isCut = false;
    this.#cut?.clear();
  }

  /** What it gives, and how long it takes. */
  async timed<T>(call: () => Promise<T>): Promise<{ readonly value: T; readonly tookMs: number }> {
    const beganMs = this.scheduler.nowMs;
    const value = await call();
    return { value, tookMs: this.scheduler.nowMs - beganMs };
  }

  eventual(node: string, kind: string, id: string) {
    const options = { principal: tester, read: "eventual" } as const;
    return this.node(node).cluster!.service.query({ kind, id }, "cents", undefined, options);
  }

  /** Nothing of a region's shards is anywhere else. */
  checkPlaces(): void {
    const { state } = this.node("e1").cluster!.systemLog;
    for (const shard of presentShards(state)) {
      const region = regionOfShard(state, shard);
      if (region === undefined) continue;
      const holders = [shard.owner, ...shard.followers].flatMap((id) => id ?? []);
      assert.deepEqual([...new Set(holders.map(regionOf))], [region], `${shard.id}: ${holders}`);
      assert.equal(this.engine.regions.get(shard.log), region, shard.log);
    }
  }
}

describe("a cluster over two regions", () => {
  test("keeps what is pinned where it is pinned, and writes it there without a way to the other region", () => {
    const world = new World("near");
    return world.run(async () => {
      await world.start(...nodes);
      world.checkPlaces();
      for (const [node, kind] of [
        ["e1", "european"],
        ["e2", "european"],
        ["u1", "american"],
        ["u2", "american"],
      ] as const) {
        for (let index = 0; index < 4; index++) {
          const { client } = world.node(node);
          const purseOf = client[kind](`${node} ${index}`);
          const write = await world.timed(() => purseOf.add({ cents: 5 }));
          assert.deepEqual([write.value, write.tookMs < delayMs], [5, true], `a write took ${write.tookMs} ms`);
          const read = await world.timed(() => purseOf.cents());
          assert.deepEqual([read.value, read.tookMs < delayMs], [5, true], `a strong read took ${read.tookMs} ms`);
        }
      }
      // The first call also makes the connection.
      await world.node("e1").client.american("far").add({ cents: 1 });
      const far = await world.timed(() => world.node("e1").client.american("far").add({ cents: 1 }));
      assert.equal(far.tookMs >= 2 * delayMs && far.tookMs < 4 * delayMs, true, `far: ${far.tookMs} ms`);
    });
  });

  test("runs transactions over both regions, all or nothing", () => {
    const world = new World("transactions");
    return world.run(async () => {
      await world.start(...nodes);
      await world.node("e1").client.european("a").add({ cents: 100 });
      const moved = await world.timed(() => world.node("e1").client.move({ cents: 30 }));
      assert.equal(moved.tookMs >= 2 * delayMs && moved.tookMs < 3000, true, `it took ${moved.tookMs} ms`);
      assert.equal(await world.node("u1").client.european("a").cents(), 70);
      assert.equal(await world.node("e1").client.american("a").cents(), 30);
    });
  });

  test("reads eventually from a copy in the caller's region, which says how old it is", () => {
    const world = new World("eventual");
    return world.run(async () => {
      await world.start(...nodes);
      const { state } = world.node("e1").cluster!.systemLog;
      for (const { owner, followers, ...shard } of presentShards(state)) {
        if (regionOfShard(state, shard) !== undefined) continue;
        const regions = [owner!, ...followers].map(regionOf).sort();
        assert.deepEqual(regions, ["eu", "us"], `${shard.id} has a copy in each region`);
      }
      for (let index = 0; index < 8; index++) await world.node("e1").client.worldly(`w${index}`).add({ cents: 7 });
      await world.scheduler.sleep(3000);
      let copies = 0;
      for (const node of nodes) {
        for (let index = 0; index < 8; index++) {
          const read = await world.timed(() => world.eventual(node, "worldly", `w${index}`));
          assert.equal(read.value.output, 7);
          // The owner's word is never old, and waits for its log.
          if (read.value.staleForMs === undefined) continue;
          copies++;
          assert.equal(read.tookMs < delayMs, true, `${node}: a copy's answer took ${read.tookMs} ms`);
          assert.equal(read.value.staleForMs < 2000, true, `it is ${read.value.staleForMs} ms old`);
        }
      }
      assert.equal(copies > 12, true, `${copies} answers came from copies`);
    });
  });

  test("that is cut in two goes on where its own log is; the other region refuses, is never taken over, and comes back", () => {
    const world = new World("cut");
    return world.run(async () => {
      await world.start(...nodes);
      const [e1, u1] = [world.node("e1"), world.node("u1")];
      await e1.client.european("a").add({ cents: 1 });
      await u1.client.american("a").add({ cents: 1 });
      world.cut();
      await world.scheduler.sleep(20_000);
      const near = await world.timed(() => e1.client.european("a").add({ cents: 1 }));
      assert.deepEqual([near.value, near.tookMs < delayMs], [2, true]);
      // A node that is cut off says so, and still reads what it has.
      await assert.rejects(u1.client.american("a").add({ cents: 1 }), { code: "unavailable", retry: "safe" });
      assert.equal((await world.eventual("u1", "american", "a")).output, 1);
      // Nobody has taken over what is pinned to it.
      const { state } = e1.cluster!.systemLog;
      const away = presentShards(state).filter((shard) => regionOfShard(state, shard) === "us");
      assert.deepEqual(
        away.map(({ owner, followers }) => [owner, followers.length]),
        away.map(() => [undefined, 0]),
      );
      const address = { kind: "american", id: "a" };
      const options = { principal: tester, deadlineMs: 2000 };
      await assert.rejects(e1.cluster!.service.command(address, "add", { cents: 1 }, options), { code: "unavailable" });
      world.heal();
      await world.until(() => nodes.every((name) => !world.node(name).cluster!.isCutOff));
      await world.until(() => presentShards(e1.cluster!.systemLog.state).every(({ owner }) => owner !== undefined));
      await world.settled();
      world.checkPlaces();
      assert.equal(await u1.client.american("a").add({ cents: 1 }), 2);
      assert.equal(await u1.client.european("a").cents(), 2);
    });
  });

  test("waits with what is pinned to a region until a node of the region is there", () => {
    const world = new World("waits");
    return world.run(async () => {
      await Promise.all(["e1", "e2"].map((name) => world.node(name).start()));
      await world.until(() => {
        const { state } = world.node("e1").cluster!.systemLog;
        const shards = presentShards(state);
        return shards.every((shard) => regionOfShard(state, shard) === "us" || shard.owner !== undefined);
      });
      const write = { kind: "american", id: "a" };
      const options = { principal: tester, deadlineMs: 3000 };
      const { service } = world.node("e1").cluster!;
      await assert.rejects(service.command(write, "add", { cents: 1 }, options), { code: "unavailable" });
      await world.node("u1").start();
      await world.settled();
      world.checkPlaces();
      assert.equal((await service.command(write, "add", { cents: 1 }, options)).output, 1);
    });
  });

  const changes = {
    "is pinned now": { worldly: worldly.region("eu"), european, american },
    "is not pinned any more": { worldly, european: purse("european"), american },
    "is pinned elsewhere": { worldly, european: purse("european").region("us"), american },
    "is new, and pinned to a region that there is not": {
      worldly,
      european,
      american,
      asian: purse("asian").region("ap"),
    },
  };
  for (const [what, parts] of Object.entries(changes)) {
    test(`refuses a node whose code says that a kind ${what}`, () => {
      const world = new World("contradiction");
      return world.run(async () => {
        await world.start("e1", "u1");
        const optionsOf = world.optionsOf;
        world.optionsOf = (name) => ({ ...optionsOf(name), system: system("places", parts) });
        await assert.rejects(world.node("e2").start(), { code: "invalid-configuration" });
      });
    });
  }

  test("takes a node whose code has a new kind in a region that there is", () => {
    const world = new World("new-kind");
    return world.run(async () => {
      await world.start("e1", "u1");
      const optionsOf = world.optionsOf;
      const more = system("places", { worldly, european, american, second: purse("second").region("us") });
      world.optionsOf = (name) => ({ ...optionsOf(name), system: more });
      await world.node("e2").start();
      assert.equal(world.node("e1").cluster!.systemLog.state.regions!.kinds.second, "us");
    });
  });
});

describe("a cluster that was founded without regions", () => {
  test("refuses a node whose code pins a kind", () => {
    const rig = new ClusterRig(system("places", { worldly }), "no-regions");
    return rig.run(async () => {
      await rig.start("a");
      rig.optionsOf = () => ({ system: system("places", { worldly: worldly.region("eu") }) });
      await assert.rejects(rig.node("b").start(), {
        code: "invalid-configuration",
        message: /not founded with that region/,
      });
    });
  });
});
