/** What `changes` shows of a shard: everything that is durable, once and in order, in pages and as it comes. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { withNotebook } from "./notebook.fixture.ts";
import type { ChangeItem, ChangesOptions, Principal } from "./service.ts";
import { tester } from "./shard.fixture.ts";
import type { Shard } from "./shard.ts";

const reader = { principal: tester };
const stranger: Principal = { ...tester, tenant: "other" };

async function follow(shard: Shard, options: ChangesOptions): Promise<ChangeItem[]> {
  const found: ChangeItem[] = [];
  let after = options.after;
  for (;;) {
    const page = await shard.changes({ ...options, ...(after === undefined ? {} : { after }) });
    found.push(...page.items);
    if (page.next === after) return found;
    after = page.next;
  }
}

const brief = ({ kind, id, command }: ChangeItem): string => `${kind}/${id} ${command}`;

describe("the changes of a shard", () => {
  test("shows every durable change once and in order, in pages of any size, several of one batch among them (CH1)", () =>
    withNotebook(async ({ rig, client, made }) => {
      const expected: string[] = [];
      for (let round = 0; round < 4; round++) {
        // All of these in one batch.
        await Promise.all([
          client.note("a").write({ line: "1" }),
          client.note("b").setPage({ key: `${round}`, text: "x" }),
          client.note("a").write({ line: "2" }),
          rig.client(stranger).note("a").write({ line: "not for the tester" }),
        ]);
        expected.push("note/a write", "note/b setPage", "note/a write");
      }
      made.hooks.body = async (tx) => {
        await tx(made.note, "a").write({ line: "tx" });
        await tx(made.note, "c").write({ line: "tx" });
      };
      await client.script();
      expected.push("note/a script", "note/c script");
      await rig.shard.delete({ kind: "note", id: "a" }, reader);
      expected.push("note/a delete");
      for (const limit of [1, 2, 3, 7, 100]) {
        const all = await follow(rig.shard, { ...reader, after: "0", limit });
        assert.deepEqual(all.map(brief), expected, `pages of ${limit}`);
        const ofOne = await follow(rig.shard, { ...reader, after: "0", limit, kind: "note", id: "b" });
        assert.deepEqual(ofOne.map(brief), Array(4).fill("note/b setPage"), `pages of ${limit} of one`);
      }
      const [last] = (await follow(rig.shard, { ...reader, after: "0" })).slice(-1);
      assert.deepEqual([last!.by, last!.state], ["admin", null]);
      assert.equal((await follow(rig.shard, { principal: stranger, after: "0" })).length, 4);
    }));

  test("begins at the log's end without a position, and waits there for the first change", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").write({ line: "before" });
      const start = await rig.shard.changes(reader);
      assert.deepEqual(start.items, []);
      const waiting = rig.shard.changes({ ...reader, after: start.next, waitMs: 10_000, kind: "note", id: "b" });
      await client.note("a").write({ line: "of no interest" });
      await client.note("b").write({ line: "it" });
      const { items, next } = await waiting;
      assert.deepEqual(items.map(brief), ["note/b write"]);
      assert.deepEqual(items[0]!.state, { lines: ["it"] });
      const now = await rig.shard.changes(reader);
      assert.deepEqual([next, now.log], [now.next, start.log]);
    }));

  test("shows nothing that is not durable, and what became durable while a page was read (G3)", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").write({ line: "first" });
      const { next } = await rig.shard.changes(reader);
      rig.closeGate();
      const written = client.note("a").write({ line: "later" });
      await rig.until(() => rig.appendCount === 2);
      assert.deepEqual((await rig.shard.changes({ ...reader, after: next })).items, []);
      const waiting = rig.shard.changes({ ...reader, after: next, waitMs: 10_000 });
      rig.openGate();
      await written;
      assert.deepEqual((await waiting).items.map(brief), ["note/a write"]);
    }));

  test("answers without anything when the time is over, and with how far it has looked", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").write({ line: "x" });
      const { next } = await rig.shard.changes(reader);
      const beganMs = rig.scheduler.nowMs;
      const waiting = rig.shard.changes({ ...reader, after: next, waitMs: 5000, id: "b", kind: "note" });
      await client.note("a").write({ line: "x" });
      const page = await waiting;
      assert.deepEqual([page.items, page.next], [[], String(Number(next) + 1)]);
      assert.equal(Math.round((rig.scheduler.nowMs - beganMs) / 1000), 5);
      const hurried = rig.scheduler.nowMs;
      await rig.shard.changes({ ...reader, waitMs: 20_000, deadlineMs: 1000 });
      assert.ok(rig.scheduler.nowMs - hurried < 1000, "an answer comes before its deadline");
    }));

  test("lets only so many wait, and nobody when it stops or when they are told to leave (CH3, CH4)", () =>
    withNotebook(
      async ({ rig }) => {
        const waiting = [1, 2].map(() => rig.shard.changes({ ...reader, waitMs: 20_000 }));
        await rig.sleep(1);
        await assert.rejects(rig.shard.changes({ ...reader, waitMs: 20_000 }), { code: "overloaded", retry: "safe" });
        const leave = new AbortController();
        const beganMs = rig.scheduler.nowMs;
        await rig.shard.close();
        for (const page of await Promise.all(waiting)) assert.deepEqual(page.items, []);
        assert.ok(rig.scheduler.nowMs - beganMs < 1000);
        await rig.restart();
        const aborted = rig.shard.changes({ ...reader, waitMs: 20_000, signal: leave.signal });
        await rig.sleep(1);
        leave.abort();
        assert.deepEqual((await aborted).items, []);
        await rig.shard.changes({ ...reader, waitMs: 20_000, signal: leave.signal });
        assert.ok(rig.scheduler.nowMs - beganMs < 1000);
      },
      { limits: { changesWaitingMax: 2 } },
    ));

  test("reads a bounded part of the log for a page, whatever matches, and gets on (CH2)", () =>
    withNotebook(
      async ({ rig, client }) => {
        for (let i = 0; i < 9; i++) await client.note("a").write({ line: "x".repeat(100) });
        await client.note("b").write({ line: "rare" });
        const { items, next } = await rig.shard.changes({ ...reader, after: "0", kind: "note", id: "b" });
        assert.deepEqual([items, next], [[], "4"]);
        const all = await follow(rig.shard, { ...reader, after: "0", kind: "note", id: "b" });
        assert.deepEqual(all.map(brief), ["note/b write"]);
        const large = await rig.shard.changes({ ...reader, after: "6" });
        assert.ok(large.items.length < 4, "states count");
        assert.equal((await follow(rig.shard, { ...reader, after: "0" })).length, 10);
      },
      { limits: { changesBatchesMax: 4, changesBytesMax: 1000 } },
    ));

  test("refuses positions that are none, or of another log, and kinds that there are not", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").write({ line: "x" });
      for (const after of ["", "x", "1.", "-1", "1e3", "99999999999999999", "4000", "2.1"]) {
        await assert.rejects(rig.shard.changes({ ...reader, after }), { code: "malformed" }, after);
      }
      await assert.rejects(rig.shard.changes({ ...reader, kind: "nott" }), { code: "unknown-kind" });
      for (const limit of [0, -1, 1.5]) {
        await assert.rejects(rig.shard.changes({ ...reader, limit }), { code: "malformed" });
      }
      assert.deepEqual(rig.stops, []);
    }));

  test("tells where changes have been trimmed, and goes on behind them", () =>
    withNotebook(async ({ rig, client }) => {
      for (let i = 0; i < 5; i++) await client.note("a").write({ line: `${i}` });
      await rig.log.trim(4);
      const { firstSequence } = rig.log;
      assert.equal(firstSequence, 4, "the memory log trims exactly");
      const gap = await rig.shard.changes({ ...reader, after: "1" });
      assert.deepEqual([gap.items, gap.trimmed, gap.next], [[], true, "3"]);
      assert.equal((await follow(rig.shard, { ...reader, after: gap.next })).length, 3);
    }));
});
