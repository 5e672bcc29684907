/** The real watchdog and user code that never ends: only that code's caller notices (G10, E2). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { type RealShard, withRealShard } from "./core.fixture.ts";
import { entity } from "./define.ts";
import { system, transaction } from "./define-system.ts";
import { outcomesOf, tester } from "./shard.fixture.ts";

/** Short, so that the tests are; long enough for honest commands on a machine that is busy with other things. */
const limits = { commandMs: 200, sliceMs: 4 };

function loop(): never {
  for (;;) Math.random();
}

/** User code of every sort, each of which loops for ever when it meets "loop". */
function makeLooper() {
  let runs = 0;
  const looper = entity("looper")
    .state(
      z.looseObject({ lines: z.array(z.string()).refine((lines) => !lines.includes("loop in state") || loop()) }),
      () => ({
        lines: [] as string[],
      }),
    )
    .collection("items", z.object({ text: z.string().refine((text) => text !== "loop" || loop()) }))
    .command("write", z.object({ line: z.string() }), (state, { line }) => {
      state.lines.push(line);
      return state.lines.length;
    })
    .command("loop", (state): number => {
      runs++;
      state.lines.push("undone");
      return loop();
    })
    .command("swallow", (state): number => {
      for (;;) {
        // A stop that could be caught would not be one.
        try {
          loop();
        } catch {
          state.lines.push("caught");
        } finally {
          state.lines.push("finally");
        }
      }
    })
    .command("backtrack", () => /^(a+)+$/.test(`${"a".repeat(60)}b`))
    .command("input", z.object({ text: z.string().refine((text) => text !== "loop" || loop()) }), () => 1)
    .command("put", z.object({ key: z.string(), text: z.string() }), (_state, { key, text }, context) => {
      context.collections.items.set(key, { text });
    })
    .command("fill", z.object({ from: z.number(), count: z.number() }), (_state, { from, count }, context) => {
      for (let i = from; i < from + count; i++)
        context.collections.items.set(String(i).padStart(6, "0"), { text: "x" });
    })
    .command("walk", (_state, _input, context): number => {
      for (let rounds = 0; ; rounds++) {
        const from = String((rounds * 7919) % 4000).padStart(6, "0");
        let left = 700;
        for (const _ of context.collections.items.range({ from, reverse: rounds % 2 === 1 })) if (--left === 0) break;
      }
    })
    .query("lines", (state) => [...state.lines])
    .query("keys", z.object({ from: z.string(), reverse: z.boolean() }), (_state, { from, reverse }, context) => {
      const bound = reverse ? { to: from } : { from: `${from}\0` };
      return [...context.collections.items.range({ ...bound, reverse, limit: 500 })].map(([key]) => key);
    })
    .query("spin", (): number => loop());
  const step = transaction("step", z.object({ id: z.string(), command: z.enum(["loop", "write"]) })).run(
    async (tx, { id, command }): Promise<number> => {
      await tx(looper, id).write({ line: "step" });
      return command === "loop" ? tx(looper, id).loop() : tx(looper, id).write({ line: "step" });
    },
  );
  return { loopers: system("loopers", { looper, step }), runs: () => runs };
}

type Looper = ReturnType<typeof makeLooper>["loopers"];

function withLooper(body: (real: RealShard<Looper> & { readonly runs: () => number }) => Promise<void>): Promise<void> {
  const { loopers, runs } = makeLooper();
  return withRealShard(loopers, limits, (real) => body({ ...real, runs }));
}

describe("user code that never ends", () => {
  const culprits: readonly (readonly [name: string, run: (client: RealShard<Looper>["client"]) => Promise<unknown>])[] =
    [
      ["a command", (client) => client.looper("a").loop()],
      ["a command that catches everything", (client) => client.looper("a").swallow()],
      ["a regular expression", (client) => client.looper("a").backtrack()],
      ["a check of the input", (client) => client.looper("a").input({ text: "loop" })],
      ["a check of the state", (client) => client.looper("a").write({ line: "loop in state" })],
      ["a check of an item", (client) => client.looper("a").put({ key: "k", text: "loop" })],
      ["a query", (client) => client.looper("a").spin()],
      ["a step of a transaction", (client) => client.step({ id: "a", command: "loop" })],
    ];
  for (const [name, run] of culprits) {
    test(`in ${name} is stopped, and what ran beside it in the same slice has taken hold`, () =>
      withLooper(async ({ client, stops }) => {
        await client.looper("a").write({ line: "kept" });
        const before = [client.looper("a").write({ line: "before" }), client.looper("b").write({ line: "beside" })];
        const culprit = run(client);
        const after = [client.looper("a").write({ line: "after" }), client.looper("b").write({ line: "beside" })];
        assert.deepEqual(await outcomesOf([culprit]), ["command-too-slow"]);
        assert.deepEqual(await outcomesOf([...before, ...after]), [2, 1, 3, 2]);
        assert.deepEqual(await client.looper("a").lines(), ["kept", "before", "after"]);
        assert.equal(await client.step({ id: "a", command: "write" }), 5);
        assert.deepEqual(stops, []);
      }));
  }

  test("is not run again when its numbered request is repeated: the answer is the same", () =>
    withLooper(async ({ shard, client, runs }) => {
      const token = shard.mintSession(tester);
      const call = (number: number) =>
        shard.command({ kind: "looper", id: "a" }, "loop", undefined, {
          principal: tester,
          session: { token, number, lowest: 1 },
        });
      const failure = (promise: Promise<unknown>) =>
        promise.then(
          () => assert.fail("it should have failed"),
          ({ code, retry, message }: { code: string; retry: string; message: string }) => ({ code, retry, message }),
        );
      const [first, second] = await Promise.all([failure(call(1)), failure(call(1))]);
      assert.equal(first.code, "command-too-slow");
      assert.equal(first.retry, "never");
      assert.deepEqual(second, first);
      // Each of the two may have been tried a second time, in case a pause of the process was to blame for the first.
      const before = runs();
      assert.ok(before <= 3, `${before} runs`);
      assert.deepEqual(await failure(call(1)), first);
      assert.equal(runs(), before);
      assert.deepEqual(await client.looper("a").lines(), []);
    }));

  test("in the middle of a collection leaves the collection whole, wherever the stop fell", () =>
    withLooper(async ({ shard, client, stops }) => {
      for (let from = 0; from < 4000; from += 800) await client.looper("a").fill({ from, count: 800 });
      // Read through the store, as after a while: then walking is mostly the core's own code.
      await shard.applier.flush();
      const expected = Array.from({ length: 4000 }, (_, i) => String(i).padStart(6, "0"));
      const walk = async (reverse: boolean) => {
        const found: string[] = [];
        for (;;) {
          const page = await client.looper("a").keys({ from: found.at(-1) ?? (reverse ? "~" : " "), reverse });
          if (page.length === 0) return found;
          found.push(...page);
        }
      };
      for (let round = 0; round < 4; round++) {
        assert.deepEqual(await outcomesOf([client.looper("a").walk()]), ["command-too-slow"]);
        assert.deepEqual(await walk(false), expected);
        assert.deepEqual((await walk(true)).reverse(), expected);
      }
      assert.deepEqual(stops, []);
    }));
});
