/** What one command or query may do, and what becomes of one that does more: only its own caller notices (G10). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { OnefoldError, Refused } from "../base/errors.ts";
import { entity } from "./define.ts";
import { system, transaction } from "./define-system.ts";
import { withNotebook } from "./notebook.fixture.ts";
import { outcomesOf, ShardRig, tester } from "./shard.fixture.ts";

/** Runs one way of failing as a command, a query and a transaction's step; then all must still work. */
const failures: readonly {
  readonly name: string;
  readonly run: (state: unknown, context: unknown) => unknown;
  readonly code: string;
}[] = [
  ...[undefined, null, 7, "text", { code: 7 }, Symbol("thrown"), () => 7, Number.NaN].map((thrown) => ({
    name: `throws ${typeof thrown} ${String(thrown)}`,
    run: () => {
      throw thrown;
    },
    code: "command-failed",
  })),
  {
    name: "throws a revoked proxy",
    run: () => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      throw proxy;
    },
    code: "command-failed",
  },
  {
    name: "throws an error whose message and stack throw",
    run: () => {
      throw Object.defineProperties(new Error("x"), {
        message: { get: () => assert.fail("message") },
        stack: { get: () => assert.fail("stack") },
        name: { get: () => assert.fail("name") },
      });
    },
    code: "command-failed",
  },
  {
    name: "overflows the stack",
    run: () => {
      const deeper = (): number => deeper() + 1;
      return deeper();
    },
    code: "command-failed",
  },
  { name: "returns a promise", run: async () => 7, code: "command-failed" },
  { name: "returns a promise that rejects", run: () => Promise.reject(new Error("later")), code: "command-failed" },
  { name: "returns a function", run: () => () => 7, code: "invalid-value" },
  { name: "returns a symbol", run: () => Symbol("x"), code: "invalid-value" },
  { name: "returns a Map", run: () => new Map(), code: "invalid-value" },
  { name: "returns NaN deep inside", run: () => ({ a: [{ b: Number.NaN }] }), code: "invalid-value" },
  {
    name: "returns a cycle",
    run: () => {
      const cycle: { self?: unknown } = {};
      cycle.self = cycle;
      return cycle;
    },
    code: "invalid-value",
  },
  { name: "returns more than an output may be", run: () => "x".repeat(300_000), code: "too-large" },
  { name: "returns 100 MB", run: () => new Uint8Array(100_000_000), code: "too-large" },
  {
    name: "refuses with details that are no value",
    run: () => {
      throw new Refused("odd", { details: () => 7 });
    },
    code: "invalid-value",
  },
  {
    name: "refuses with more details than an output may have",
    run: () => {
      throw new Refused("long", "x".repeat(300_000));
    },
    code: "too-large",
  },
  {
    name: "refuses",
    run: () => {
      throw new Refused("odd", { at: new Date(7), bytes: Uint8Array.of(1), big: 7n });
    },
    code: "odd",
  },
  {
    name: "refuses as a foreign copy of the library does",
    run: () => {
      throw Object.assign(new Error("refused"), { name: "Refused", code: "foreign", details: { a: 1 } });
    },
    code: "foreign",
  },
];

const stateFailures: readonly { readonly name: string; readonly run: (state: never) => void; readonly code: string }[] =
  [
    {
      name: "100 MB of bytes",
      run: (state: { bulk: Uint8Array }) => {
        state.bulk = new Uint8Array(100_000_000);
      },
      code: "too-large",
    },
    {
      name: "more text than a root state may hold",
      run: (state: { bulk: string }) => {
        state.bulk = "x".repeat(300_000);
      },
      code: "too-large",
    },
    {
      name: "a million lines",
      run: (state: { lines: string[] }) => {
        for (let i = 0; i < 1_200_000; i++) state.lines.push("");
      },
      code: "too-large",
    },
    {
      name: "a function",
      run: (state: { bulk: () => void }) => {
        state.bulk = () => undefined;
      },
      code: "invalid-value",
    },
    {
      name: "itself",
      run: (state: { bulk: unknown }) => {
        state.bulk = state;
      },
      code: "invalid-value",
    },
    {
      name: "half a surrogate pair",
      run: (state: { bulk: string }) => {
        state.bulk = "\ud800";
      },
      code: "invalid-value",
    },
    {
      name: "what its schema refuses",
      run: (state: { lines: unknown }) => {
        state.lines = [7];
      },
      code: "invalid-state",
    },
  ];

describe("a command, query or step", () => {
  for (const { name, run, code } of failures) {
    test(`that ${name} fails with '${code}', and harms nobody else`, () =>
      withNotebook(async ({ rig, client, made }) => {
        await client.note("a").write({ line: "kept" });
        const before = rig.storage.count;
        made.hooks.inCommand = (state, context) => {
          (state as { lines: string[] }).lines.push("undone");
          return run(state, context);
        };
        const beside = client.note("b").write({ line: "beside" });
        assert.deepEqual(await outcomesOf([client.note("a").hook()]), [code]);
        made.hooks.inCommand = (state, context) => run(state, context);
        assert.deepEqual(await outcomesOf([client.note("a").hookQuery()]), [code]);
        made.hooks.body = (tx) => tx(made.note, "a").hook();
        assert.deepEqual(await outcomesOf([client.script()]), [code]);
        made.hooks.body = (tx) => tx(made.note, "a").hookQuery();
        assert.deepEqual(await outcomesOf([client.script()]), [code]);
        assert.equal(await beside, 1);
        assert.deepEqual(await client.note("a").lines(), ["kept"]);
        assert.equal(rig.storage.count, before + 1, "nothing but the other's command was logged");
        assert.deepEqual(rig.stops, []);
        await rig.sleep(1);
      }));
  }

  for (const { name, run, code } of stateFailures) {
    test(`that leaves ${name} in the state fails with '${code}' and is rolled back`, () =>
      withNotebook(async ({ rig, client, made }) => {
        await client.note("a").write({ line: "kept" });
        made.hooks.inCommand = (state) => run(state as never);
        for (const id of ["a", "new"]) {
          assert.deepEqual(await outcomesOf([client.note(id).hook()]), [code]);
          made.hooks.body = (tx) => tx(made.note, id).hook();
          assert.deepEqual(await outcomesOf([client.script()]), [code]);
        }
        assert.deepEqual(await client.note("a").lines(), ["kept"]);
        assert.deepEqual(await client.note("new").lines(), []);
        assert.equal(await client.note("a").write({ line: "on" }), 2);
        assert.deepEqual(rig.stops, []);
      }));
  }

  test("that loops for ever is stopped, and only it fails", () =>
    withNotebook(async ({ rig, client, made }) => {
      await client.note("a").write({ line: "kept" });
      made.hooks.inCommand = (state) => {
        (state as { lines: string[] }).lines.push("undone");
        rig.spend(Number.POSITIVE_INFINITY);
      };
      const calls = [
        client.note("a").write({ line: "before" }),
        client.note("a").hook(),
        client.note("a").write({ line: "after" }),
        client.note("b").write({ line: "beside" }),
      ];
      assert.deepEqual(await outcomesOf(calls), [2, "command-too-slow", 3, 1]);
      made.hooks.inCommand = () => rig.spend(Number.POSITIVE_INFINITY);
      assert.deepEqual(await outcomesOf([client.note("a").hookQuery()]), ["command-too-slow"]);
      made.hooks.body = async (tx) => {
        await tx(made.note, "a").write({ line: "undone" });
        await tx(made.note, "a").hook();
      };
      assert.deepEqual(await outcomesOf([client.script()]), ["command-too-slow"]);
      assert.deepEqual(await client.note("a").lines(), ["kept", "before", "after"]);
      assert.deepEqual(rig.stops, []);
    }));

  test("keeps nothing of its context: afterwards it is refused", () =>
    withNotebook(async ({ client, made, rig }) => {
      let kept:
        | { random(): number; delete(): void; collections: { pages: { set(...item: unknown[]): void } } }
        | undefined;
      let range: Iterator<unknown> | undefined;
      await client.note("a").setPage({ key: "1", text: "x" });
      await client.note("a").setPage({ key: "2", text: "x" });
      made.hooks.inCommand = (_state, context) => {
        kept = context as typeof kept;
        const { pages } = (context as { collections: { pages: { range(): Iterable<unknown> } } }).collections;
        range = pages.range()[Symbol.iterator]();
        range.next();
      };
      await client.note("a").hook();
      for (const use of [
        () => kept!.random(),
        () => kept!.delete(),
        () => kept!.collections.pages.set("3", { text: "late" }),
        () => range!.next(),
      ]) {
        assert.throws(use, { code: "command-failed" });
      }
      assert.deepEqual(await client.note("a").pages(), ["1", "2"]);
      assert.deepEqual(rig.stops, []);
    }));

  test("shares no memory with its caller, its state or others", () =>
    withNotebook(async ({ client, made }) => {
      let leaked: { lines: string[] } | undefined;
      made.hooks.inCommand = (state) => {
        leaked = state as typeof leaked;
        leaked!.lines.push("one");
        return leaked;
      };
      const output = (await client.note("a").hook()) as unknown as { lines: string[] };
      output.lines.push("changed by the caller");
      assert.deepEqual(await client.note("a").lines(), ["one"]);
      const lines = await client.note("a").lines();
      (lines as string[]).push("changed by the reader");
      assert.deepEqual(await client.note("a").lines(), ["one"]);
      const input = { line: "two" };
      const writing = client.note("a").write(input);
      input.line = "changed while under way";
      await writing;
      assert.deepEqual(await client.note("a").lines(), ["one", "two"]);
    }));

  test("of a query that gives the whole state gives each caller one of his own", () =>
    withNotebook(async ({ client, made }) => {
      made.hooks.inCommand = (state) => state;
      const read = async () => (await client.note("a").hookQuery()) as unknown as { lines: string[] };
      const unborn = await read();
      await client.note("a").write({ line: "one" });
      const first = await read();
      first.lines.push("changed by the reader");
      assert.deepEqual([unborn.lines, (await read()).lines], [[], ["one"]]);
      assert.deepEqual(await client.note("a").lines(), ["one"]);
    }));

  test("of a query can't change what it sees", () =>
    withNotebook(async ({ client, made }) => {
      await client.note("a").write({ line: "one" });
      await client.note("a").setPage({ key: "1", text: "x" });
      for (const change of [
        (state: { lines: string[] }) => state.lines.push("two"),
        (state: { lines: unknown }) => {
          state.lines = 7;
        },
        (_state: unknown, context: { collections: { pages: { set(...item: unknown[]): void } } }) =>
          context.collections.pages.set("1", { text: "y" }),
        (_state: unknown, context: { delete(): void }) => context.delete(),
      ]) {
        made.hooks.inCommand = change as never;
        await assert.rejects(client.note("a").hookQuery(), { code: "command-failed" });
      }
      assert.deepEqual(await client.note("a").lines(), ["one"]);
      assert.equal(await client.note("a").page({ key: "1" }), "x");
    }));

  test("is told that its input does not match before it runs, with the schema's issues", () =>
    withNotebook(async ({ rig, client }) => {
      const wrong = rig.command("note", "a", "write", { line: 7 });
      await assert.rejects(wrong, (error) => {
        assert(error instanceof OnefoldError && error.code === "invalid-input" && error.retry === "never");
        assert.deepEqual((error.details as { issues: { path: unknown }[] }).issues[0]!.path, ["line"]);
        return true;
      });
      await assert.rejects(rig.command("note", "a", "idle", { line: 7 }), { code: "invalid-input" });
      await assert.rejects(rig.command("note", "a", "wrte", {}), { code: "unknown-command", message: /write/ });
      await assert.rejects(rig.command("notes", "a", "write", {}), { code: "unknown-kind", message: /note/ });
      await assert.rejects(rig.transaction("scrip", {}), { code: "unknown-transaction", message: /script/ });
      for (const id of ["", ".", "..", "\0", "x".repeat(513), "\ud800"]) {
        await assert.rejects(rig.command("note", id, "idle", undefined), { code: "invalid-id" });
      }
      assert.equal(rig.storage.count, 1);
      await client.note("\u{1F600}/..%2f é").write({ line: "x" });
    }));

  test("sees one time for everything in its batch, which never goes back, however the wall clock jumps", () =>
    withNotebook(async ({ rig, client, made }) => {
      const seen: number[] = [];
      made.hooks.inCommand = (state, context) => {
        (state as { lines: string[] }).lines.push("x");
        rig.spend(3);
        seen.push((context as { now: number }).now);
        return undefined;
      };
      for (const jumpMs of [0, 3_600_000, -7_200_000, 5, -86_400_000]) {
        rig.node.jumpWall(jumpMs);
        await Promise.all([client.note("a").hook(), client.note("b").hook(), client.note("c").hook()]);
        await rig.sleep(10);
        await rig.restart();
        client = rig.client();
      }
      assert.deepEqual(
        [...seen].sort((a, b) => a - b),
        seen,
      );
      const batches = new Map<number, Set<number>>();
      rig.entries().forEach(({ sequence }, i) => {
        batches.set(sequence, (batches.get(sequence) ?? new Set()).add(seen[i]!));
      });
      for (const [sequence, times] of batches) assert.equal(times.size, 1, `batch ${sequence} has ${[...times]}`);
      rig.entries().forEach(({ timeMs }, i) => {
        assert.equal(timeMs, seen[i]);
      });
    }));
});

describe("a transaction's input", () => {
  test("is what its schema makes of it, even where that is no value, and each attempt has its own", async () => {
    const counter = entity("counter")
      .state(z.object({ count: z.number() }), () => ({ count: 0 }))
      .command("add", (state) => ++state.count);
    const seen: number[] = [];
    const tally = transaction(
      "tally",
      z.object({ words: z.array(z.string()) }).transform(({ words }) => ({ words: new Set(words) })),
    ).run(async (tx, { words }) => {
      seen.push(words.size);
      words.clear();
      await tx(counter, "c").add();
      return seen.length;
    });
    await ShardRig.run(system("tallies", { counter, tally }), async (rig, client) => {
      assert.equal(await client.tally({ words: ["a", "b", "a"] }), 1);
      rig.outcomes.push(undefined);
      await Promise.all(Array.from({ length: 5 }, () => client.tally({ words: ["a", "b", "a"] })));
      assert.deepEqual(new Set(seen), new Set([2]));
      assert.deepEqual(rig.stops, []);
    });
  });

  test("whose home can't be told fails by itself", async () => {
    const counter = entity("counter")
      .state(z.object({ count: z.number() }), () => ({ count: 0 }))
      .command("add", (state) => ++state.count);
    const lost = transaction("lost", z.object({ id: z.string() }))
      .at(({ id }) => {
        if (id === "throws") throw new TypeError("no home");
        return counter(id);
      })
      .run((tx, { id }) => tx(counter, id).add());
    await ShardRig.run(system("lost", { counter, lost }), async (_rig, client) => {
      await assert.rejects(client.lost({ id: "throws" }), { code: "command-failed" });
      await assert.rejects(client.lost({ id: ".." }), { code: "invalid-id" });
      assert.equal(await client.lost({ id: "c" }), 1);
    });
  });
});

describe("the shard's queue", () => {
  test("is bounded in calls and bytes: beyond it is 'overloaded', and what was accepted is done", () =>
    withNotebook(
      async ({ rig, client }) => {
        const calls = Array.from({ length: 30 }, (_, i) => client.note("a").write({ line: `${i}` }));
        const outcomes = await outcomesOf(calls);
        assert.equal(outcomes.filter((outcome) => outcome === "overloaded").length, 20);
        assert.equal((await client.note("a").lines()).length, 10);
        const large = Array.from({ length: 5 }, () =>
          rig.command("note", "b", "write", { line: "x" }, { inputBytes: 400_000 }),
        );
        const largeOutcomes = await outcomesOf(large);
        assert.equal(largeOutcomes.filter((outcome) => outcome === "overloaded").length, 3);
        assert.equal(await client.note("a").write({ line: "x" }), 11);
      },
      { limits: { queuedCallsMax: 10, queuedBytesMax: 1_000_000 } },
    ));

  test("answers a call whose deadline passes while the append hangs, with an unknown outcome", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").write({ line: "kept" });
      rig.closeGate();
      const hanging = rig.command("note", "a", "write", { line: "hanging" }, { deadlineMs: 500 });
      await assert.rejects(hanging, { code: "deadline-passed", retry: "unknown" });
      const read = rig.shard.query({ kind: "note", id: "a" }, "lines", undefined, {
        principal: tester,
        deadlineMs: 500,
      });
      await assert.rejects(read, { code: "deadline-passed" });
      assert.ok(rig.scheduler.nowMs < 1500);
      rig.openGate();
      await rig.sleep(10);
      assert.deepEqual(await client.note("a").lines(), ["kept", "hanging"]);
    }));

  test("shows nothing of a batch that is not durable: no reply, read, state, history, listing or message (G3)", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").write({ line: "kept" });
      rig.closeGate();
      const answered: string[] = [];
      const watch = (name: string, promise: Promise<unknown>) =>
        promise.then(
          () => answered.push(name),
          () => answered.push(name),
        );
      const address = { kind: "note", id: "a" };
      const reader = { principal: tester };
      const watched = [
        watch("command", client.note("a").write({ line: "undurable" })),
        watch("no effect", client.note("a").idle()),
        watch("refusal", client.note("a").refuse({ line: "x" })),
        watch("query", client.note("a").lines()),
        watch("state", rig.shard.state(address, reader)),
        watch("history", rig.shard.history(address, reader)),
        watch("delete", rig.shard.delete(address, reader)),
        watch("not found", rig.shard.state(address, reader)),
        watch("transaction", client.atHome({ id: "a", line: "x" })),
        watch("message", client.note("b").mail({ to: "c", lines: ["x"] })),
      ];
      await rig.sleep(5000);
      assert.deepEqual(answered, []);
      assert.deepEqual(await client.note("unrelated").lines(), []);
      assert.deepEqual(await client.note("c").lines(), []);
      rig.openGate();
      await Promise.all(watched);
      assert.equal(answered.length, watched.length);
    }));
});
