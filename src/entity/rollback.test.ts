/** A command that fails at its very end has done nothing: not to its root, its items, its timers, nor to anyone else (C1). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Refused } from "../base/errors.ts";
import type { CommandContext, EntityHandle } from "./definition.ts";
import { type NotebookParts, withNotebook } from "./notebook.fixture.ts";
import { outcomesOf, tester } from "./shard.fixture.ts";

type State = Record<string, unknown> & { lines: unknown };
type End = (state: State, context: CommandContext) => unknown;

/** Changes everything that a command can change, and then ends in the given way. */
function doEverything(note: EntityHandle, state: State, context: CommandContext, end: End): unknown {
  (state.lines as string[]).push("undone");
  state.added = { nested: [1, 2, 3] };
  const pages = context.collections.pages!;
  pages.set("kept", { text: "undone" });
  pages.set("new", { text: "undone" });
  pages.delete("removed in vain");
  assert.deepEqual(
    [...pages.range()].map(([key]) => key),
    ["kept", "new"],
  );
  context.send(note, "other", "write", { line: "undone" });
  context.send(note, context.id, "write", { line: "undone" });
  context.after(1, "write", { line: "undone" });
  context.after(1, "write", { line: "undone" }, { key: "timer" });
  context.cancelTimer("cancelled in vain");
  return end(state, context);
}

const ends: readonly (readonly [name: string, end: End, code: string])[] = [
  [
    "is refused",
    () => {
      throw new Refused("not-now");
    },
    "not-now",
  ],
  [
    "throws",
    () => {
      throw new Error("at the very end");
    },
    "command-failed",
  ],
  ["returns what is no value", () => new WeakMap(), "invalid-value"],
  ["returns too much", () => "x".repeat(262_145), "too-large"],
  [
    "leaves a state that its schema refuses",
    (state) => {
      state.lines = { no: "list" };
    },
    "invalid-state",
  ],
  [
    "leaves a state that is too large",
    (state) => {
      state.bulk = "x".repeat(262_145);
    },
    "too-large",
  ],
  [
    "has more effects than fit into a batch",
    (_state, context) => {
      for (let i = 0; i < 4; i++) context.collections.pages!.set(`${i}`, { text: "x".repeat(120_000) });
    },
    "too-large",
  ],
  [
    "deletes itself and then throws",
    (_state, context) => {
      context.delete();
      throw new Refused("changed my mind");
    },
    "changed my mind",
  ],
  [
    "sends what its receiver would not understand",
    (_state, context) => context.send({ definition: {} } as never, "x", "y"),
    "unknown-kind",
  ],
];

describe("a command that changes everything and then", () => {
  for (const [name, end, code] of ends) {
    test(`${name} leaves everything as it was, in memory, in the log and after a restart`, () =>
      withNotebook(async (parts: NotebookParts) => {
        const { rig, client, made } = parts;
        const note = client.note("a");
        await note.write({ line: "kept" });
        for (const key of ["kept", "removed in vain"]) await note.setPage({ key, text: key });
        await note.remind({ delayMs: 60_000, line: "timer", key: "timer" });
        await note.remind({ delayMs: 60_000, line: "cancelled in vain", key: "cancelled in vain" });
        const before = rig.entries().length;
        const address = { kind: "note", id: "a" };
        const state = await rig.shard.state(address, { principal: tester });
        made.hooks.inCommand = (draft, context) =>
          doEverything(made.note, draft as State, context as CommandContext, end);
        assert.deepEqual(await outcomesOf([note.hook(), note.hook()]), [code, code]);
        made.hooks.body = async (tx) => {
          await tx(made.note, "other").idle();
          await tx(made.note, "a").hook();
        };
        assert.deepEqual(await outcomesOf([client.script()]), [code]);

        const check = async () => {
          const now = rig.client().note("a");
          assert.deepEqual(await rig.shard.state(address, { principal: tester }), state);
          assert.deepEqual(await now.pages(), ["kept", "removed in vain"]);
          assert.equal(await now.page({ key: "kept" }), "kept");
        };
        await rig.sleep(1000);
        await check();
        assert.equal(rig.entries().length, before);
        await rig.restart({ loseStore: true });
        await check();
        await rig.sleep(60_000);
        const lines = await rig.client().note("a").lines();
        assert.deepEqual([...lines].sort(), ["cancelled in vain", "kept", "timer"]);
        assert.deepEqual(await rig.client().note("other").lines(), []);
      }));
  }
});

describe("values", () => {
  test("of every sort come back from states, items, inputs of messages and timers, and outputs as they were", () =>
    withNotebook(async ({ rig, made }) => {
      const value = () => ({
        date: new Date(1_700_000_000_123),
        bytes: Uint8Array.of(0, 1, 254, 255),
        big: -(2n ** 200n),
        nested: [[{ date: new Date(0), empty: {}, list: [] }], null, true, -1.5, 2 ** 53, "\u{1F600}"],
        "key with \u0000 and é": "",
      });
      made.hooks.inCommand = (draft) => {
        const state = draft as State;
        if (state.kept !== undefined) {
          assert.deepEqual(state.kept, value());
          // Changed in place: what was decoded is the command's own.
          (state.kept as { date: Date }).date.setTime(5);
          (state.kept as { bytes: Uint8Array }).bytes[0] = 9;
        } else {
          state.kept = value();
        }
        return value();
      };
      const call = async () => (await rig.command("note", "a", "hook", undefined)).output;
      assert.deepEqual(await call(), value());
      const kept = async () => {
        const { state } = await rig.shard.state({ kind: "note", id: "a" }, { principal: tester });
        return (state as { kept: unknown }).kept;
      };
      assert.deepEqual(await kept(), value());
      await rig.restart({ loseStore: true });
      assert.deepEqual(await kept(), value());
      assert.deepEqual(await call(), value());
      const changed = { ...value(), date: new Date(5), bytes: Uint8Array.of(9, 1, 254, 255) };
      assert.deepEqual(await kept(), changed);
      await rig.restart();
      assert.deepEqual(await kept(), changed);
    }));
});
