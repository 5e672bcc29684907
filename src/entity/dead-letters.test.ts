/** Dead letters: what is kept of them, for how long, and how they are looked at. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { entriesWithPrefix } from "./fold.ts";
import { keys } from "./keys.ts";
import { type NotebookParts, withNotebook } from "./notebook.fixture.ts";
import type { DeadLetterItem } from "./service.ts";
import { tester } from "./shard.fixture.ts";

/** Sends `lines` from `a` to `to`, whose command refuses all of them. */
async function refused({ rig, client }: NotebookParts, to: string, lines: readonly string[]): Promise<void> {
  const before = recordedCount(rig);
  await client.note("a").mail({ to, lines: [...lines], command: "refuse" });
  await rig.until(() => recordedCount(rig) === before + lines.length);
}

const recordedCount = (rig: NotebookParts["rig"]) =>
  rig.entries().filter(({ entry }) => entry.deadLetter !== null).length;

const storedCount = (rig: NotebookParts["rig"]) => [...entriesWithPrefix(rig.store, keys.table("deadLetter"))].length;

const lineOf = ({ input }: DeadLetterItem) => (input as { line: string }).line;

async function linesOf(rig: NotebookParts["rig"]): Promise<readonly string[]> {
  const { items } = await rig.shard.deadLetters({ principal: tester, limit: 1000 });
  return items.map(lineOf).reverse();
}

const numbered = (count: number, from = 0) => Array.from({ length: count }, (_, i) => `${from + i}`);

describe("dead letters are shown", () => {
  test("newest first, with what did not take hold, why, and for whom", () =>
    withNotebook(async (parts) => {
      const { rig, client } = parts;
      await refused(parts, "b", ["x"]);
      await client.note("c").remind({ delayMs: 50, line: "y", command: "refuse" });
      await rig.until(() => recordedCount(rig) === 2);
      const { items, cursor, removed } = await rig.shard.deadLetters({ principal: tester });
      assert.deepEqual([cursor, removed], [undefined, 0]);
      assert.deepEqual(
        items.map(({ letter, sequence, timeMs, ...rest }) => {
          assert.equal(timeMs, rig.entries().find((entry) => entry.sequence === sequence)!.timeMs);
          assert.equal(letter.split(".")[0], `${sequence}`);
          return rest;
        }),
        [
          { id: "c", by: "timer", input: { line: "y" } },
          { id: "b", by: "message", input: { line: "x" } },
        ].map((rest) => ({
          kind: "note",
          command: "refuse",
          subject: tester.subject,
          code: "not-now",
          detail: "refused: not-now",
          waits: false,
          ...rest,
        })),
      );
    }));

  test("in pages, of one kind or all, and only to their own tenant, also after a restart and a lost store", () =>
    withNotebook(async (parts) => {
      const { rig } = parts;
      await refused(parts, "b", numbered(7));
      const other = { tenant: "acme", subject: "carol", scopes: ["*"] };
      await rig
        .client(other)
        .note("a")
        .mail({ to: "b", lines: ["theirs"], command: "refuse" });
      await rig.until(() => recordedCount(rig) === 8);
      const check = async () => {
        const found: string[] = [];
        let cursor: string | undefined;
        do {
          const page = await rig.shard.deadLetters({
            principal: tester,
            kind: "note",
            limit: 3,
            ...(cursor === undefined ? {} : { cursor }),
          });
          assert.ok(page.items.length <= 3);
          found.push(...page.items.map(lineOf));
          cursor = page.cursor;
        } while (cursor !== undefined);
        assert.deepEqual(found, numbered(7).reverse());
        const theirs = await rig.shard.deadLetters({ principal: other });
        assert.deepEqual(theirs.items.map(lineOf), ["theirs"]);
      };
      await check();
      await rig.restart();
      await check();
      await rig.restart({ loseStore: true });
      await check();
      await assert.rejects(rig.shard.deadLetters({ principal: tester, kind: "no" }), { code: "unknown-kind" });
      await assert.rejects(rig.shard.deadLetters({ principal: tester, cursor: "x" }), { code: "malformed" });
      await assert.rejects(rig.shard.deadLetters({ principal: tester, limit: 0 }), { code: "malformed" });
    }));

  test("only once they are durable", () =>
    withNotebook(async (parts) => {
      const { rig, client } = parts;
      await client.note("a").mail({ to: "b", lines: ["x"], command: "refuse" });
      rig.closeGate();
      await rig.sleep(100);
      assert.deepEqual(await linesOf(rig), []);
      rig.openGate();
      await rig.until(() => recordedCount(rig) === 1);
      assert.deepEqual(await linesOf(rig), ["x"]);
    }));
});

describe("dead letters are bounded", () => {
  test("in number for each slot: the oldest go, by the entry that needs the room", () =>
    withNotebook(
      async (parts) => {
        const { rig } = parts;
        await refused(parts, "b", numbered(9));
        await refused(parts, "c", ["of another slot"]);
        assert.deepEqual(await linesOf(rig), [...numbered(4, 5), "of another slot"]);
        for (const { entry } of rig.entries()) {
          if (entry.expired.length > 0) assert.equal(entry.deadLetter?.waits, false);
        }
        await rig.applied();
        assert.equal(storedCount(rig), 5);
        await rig.restart({ loseStore: true });
        assert.deepEqual(await linesOf(rig), [...numbered(4, 5), "of another slot"]);
      },
      { limits: { deadLettersPerSlotMax: 4 } },
    ));

  test("in number for the shard, whatever the slots, and it is said that some were removed", () =>
    withNotebook(
      async (parts) => {
        const { rig } = parts;
        for (const [index, to] of ["b", "c", "d", "e", "f", "g"].entries()) {
          await refused(parts, to, numbered(2, 2 * index));
        }
        assert.deepEqual(await linesOf(rig), numbered(5, 7));
        assert.deepEqual(rig.shard.deadLetterCounts.dead, 5);
        assert.deepEqual(rig.shard.deadLetterCounts.removed, 7);
        assert.equal((await rig.shard.deadLetters({ principal: tester })).removed, 7);
        const warnings = rig.traces.filter(({ message }) => message.includes("dead letters were removed"));
        assert.equal(warnings.length, 1, "not once for each");
      },
      { limits: { deadLettersPerSlotMax: 5, deadLettersMax: 5 } },
    ));

  test("in bytes: one large letter takes the room of many small ones", () =>
    withNotebook(
      async (parts) => {
        const { rig } = parts;
        await refused(parts, "b", numbered(20));
        await refused(parts, "b", ["x".repeat(3600)]);
        const lines = await linesOf(rig);
        assert.deepEqual(lines.slice(0, -1), numbered(lines.length - 1, 21 - lines.length));
        assert.ok(lines.length > 2 && lines.length < 12, `${lines.length} are left`);
        assert.ok(rig.shard.deadLetterCounts.deadBytes <= 6000);
      },
      {
        limits: {
          deadLetterBytesMax: 6000,
          effectsBytesMax: 6000,
          stateBytesMax: 6000,
          itemBytesMax: 6000,
          outputBytesMax: 6000,
        },
      },
    ));

  test("in age: what is too old goes by an entry of its own, and nothing else does", () =>
    withNotebook(
      async (parts) => {
        const { rig } = parts;
        await refused(parts, "b", ["old"]);
        await rig.sleep(6000);
        await refused(parts, "b", ["young"]);
        await rig.sleep(5000);
        assert.deepEqual(await linesOf(rig), ["young"]);
        const removal = rig.entries().find(({ entry }) => entry.expired.length > 0)!;
        assert.equal(removal.entry.origin, "admin");
        await rig.applied();
        assert.equal(storedCount(rig), 1);
        await rig.restart({ loseStore: true });
        assert.deepEqual(await linesOf(rig), ["young"]);
      },
      { limits: { deadLetterMs: 10_000 } },
    ));

  test("over refused appends and crashes: what was not durable comes and goes again, and the bound holds", () =>
    withNotebook(
      async (parts) => {
        const { rig, client } = parts;
        for (let life = 0; life < 3; life++) {
          for (let i = 0; i < 40; i++) rig.outcomes.push(i % 3 === 2 ? { kind: "full" } : undefined);
          for (let turn = 0; turn < 10; turn++) {
            const sending = rig
              .client()
              .note("a")
              .mail({ to: "b", lines: numbered(5), command: "refuse" });
            await sending.catch((error: { code: string }) => assert.equal(error.code, "disk-full"));
            await rig.sleep(3);
            assert.ok(rig.shard.deadLetterCounts.dead <= 3);
          }
          await rig.restart({ commitUnfinished: life % 2 === 0, loseStore: life === 1 });
        }
        await rig.sleep(1000);
        await rig.applied();
        assert.equal(storedCount(rig), 3);
        assert.equal(rig.shard.deadLetterCounts.dead, 3);
        assert.equal(client !== undefined && rig.stops.length, 0);
      },
      { limits: { deadLettersPerSlotMax: 3 } },
    ));

  test("and a letter whose batch was dropped takes nobody's room", () =>
    withNotebook(
      async (parts) => {
        const { rig, client } = parts;
        await refused(parts, "b", numbered(2));
        await client.note("a").mail({ to: "b", lines: ["2"], command: "refuse" });
        // The append of the mail has succeeded: the next one holds the letter.
        rig.outcomes.push({ kind: "full" });
        await rig.until(() => recordedCount(rig) === 3);
        await rig.applied();
        assert.equal(rig.outcomes.length, 0);
        assert.deepEqual(await linesOf(rig), numbered(3));
      },
      { limits: { deadLettersPerSlotMax: 3 } },
    ));

  test("also where the bounds were higher before: those that are too many go a portion at a time", () => {
    const limits = { deadLettersPerSlotMax: 100, deadLettersMax: 100 };
    return withNotebook(
      async (parts) => {
        const { rig } = parts;
        await refused(parts, "b", numbered(90));
        limits.deadLettersMax = limits.deadLettersPerSlotMax = 10;
        await rig.restart();
        await rig.until(() => rig.shard.deadLetterCounts.dead === 10);
        assert.deepEqual(await linesOf(rig), numbered(10, 80));
      },
      { limits },
    );
  });
});
