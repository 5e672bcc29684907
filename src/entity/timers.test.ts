import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { withNotebook } from "./notebook.fixture.ts";
import { tester } from "./shard.fixture.ts";

describe("a durable timer", () => {
  test("fires once, at its due time or a little later, with its input", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").remind({ delayMs: 5000, line: "due" });
      await rig.sleep(4990);
      assert.deepEqual(await client.note("a").lines(), []);
      await rig.sleep(200);
      assert.deepEqual(await client.note("a").lines(), ["due"]);
      await rig.sleep(60_000);
      assert.deepEqual(await client.note("a").lines(), ["due"]);
    }));

  for (const how of ["crash", "stop", "crash and a lost store"] as const) {
    test(`fires once over a ${how}, also when it fell due while no node was there`, () =>
      withNotebook(async ({ rig, client }) => {
        await client.note("a").remind({ delayMs: 2000, line: "while down" });
        await client.note("a").remind({ delayMs: 9000, line: "after" });
        if (how === "stop") {
          await rig.closeAndReopen();
        } else {
          rig.node.crash();
          await rig.sleep(5000);
          await rig.restart({ loseStore: how !== "crash" });
        }
        await rig.sleep(2500);
        assert.deepEqual(await rig.client().note("a").lines(), ["while down"]);
        await rig.restart();
        await rig.sleep(20_000);
        assert.deepEqual(await rig.client().note("a").lines(), ["while down", "after"]);
      }));
  }

  test("is replaced by one with the same key, earlier or later", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").remind({ delayMs: 5000, line: "first", key: "k" });
      await client.note("a").remind({ delayMs: 9000, line: "second", key: "k" });
      await client.note("b").remind({ delayMs: 9000, line: "first", key: "k" });
      await client.note("b").remind({ delayMs: 5000, line: "second", key: "k" });
      await rig.sleep(6000);
      assert.deepEqual([await client.note("a").lines(), await client.note("b").lines()], [[], ["second"]]);
      await rig.sleep(60_000);
      assert.deepEqual([await client.note("a").lines(), await client.note("b").lines()], [["second"], ["second"]]);
    }));

  test("that is replaced by another with the same due time fires as it was set last", () =>
    withNotebook(async ({ rig, client }) => {
      const dueMs = rig.node.clock.wallMs() + 400;
      const remind = (line: string) =>
        client.note("a").remind({ delayMs: dueMs - rig.node.clock.wallMs(), line, key: "k" });
      await remind("first");
      await rig.applied();
      await rig.sleep(dueMs - rig.node.clock.wallMs() - 20);
      await remind("second");
      await rig.sleep(1000);
      assert.deepEqual(await client.note("a").lines(), ["second"]);
      assert.deepEqual(rig.stops, []);
    }));

  test("can set itself again under its own key, at once or later", () =>
    withNotebook(async ({ rig, client }) => {
      for (const [id, delayMs] of [
        ["at-once", 0],
        ["later", 50],
      ] as const) {
        await client.note(id).repeat({ times: 5, delayMs });
        await rig.sleep(5000);
        const expected = [5, 4, 3, 2, 1, 0].map((times) => `repeat ${times}`);
        assert.deepEqual(await client.note(id).lines(), expected, id);
      }
    }));

  test("that is cancelled never fires", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").remind({ delayMs: 500, line: "never", key: "k" });
      await client.note("a").cancel({ key: "k" });
      await client.note("a").cancel({ key: "there was none of this key" });
      await rig.sleep(1000);
      await rig.restart();
      await rig.sleep(1000);
      assert.deepEqual(await rig.client().note("a").lines(), []);
    }));

  test("ends with its entity's life, and the next life may use its key", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").remind({ delayMs: 500, line: "of the first life", key: "k" });
      await client.note("a").end();
      await client.note("a").remind({ delayMs: 700, line: "of the second life", key: "k" });
      await rig.sleep(2000);
      await rig.restart({ loseStore: true });
      await rig.sleep(2000);
      assert.deepEqual(await rig.client().note("a").lines(), ["of the second life"]);
    }));

  test("whose command is refused leaves a dead letter, and its entity as it was", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").remind({ delayMs: 100, line: "x", command: "refuse" });
      await rig.sleep(1000);
      assert.deepEqual(await client.note("a").lines(), []);
      const letters = rig.entries().flatMap(({ entry }) => (entry.deadLetter === null ? [] : [entry.deadLetter]));
      assert.deepEqual(
        letters.map(({ id, command, code }) => [id, command, code]),
        [["a", "refuse", "not-now"]],
      );
      await rig.restart();
      await rig.sleep(1000);
      assert.equal(rig.entries().filter(({ entry }) => entry.deadLetter !== null).length, 1);
    }));

  test("fires in order of due times though there are far more than the window in memory holds", () =>
    withNotebook(
      async ({ rig, client }) => {
        const count = 200;
        // Set in an order that mixes near and far ones.
        for (let i = 0; i < count; i++) {
          const turn = (i * 37) % count;
          await client.note("a").remind({ delayMs: 10_000 + turn * 20 - rig.scheduler.nowMs, line: `${turn}` });
        }
        await rig.sleep(11_000 - rig.scheduler.nowMs);
        await rig.restart();
        await rig.sleep(30_000);
        const lines = await rig.client().note("a").lines();
        assert.deepEqual(
          lines,
          Array.from({ length: count }, (_, i) => `${i}`),
        );
      },
      { limits: { timerWindow: 8 } },
    ));

  test("waits while the store's disk is full, and fires when there is space again", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").remind({ delayMs: 20, line: "due" });
      // Every apply fails for some seconds.
      const endMs = rig.scheduler.nowMs + 5000;
      while (rig.scheduler.nowMs < endMs) {
        rig.engine.failNextApply("full");
        await rig.sleep(5);
      }
      await rig.sleep(5000);
      assert.deepEqual(await client.note("a").lines(), ["due"]);
      assert.deepEqual(rig.stops, []);
    }));

  test("is bounded in number for each entity, and its delay and input are checked when it is set", () =>
    withNotebook(
      async ({ client, made }) => {
        for (let i = 0; i < 4; i++) await client.note("a").remind({ delayMs: 1e6, line: "x", key: `k${i}` });
        await assert.rejects(client.note("a").remind({ delayMs: 1e6, line: "x", key: "more" }), { code: "too-large" });
        for (const delayMs of [-1, 1e300]) {
          await assert.rejects(client.note("b").remind({ delayMs, line: "x" }), { code: "invalid-value" });
        }
        await assert.rejects(client.note("b").remind({ delayMs: 1, line: "x", command: "nothing" }), {
          code: "unknown-command",
        });
        made.hooks.inCommand = (_state, context) => {
          (context as { after: (...timer: unknown[]) => void }).after(1, "write", { line: 7 });
        };
        await assert.rejects(client.note("b").hook(), { code: "invalid-input" });
      },
      { limits: { timersPerCommandMax: 4 } },
    ));

  test("never sees a time before its due time, though the wall clock jumps", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").remind({ delayMs: 60_000, line: "x" });
      const setAt = rig.entries().at(-1)!.timeMs;
      rig.node.jumpWall(120_000);
      await rig.sleep(70_000);
      const fired = rig.entries().filter(({ entry }) => entry.origin === "timer");
      assert.equal(fired.length, 1);
      assert.ok(fired[0]!.timeMs >= setAt + 60_000);
      const history = await rig.shard.history({ kind: "note", id: "a" }, { principal: tester });
      assert.deepEqual(
        history.items.map(({ by }) => by),
        ["timer", "call"],
      );
    }));
});
