/** What a stop by the watchdog, at whatever moment, does to others. The real watchdog is in `watchdog.test.ts`. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import { withNotebook } from "./notebook.fixture.ts";
import { outcomesOf, tester } from "./shard.fixture.ts";

describe("a command that never ends", () => {
  test("harms no transaction that has committed between its slice and the one before", () =>
    withNotebook(async ({ rig, client, made }) => {
      await client.note("a").write({ line: "kept" });
      rig.appendMs = 50;
      const inFlight = rig.command("note", "z", "write", { line: "in flight" });
      await rig.sleep(3);
      let end: () => void = () => undefined;
      const gate = new Promise<void>((resolve) => {
        end = resolve;
      });
      made.hooks.body = async (tx) => {
        await tx(made.note, "t").write({ line: "committed" });
        await gate;
      };
      const committed = client.script();
      await rig.sleep(10);
      made.hooks.inCommand = () => rig.spend(Number.POSITIVE_INFINITY);
      end();
      for (let turn = 0; turn < 10; turn++) await Promise.resolve();
      const endless = client.note("l").hook();
      const [, transaction, stopped] = await outcomesOf([inFlight, committed, endless]);
      assert.equal(transaction, undefined);
      assert.equal(stopped, "command-too-slow");
      assert.deepEqual(await client.note("t").lines(), ["committed"]);
    }));
});

describe("stops of one command among many", () => {
  test("lose no message, bring none twice, and leave nobody waiting", async () => {
    let struck = 0;
    for (let seed = 0; seed < 60; seed++) {
      const random = new SeededRandom(seed);
      await withNotebook(
        async ({ rig, client }) => {
          const token = rig.shard.mintSession(tester);
          rig.appendMs = 1 + random.integer(5);
          const lines = Array.from({ length: 12 }, (_, i) => `m${i}`);
          await client.note("a").mail({ to: "b", lines });
          const calls: Promise<readonly unknown[]>[] = [];
          for (let number = 1; number <= 30; number++) {
            if (random.chance(0.3)) rig.host.guard.stopCall(1 + random.integer(6));
            const id = random.chance(0.3) ? "b" : `c${random.integer(3)}`;
            const options = { session: { token, number, lowest: 1 } };
            calls.push(outcomesOf([rig.command("note", id, "setPage", { key: `${number}`, text: "x" }, options)]));
            await rig.sleep(random.next() * 2);
          }
          await Promise.all(calls);
          struck += rig.node.counts.get("guard-timeout");
          rig.host.guard.disarm();
          await rig.sleep(2000);
          const letters = rig.entries().filter(({ entry }) => entry.deadLetter !== null).length;
          const arrived = await client.note("b").lines();
          assert.equal(arrived.length + letters, lines.length, `seed ${seed}`);
          assert.deepEqual(
            arrived,
            lines.filter((line) => arrived.includes(line)),
          );
        },
        { limits: { sliceCommandsMax: 1 + (seed % 3) } },
      );
    }
    assert.ok(struck > 0);
  });

  test("lose no message to a pause that stops its delivery once", () =>
    withNotebook(async ({ rig, client, made }) => {
      let pauses = 1;
      made.hooks.inCommand = (state, context) => {
        const { id, send } = context as { id: string; send: (...message: unknown[]) => void };
        if (id === "a") send.call(context, made.note, "b", "hook");
        else if (pauses-- > 0) rig.spend(Number.POSITIVE_INFINITY);
        else (state as { lines: string[] }).lines.push("arrived");
      };
      await client.note("a").hook();
      await rig.sleep(2000);
      assert.deepEqual(await client.note("b").lines(), ["arrived"]);
      assert.deepEqual(
        rig.entries().filter(({ entry }) => entry.deadLetter !== null),
        [],
      );
    }));
});
