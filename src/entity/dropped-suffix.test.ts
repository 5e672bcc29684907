/** What was speculative when an append was refused goes as if it had never been, and everything goes on from there. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { withNotebook } from "./notebook.fixture.ts";
import { outcomesOf, tester } from "./shard.fixture.ts";

const full = { kind: "full" } as const;

describe("after an append that was refused because the disk is full", { timeout: 30_000 }, () => {
  test("its callers and those of the next batch are told so, nothing of them stays, and later calls succeed", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").write({ line: "kept" });
      rig.outcomes.push(full);
      rig.appendMs = 50;
      const first = rig.command("note", "a", "write", { line: "in flight" });
      await rig.sleep(10);
      const second = rig.command("note", "a", "write", { line: "open" });
      const read = rig.client().note("a").lines();
      assert.deepEqual(await outcomesOf([first, second, read]), ["disk-full", "disk-full", "disk-full"]);
      assert.deepEqual(rig.shard.health().problems.length, 1);
      assert.deepEqual(await client.note("a").lines(), ["kept"]);
      assert.equal(await client.note("a").write({ line: "later" }), 2);
      assert.deepEqual(rig.shard.health().problems, []);
      await rig.restart();
      assert.deepEqual(await rig.client().note("a").lines(), ["kept", "later"]);
    }));

  test("works that waited because the open batch was full go on, though nobody calls any more", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").write({ line: "kept" });
      rig.outcomes.push(full);
      rig.appendMs = 50;
      // Each is as large as an item may be: a batch takes four, so most of them have to wait.
      const text = "x".repeat(120_000);
      const calls = Array.from({ length: 12 }, (_, i) => client.note("a").setPage({ key: `${i}`, text }));
      const outcomes = await outcomesOf(calls);
      assert.deepEqual(new Set(outcomes), new Set(["disk-full", undefined]));
      assert.ok(rig.scheduler.nowMs < 5000, `it took ${rig.scheduler.nowMs} ms`);
      const kept = outcomes.flatMap((outcome, i) => (outcome === undefined ? [`${i}`] : []));
      assert.deepEqual(await client.note("a").pages(), kept.sort());
    }));

  test("messages between two slots arrive once and in order, though several were under way", () =>
    withNotebook(async ({ rig, client }) => {
      const lines = Array.from({ length: 40 }, (_, i) => `m${i}`);
      await client.note("a").write({ line: "kept" });
      rig.appendMs = 3;
      for (let i = 0; i < 60; i++) rig.outcomes.push(i % 2 === 1 ? full : undefined);
      await client.note("a").mail({ to: "b", lines });
      // Others fill the batches meanwhile, so that slices end between deliveries.
      const others = Array.from({ length: 200 }, (_, i) =>
        rig.sleep(i / 4).then(() => outcomesOf([client.note(`c${i}`).write({ line: "x" })])),
      );
      await Promise.all(others);
      await rig.sleep(1000);
      assert.deepEqual(await client.note("b").lines(), lines);
      await rig.restart();
      assert.deepEqual(await rig.client().note("b").lines(), lines);
    }));

  for (let refused = 2; refused < 12; refused++) {
    test(`large messages, of which some wait for room, keep their order though append ${refused} is refused`, () =>
      withNotebook(async ({ rig, client, made }) => {
        const text = "x".repeat(70_000);
        made.hooks.inCommand = (_state, context) => {
          const { send } = context as { send: (...message: unknown[]) => void };
          for (const key of ["0", "1", "2", "3"]) send.call(context, made.note, "b", "setPage", { key, text });
        };
        rig.appendMs = 20;
        for (let i = 0; i < 40; i++) rig.outcomes.push(i === refused || i === refused + 2 ? full : undefined);
        await Promise.all(
          Array.from({ length: 5 }, async () => {
            while ((await outcomesOf([client.note("a").hook()]))[0] === "disk-full") await rig.sleep(1);
          }),
        );
        // In virtual time, far longer than the deliveries take: looking at the log in between would cost more than they do.
        await rig.sleep(3000);
        const order = rig.entries().flatMap(({ entry }) => (entry.consumed === null ? [] : [entry.consumed.number]));
        assert.deepEqual(
          order,
          Array.from({ length: 20 }, (_, i) => i + 1),
        );
        const { version } = await rig.shard.state({ kind: "note", id: "b" }, { principal: tester });
        assert.equal(version, 20);
      }));
  }

  test("timers that had gone off, or were replaced or cancelled meanwhile, still fire once", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").remind({ delayMs: 500, line: "cancelled in vain", key: "cancelled" });
      await client.note("a").remind({ delayMs: 500, line: "replaced in vain", key: "replaced" });
      await client.note("a").remind({ delayMs: 500, line: "fired in vain", key: "fired" });
      await rig.sleep(480);
      rig.appendMs = 100;
      rig.outcomes.push(full, full);
      const lost = [
        rig.command("note", "a", "cancel", { key: "cancelled" }),
        rig.command("note", "a", "remind", { delayMs: 60_000, line: "never", key: "replaced" }),
      ];
      assert.deepEqual(await outcomesOf(lost), ["disk-full", "disk-full"]);
      rig.outcomes.length = 0;
      rig.outcomes.push(full);
      await rig.sleep(10_000);
      const lines = await client.note("a").lines();
      assert.deepEqual([...lines].sort(), ["cancelled in vain", "fired in vain", "replaced in vain"]);
    }));

  test("no command that waits for a lock is forgotten, whoever locks the entity next", () =>
    withNotebook(async ({ rig, client, made }) => {
      let opened: () => void = () => undefined;
      const gate = new Promise<void>((resolve) => {
        opened = resolve;
      });
      made.hooks.body = async (tx) => {
        await tx(made.note, "a").write({ line: "tx" });
        await gate;
        await rig.sleep(5);
      };
      const first = client.script();
      await rig.sleep(5);
      const waiting = Array.from({ length: 10 }, (_, i) => client.note("a").write({ line: `w${i}` }));
      await rig.sleep(5);
      const transactions = [first];
      rig.outcomes.push(full);
      const dropped = rig.command("note", "z", "write", { line: "dropped" });
      const crowd = rig.sleep(0.5).then(() => {
        for (let i = 0; i < 30; i++) transactions.push(client.script());
      });
      assert.deepEqual(await outcomesOf([dropped]), ["disk-full"]);
      await crowd;
      opened();
      const outcomes = await outcomesOf([...waiting, ...transactions]);
      assert.deepEqual(
        outcomes.filter((outcome) => outcome === "deadline-passed"),
        [],
      );
      const lines = await client.note("a").lines();
      assert.equal(lines.filter((line) => line.startsWith("w")).length, 10);
      assert.ok(rig.scheduler.nowMs < 20_000);
    }));

  test("a transaction that has seen what is gone is tried again, and sees what is there", () =>
    withNotebook(async ({ rig, client, made }) => {
      await client.note("a").write({ line: "kept" });
      rig.appendMs = 50;
      rig.outcomes.push(full);
      const dropped = rig.command("note", "a", "write", { line: "gone" });
      await rig.sleep(5);
      const seen: (readonly string[])[] = [];
      made.hooks.body = async (tx) => {
        seen.push(await tx(made.note, "a").lines());
        await rig.sleep(100);
        await tx(made.note, "b").write({ line: seen.at(-1)!.join() });
      };
      await client.script();
      assert.deepEqual(await outcomesOf([dropped]), ["disk-full"]);
      assert.deepEqual(seen, [["kept", "gone"], ["kept"]]);
      assert.deepEqual(await client.note("b").lines(), ["kept"]);
    }));

  test("kept outcomes of requests are gone with their effects, and the retry takes hold once", () =>
    withNotebook(async ({ rig, client }) => {
      rig.outcomes.push(full);
      const call = () => rig.command("note", "a", "write", { line: "x" }, { idempotencyKey: "k" });
      assert.deepEqual(await outcomesOf([call(), call()]), ["disk-full", "disk-full"]);
      assert.equal((await call()).output, 1);
      assert.equal((await call()).output, 1);
      assert.deepEqual(await client.note("a").lines(), ["x"]);
      const token = rig.shard.mintSession(tester);
      const numbered = () =>
        rig.command("note", "a", "write", { line: "y" }, { session: { token, number: 1, lowest: 1 } });
      rig.outcomes.push(full);
      assert.deepEqual(await outcomesOf([numbered()]), ["disk-full"]);
      assert.equal((await numbered()).output, 2);
      assert.equal((await numbered()).output, 2);
    }));
});

describe("after an append that failed for good", () => {
  test("a crowd that waits behind one entity is all answered, however long the queue", () =>
    withNotebook(async ({ rig, client, made }) => {
      let opened: () => void = () => undefined;
      const gate = new Promise<void>((resolve) => {
        opened = resolve;
      });
      made.hooks.body = async (tx) => {
        await tx(made.note, "a").write({ line: "tx" });
        await gate;
        throw new Error("so that the first of the crowd is granted the lock");
      };
      const open = client.script();
      await rig.sleep(5);
      const crowd = Array.from({ length: 4000 }, () => client.note("a").write({ line: "x" }));
      await rig.sleep(50);
      rig.appendMs = 10;
      rig.outcomes.push({ kind: "failed", fate: "lost" });
      const failing = client.note("b").write({ line: "x" });
      await rig.sleep(9);
      // Full batches keep the granted one waiting in the queue while the append fails.
      opened();
      const outcomes = await outcomesOf([open, failing, ...crowd]);
      assert.deepEqual(new Set(outcomes.slice(1)), new Set(["stopped"]));
      assert.equal(rig.stops.length, 1);
      await assert.rejects(client.note("a").write({ line: "x" }), { code: "stopped" });
    }));

  for (const [via, fate] of [
    ["command", "committed"],
    ["command", "lost"],
    ["transaction", "committed"],
    ["transaction", "lost"],
  ] as const) {
    test(`the caller of a ${via} is told that its outcome is unknown, and after a restart it was ${fate}`, () =>
      withNotebook(async ({ rig, client }) => {
        await client.note("a").write({ line: "kept" });
        rig.outcomes.push({ kind: "failed", fate });
        rig.appendMs = 20;
        const doubtful =
          via === "command"
            ? rig.command("note", "a", "write", { line: "doubtful" })
            : rig.transaction("atHome", { id: "a", line: "doubtful" });
        await rig.sleep(10);
        const neverSent = [
          rig.command("note", "a", "write", { line: "never sent" }),
          rig.transaction("atHome", { id: "b", line: "never sent" }),
        ];
        await assert.rejects(doubtful, { code: "stopped", retry: "unknown" });
        for (const call of neverSent) await assert.rejects(call, { code: "stopped", retry: "safe" });
        await assert.rejects(client.note("a").lines(), { code: "stopped", retry: "safe" });
        assert.equal(rig.shard.health().state, "stopped");
        await rig.restart();
        const expected = fate === "committed" ? ["kept", "doubtful"] : ["kept"];
        assert.deepEqual(await rig.client().note("a").lines(), expected);
      }));
  }
});
