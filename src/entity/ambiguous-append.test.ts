/** Appends whose outcome is not simply yes (design 6): the owner finds out what stands in the log, and never guesses. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { memoryLog } from "../log/engine/memory.ts";
import { encodeRecord } from "../log/record.ts";
import { encodeBatch } from "./batch-encoder.ts";
import { withNotebook } from "./notebook.fixture.ts";
import { outcomesOf } from "./shard.fixture.ts";

describe("an append whose outcome is unknown", () => {
  for (const fate of ["committed", "lost"] as const) {
    for (const afterOperations of [0, 1, 4]) {
      test(`that was ${fate}, as shows after ${afterOperations} operations, is settled, and its caller never hears of it`, () =>
        withNotebook(async ({ rig, client }) => {
          rig.outcomes.push({ kind: "unknown", fate, afterOperations });
          const lines = ["1", "2", "3"];
          const first = client.note("a").write({ line: "0" });
          await rig.sleep(0.5);
          const others = lines.map((line) => client.note("a").write({ line }));
          assert.deepEqual(await Promise.all([first, ...others]), [1, 2, 3, 4]);
          await rig.restart();
          assert.deepEqual(await rig.client().note("a").lines(), ["0", ...lines]);
          assert.equal(rig.storage.count, 3, "one record each, none twice");
        }));
    }
  }

  test("many times over ends well all the same", () =>
    withNotebook(async ({ rig, client }) => {
      const fates = ["lost", "lost", "committed"] as const;
      for (let i = 0; i < 9; i++) rig.outcomes.push({ kind: "unknown", fate: fates[i % 3]!, afterOperations: i % 2 });
      for (let i = 1; i <= 5; i++) assert.equal(await client.note("a").write({ line: `${i}` }), i);
      await rig.restart();
      assert.deepEqual(await rig.client().note("a").lines(), ["1", "2", "3", "4", "5"]);
    }));

  test("stays unknown though sending it again meets a full disk: nobody is told that nothing was changed", () =>
    withNotebook(async ({ rig, client }) => {
      rig.outcomes.push({ kind: "unknown", fate: "lost" }, { kind: "full" }, { kind: "full" });
      assert.equal(await client.note("a").write({ line: "1" }), 1);
      assert.equal(rig.shard.health().problems.length, 0);
    }));

  test("ends the shard where another's record turns out to stand in its place; nothing of it took hold", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").write({ line: "kept" });
      rig.appendMs = 20;
      rig.outcomes.push({ kind: "conflict" });
      const fenced = rig.command("note", "a", "write", { line: "fenced" });
      const read = rig.command("note", "a", "write", { line: "beside" });
      await rig.sleep(5);
      // Another owner's batch comes first, behind the back of this log's object.
      const rival = memoryLog({ storage: rig.storage });
      const { incarnation, hash: previousHash, sequence } = rival.end!;
      const header = { kind: "batch", readerVersion: 1, incarnation, epoch: 2, sequence: sequence + 1 } as const;
      const record = encodeRecord({ ...header, timeMs: 4e12, previousHash }, encodeBatch([]));
      assert.equal((await rival.append(record.bytes)).kind, "appended");
      // The log's own object learns of it when it reads: as an engine does that others write to as well.
      const own = rig.log as unknown as { read: (sequence: number) => Promise<unknown> };
      const { read: readOwn } = own;
      own.read = async (at) => (at > sequence ? rival.read(at) : readOwn.call(rig.log, at));
      assert.deepEqual(await outcomesOf([fenced, read]), ["not-owner", "not-owner"]);
      await assert.rejects(fenced, { retry: "safe" }, "its record can't stand in the log any more");
      assert.equal(rig.stops.length, 1);
    }));
});

describe("a conflict", () => {
  test("over a record that is its own after all is a success", () =>
    withNotebook(async ({ rig, client }) => {
      rig.outcomes.push({ kind: "unknown", fate: "committed" });
      // The second sending finds its own record: `conflict`, and the same hash.
      assert.equal(await client.note("a").write({ line: "1" }), 1);
      assert.equal(rig.storage.count, 2);
    }));

  test("that proves nothing, since no record stands there, is followed by another try", () =>
    withNotebook(async ({ rig, client }) => {
      rig.outcomes.push({ kind: "conflict" }, { kind: "conflict" });
      assert.equal(await client.note("a").write({ line: "1" }), 1);
      assert.equal(rig.storage.count, 2);
    }));
});
