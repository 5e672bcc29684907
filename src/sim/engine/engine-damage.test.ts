import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EngineWorld, record, textOf } from "./engine.fixture.ts";

const servers = ["e1", "e2", "e3"] as const;

describe("damage to a simulated engine", () => {
  test("a hole is not found on the replica that has it, is counted all the same, and another replica has what was there", async () => {
    const world = new EngineWorld("hole");
    await world.run(async () => {
      const log = await world.logOf(10, { leader: "e2" });
      assert.equal(world.engine.damage.hole({ log: "log", sequence: 4, toSequence: 6, server: "e1" }), true);
      assert.equal(textOf(await log.read(5)), "record 5");
      assert.equal(world.group.lead("e1"), true);
      for (const sequence of [4, 5, 6]) assert.equal(await log.read(sequence), undefined);
      assert.deepEqual(await log.bounds(), { first: 1, last: 10 });
      assert.equal((await log.readMany(2, 10_000)).length, 2);
      assert.equal((await log.append(11, record(11))).kind, "appended");
      assert.equal(world.group.lead("e3"), true);
      assert.equal(textOf(await log.read(5)), "record 5");
      assert.equal(textOf(await log.read(11)), "record 11");
    });
    assert.equal(world.count("engine-hole"), 1);
  });

  test("a tail skips a hole without a word", async () => {
    const world = new EngineWorld("tail");
    await world.run(async () => {
      const log = await world.logOf(6);
      for (const server of servers) world.engine.damage.hole({ log: "log", sequence: 3, server });
      const told: number[] = [];
      log.tail(1, { record: (sequence) => void told.push(sequence), ended: () => undefined });
      await world.scheduler.sleep(20);
      assert.deepEqual(told, [1, 2, 4, 5, 6]);
    });
  });

  test("a replica that is rebuilt from a damaged one has the damage too", async () => {
    const world = new EngineWorld("rebuilt");
    await world.run(async () => {
      const log = await world.logOf(3);
      world.engine.crashServer("e3");
      await log.append(4, record(4));
      world.engine.damage.hole({ log: "log", sequence: 4, server: "e1" });
      world.engine.restartServer("e3");
      await world.scheduler.sleep(1100);
      world.group.lead("e3");
      assert.equal(await log.read(4), undefined);
      world.group.lead("e2");
      assert.equal(textOf(await log.read(4)), "record 4");
    });
  });

  test("a flipped bit is in one replica's bytes alone", async () => {
    const world = new EngineWorld("flip");
    await world.run(async () => {
      const log = await world.logOf(3);
      assert.equal(world.engine.damage.flip({ log: "log", sequence: 2, bit: 3 }), true);
      const bytes = (await log.read(2))!;
      const differing = bytes.filter((byte, index) => byte !== record(2)[index]);
      assert.equal(differing.length, 1);
      world.group.lead("e2");
      assert.equal(textOf(await log.read(2)), "record 2");
    });
    assert.equal(world.count("engine-bit-flip"), 1);
  });

  test("a misdirected record stands where another one was", async () => {
    const world = new EngineWorld("misdirected");
    await world.run(async () => {
      const log = await world.logOf(5);
      assert.equal(world.engine.damage.misdirect({ log: "log", sequence: 2, fromSequence: 4 }), true);
      assert.equal(textOf(await log.read(2)), "record 4");
      assert.equal(textOf(await log.read(4)), "record 4");
    });
    assert.equal(world.count("misdirected-record"), 1);
  });

  test("a rollback takes acknowledged records away; what is appended then survives the return of who had them", async () => {
    for (let seed = 0; seed < 10; seed++) {
      const world = new EngineWorld(seed);
      await world.run(async () => {
        const log = await world.logOf(60);
        assert.equal(world.engine.damage.rollback({ log: "log", toSequence: 30 }), true);
        await world.scheduler.sleep(9001);
        assert.deepEqual(await log.bounds(), { first: 1, last: 30 });
        assert.equal(await log.read(31), undefined);
        if (seed % 2 === 0) assert.equal((await log.append(31, record("new"))).kind, "appended");
        world.engine.heal();
        await world.scheduler.sleep(2000);
        // Who had them has dropped them, also if nothing was appended meanwhile.
        for (const server of servers) {
          world.group.lead(server);
          assert.equal((await log.bounds()).last, seed % 2 === 0 ? 31 : 30);
          assert.equal(textOf(await log.read(31)), seed % 2 === 0 ? "record new" : undefined);
          assert.equal(textOf(await log.read(30)), "record 30");
        }
      });
      assert.equal(world.count("engine-rollback"), 1);
    }
  });

  test("a rollback ends the tails that have told of more, and brings the third back after a while", async () => {
    const world = new EngineWorld("rollback-tail");
    await world.run(async () => {
      const log = await world.logOf(20);
      let endedCount = 0;
      const tails = ["n1", "n2", "n3", "n4"].map((node) => world.connect(node).open("log"));
      for (const each of await Promise.all(tails)) {
        each!.tail(1, { record: () => undefined, ended: () => void endedCount++ });
      }
      await world.scheduler.sleep(20);
      world.engine.damage.rollback({ log: "log", toSequence: 5, downMs: 20_000 });
      await world.scheduler.sleep(15_000);
      assert.equal(endedCount, 4);
      assert.equal(world.engine.servers.all.filter(({ state }) => state === "down").length, 1);
      await world.scheduler.sleep(10_000);
      assert.equal(world.engine.servers.all.filter(({ state }) => state === "down").length, 0);
      assert.equal((await log.bounds()).last, 5);
    });
  });

  test("a log that has vanished can't be opened, written or read until it is back", async () => {
    const world = new EngineWorld("vanished");
    await world.run(async () => {
      const log = await world.logOf(5);
      const engine = world.connect("n2");
      assert.equal(world.engine.damage.vanish({ log: "log", durationMs: 5000 }), true);
      assert.equal(await engine.open("log"), undefined);
      await assert.rejects(engine.create("log", { firstSequence: 1 }), { code: "unavailable" });
      await assert.rejects(log.read(1), { code: "unavailable" });
      assert.equal((await log.append(6, record(6))).kind, "unknown");
      await world.scheduler.sleep(5000);
      assert.equal(textOf(await (await engine.open("log"))!.read(5)), "record 5");
      world.engine.damage.vanish({ log: "log" });
      assert.equal(await engine.open("log"), undefined);
      world.engine.heal();
      assert.ok((await engine.open("log")) !== undefined);
    });
    assert.equal(world.count("vanished-log"), 2);
  });

  test("happens only to what is there", async () => {
    const world = new EngineWorld("absent");
    const { damage } = world.engine;
    await world.run(() => world.logOf(5));
    assert.equal(damage.hole({ log: "none", sequence: 1 }), false);
    assert.equal(damage.hole({ log: "log", sequence: 6 }), false);
    assert.equal(damage.flip({ log: "log", sequence: 6, bit: 0 }), false);
    assert.equal(damage.misdirect({ log: "log", sequence: 2, fromSequence: 6 }), false);
    assert.equal(damage.rollback({ log: "log", toSequence: 5 }), false);
    assert.equal(damage.vanish({ log: "none" }), false);
    assert.equal(world.engine.counts.total, world.count("election"));
  });
});
