/** What the alarm clock keeps straight while much goes on at once. The single rules are in `timers.test.ts`. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { SeededRandom } from "../base/random.ts";
import { entity } from "./define.ts";
import { system } from "./define-system.ts";
import { entriesWithPrefix } from "./fold.ts";
import { keys } from "./keys.ts";
import { withNotebook } from "./notebook.fixture.ts";
import { outcomesOf, ShardRig } from "./shard.fixture.ts";

const small = { limits: { timerWindow: 8 } };
const timersIn = (rig: Pick<ShardRig<never>, "store">) =>
  [...entriesWithPrefix(rig.store, keys.table("timerDue"))].length;

describe("hundreds of timers in a window of eight", () => {
  test("fire once each and none early, though more are set, replaced and cancelled while windows are read, over crashes", () =>
    withNotebook(async ({ rig }) => {
      const random = new SeededRandom("windows");
      const ids = ["a", "b", "c", "d", "e"];
      /** What is to fire, by its line: the earliest log time at which it may. */
      const expected = new Map<string, number>();
      const keyed = new Map<string, string>();
      let count = 0;
      const setOne = async () => {
        const id = random.pick(ids);
        const key = `k${random.integer(40)}`;
        const line = `${count++}`;
        const before = keyed.get(`${id} ${key}`);
        if (before !== undefined) expired.add(before);
        if (before !== undefined && random.chance(0.3)) {
          keyed.delete(`${id} ${key}`);
          await rig.client().note(id).cancel({ key });
          return;
        }
        const delayMs = random.integer(3000);
        keyed.set(`${id} ${key}`, line);
        expected.set(line, rig.node.clock.wallMs() + delayMs);
        await rig.client().note(id).remind({ delayMs, line, key });
      };
      /** Replaced or cancelled, perhaps after they had fired. */
      const expired = new Set<string>();
      for (let life = 0; life < 5; life++) {
        for (let turn = 0; turn < 25; turn++) {
          await Promise.all([setOne(), setOne(), setOne(), setOne()]);
          await rig.sleep(random.next() * 60);
        }
        await rig.sleep(random.next() * 100);
        await rig.restart({ loseStore: random.chance(0.3) });
      }
      await rig.sleep(20_000);
      await rig.applied();
      const fired = new Map<string, number>();
      for (const { entry, timeMs } of rig.entries()) {
        if (entry.origin !== "timer") continue;
        assert.equal(entry.deadLetter, null);
        const lines = Buffer.from(entry.effects[0]!.state!).toString("latin1");
        // The newest line is the last text in the encoded state.
        const line = /(\d+)$/.exec(lines)![1]!;
        assert.ok(!fired.has(line), `${line} fired twice`);
        fired.set(line, timeMs);
      }
      assert.ok(expected.size > 350 && fired.size > 150, `${expected.size} set, ${fired.size} fired`);
      for (const [line, timeMs] of fired) assert.ok(timeMs >= expected.get(line)!, `${line} fired early`);
      for (const line of expected.keys()) assert.ok(fired.has(line) || expired.has(line), `${line} never fired`);
      assert.equal(timersIn(rig), 0);
    }, small));

  test("due at one moment, more than the window holds, all fire", () =>
    withNotebook(async ({ rig, client }) => {
      const dueMs = rig.node.clock.wallMs() + 5000;
      for (let i = 0; i < 50; i++) {
        await client.note("a").remind({ delayMs: dueMs - rig.node.clock.wallMs(), line: `${i}` });
      }
      await client.note("a").remind({ delayMs: 5500, line: "later" });
      await rig.restart();
      await rig.sleep(8000);
      const lines = await rig.client().note("a").lines();
      assert.equal(new Set(lines).size, 51);
      assert.deepEqual([lines.length, lines.at(-1)], [51, "later"]);
    }, small));

  test("go off again after refused appends, none lost and none twice", () =>
    withNotebook(async ({ rig, client }) => {
      for (let i = 0; i < 60; i++) await client.note(`n${i % 4}`).remind({ delayMs: 2000 + i * 5, line: `${i}` });
      for (let i = 0; i < 60; i++) rig.outcomes.push(i % 3 === 0 ? undefined : { kind: "full" });
      await rig.sleep(20_000);
      const lines = await Promise.all([0, 1, 2, 3].map((n) => client.note(`n${n}`).lines()));
      assert.deepEqual(
        lines.flat().sort((a, b) => Number(a) - Number(b)),
        Array.from({ length: 60 }, (_, i) => `${i}`),
      );
    }, small));
});

describe("100,000 timers that are due at one moment", () => {
  test("all fire, a portion at a time: what is in memory and in the queue stays bounded", () => {
    const perEntity = 1000;
    const entityCount = 100;
    const bell = entity("bell")
      .state(z.looseObject({ rang: z.number() }), () => ({ rang: 0 }))
      .command("hang", z.object({ dueMs: z.number() }), (_state, { dueMs }, context) => {
        for (let i = 0; i < perEntity; i++) context.after(dueMs - context.now, "ring", undefined, { key: `${i}` });
      })
      .command("ring", (state) => {
        state.rang++;
      })
      .query("rang", (state) => state.rang as number);
    const timerWindow = 512;
    return ShardRig.run(
      system("bells", { bell }),
      async (rig, client) => {
        const dueMs = rig.node.clock.wallMs() + 60_000;
        for (let i = 0; i < entityCount; i++) await client.bell(`${i}`).hang({ dueMs });
        let rangCount = 0;
        let knownMax = 0;
        let queuedMax = 0;
        const look = () => {
          knownMax = Math.max(knownMax, rig.shard.timersInMemory);
          queuedMax = Math.max(queuedMax, rig.shard.health().queuedCalls);
        };
        // Over a restart, so that they come from the store.
        await rig.restart();
        look();
        await rig.sleep(60_000 - (rig.node.clock.wallMs() - (dueMs - 60_000)));
        await rig.until(() => {
          look();
          return [...entriesWithPrefix(rig.store, keys.table("timerDue"), { limit: 1 })].length === 0;
        }, 600_000);
        for (let i = 0; i < entityCount; i++) rangCount += await rig.client().bell(`${i}`).rang();
        assert.equal(rangCount, perEntity * entityCount);
        assert.ok(knownMax >= timerWindow && knownMax <= 3 * timerWindow, `${knownMax} timers were in memory at once`);
        assert.ok(queuedMax <= timerWindow + 1, `${queuedMax} were queued at once`);
      },
      { limits: { timerWindow }, cacheBytes: 1024 * 1024 },
    );
  });

  test("with large inputs are read no faster than those before them are done", () =>
    withNotebook(
      async ({ rig, client }) => {
        const line = "x".repeat(5000);
        const dueMs = rig.node.clock.wallMs() + 10_000;
        for (let i = 0; i < 40; i++) {
          await client.note(`n${i}`).remind({ delayMs: dueMs - rig.node.clock.wallMs(), line });
        }
        await rig.restart();
        await rig.sleep(10_000);
        await rig.until(() => timersIn(rig as never) === 0);
        const perBatch = new Map<number, number>();
        for (const { entry, sequence } of rig.entries()) {
          if (entry.origin === "timer") perBatch.set(sequence, (perBatch.get(sequence) ?? 0) + 1);
        }
        // More would fit in a batch; the inputs of four reach the bound.
        assert.ok(
          [...perBatch.values()].every((count) => count <= 4),
          `${[...perBatch.values()]}`,
        );
      },
      { limits: { timersFiringBytesMax: 20_000 } },
    ));
});

describe("a timer", () => {
  test("waits for its log time when the wall clock jumps back, and fires soon after when it jumps ahead", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("back").remind({ delayMs: 30_000, line: "x" });
      const dueMs = rig.entries().at(-1)!.timeMs + 30_000;
      rig.node.jumpWall(-60_000);
      await rig.sleep(60_000);
      assert.deepEqual(await client.note("back").lines(), []);
      await rig.sleep(31_000);
      assert.deepEqual(await client.note("back").lines(), ["x"]);
      await client.note("ahead").remind({ delayMs: 3_600_000, line: "y" });
      rig.node.jumpWall(3_600_000);
      await rig.sleep(61_000);
      assert.deepEqual(await client.note("ahead").lines(), ["y"]);
      const fired = rig.entries().filter(({ entry }) => entry.origin === "timer");
      assert.ok(fired[0]!.timeMs >= dueMs);
      const times = rig.entries().map(({ timeMs }) => timeMs);
      assert.deepEqual(
        [...times].sort((a, b) => a - b),
        times,
      );
    }));

  test("of a kind that the system no longer has stays until the kind is back", async () => {
    const make = (hasKind: boolean) => {
      const clock = entity("clock")
        .state(z.looseObject({ rang: z.number() }), () => ({ rang: 0 }))
        .command("ring", (state) => {
          state.rang++;
        })
        .command("set", (_state, _input, context) => context.after(1000, "ring"))
        .query("rang", (state) => state.rang as number);
      const other = entity("other")
        .state(z.looseObject({}), () => ({}))
        .command("touch", () => 1);
      return system("clocks", (hasKind ? { clock, other } : { other }) as { clock: typeof clock; other: typeof other });
    };
    const rig = new ShardRig(make(true));
    await rig.run(async () => {
      await rig.open();
      await rig.client().clock("c").set();
      await rig.restart({ system: make(false) });
      await rig.sleep(5000);
      assert.ok(rig.traces.some(({ message }) => message.includes("no longer has")));
      assert.equal(await rig.client().other("o").touch(), 1);
      assert.equal(timersIn(rig as never), 1);
      await rig.restart({ system: make(true), loseStore: true });
      await rig.sleep(1000);
      assert.equal(await rig.client().clock("c").rang(), 1);
      await rig.sleep(5000);
      assert.equal(await rig.client().clock("c").rang(), 1);
    });
  });

  test("may be replaced, cancelled or set again by its own command where an entity has as many as it may", () =>
    withNotebook(
      async ({ rig, client }) => {
        for (let i = 0; i < 3; i++) await client.note("a").remind({ delayMs: 1e6, line: "x", key: `k${i}` });
        await client.note("a").repeat({ times: 3, delayMs: 100 });
        await client.note("a").remind({ delayMs: 2e6, line: "x", key: "k1" });
        await assert.rejects(client.note("a").remind({ delayMs: 1, line: "x", key: "new" }), { code: "too-large" });
        await rig.sleep(1000);
        assert.deepEqual(await client.note("a").lines(), ["repeat 3", "repeat 2", "repeat 1", "repeat 0"]);
        await client.note("a").remind({ delayMs: 1e6, line: "x", key: "new" });
        await client.note("a").cancel({ key: "k0" });
        await client.note("a").remind({ delayMs: 1e6, line: "x", key: "newer" });
        await rig.applied();
        assert.equal(timersIn(rig), 4);
      },
      { limits: { timersPerCommandMax: 4 } },
    ));

  test("and others that one command sets are together as many as an entity may have, and no more", () =>
    withNotebook(
      async ({ rig, client, made }) => {
        const set = (keysToSet: readonly string[]) => {
          made.hooks.inCommand = (_state, context) => {
            const { after } = context as { after: (...timer: unknown[]) => void };
            for (const key of keysToSet) after.call(context, 1e6, "write", { line: key }, { key });
          };
          return outcomesOf([client.note("a").hook()]);
        };
        assert.deepEqual(await set(["1", "2", "3"]), [undefined]);
        assert.deepEqual(await set(["4", "5"]), ["too-large"]);
        assert.deepEqual(await set(["4", "3", "4", "2"]), [undefined]);
        assert.deepEqual(await set(["5"]), ["too-large"]);
        await rig.applied();
        assert.equal(timersIn(rig), 4);
      },
      { limits: { timersPerCommandMax: 4 } },
    ));
});
