/** Stored data that is damaged stops the shard, so that its store is rebuilt; and nothing else does, whatever it claims. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import { tables } from "./keys.ts";
import { type NotebookParts, withNotebook } from "./notebook.fixture.ts";
import { outcomesOf } from "./shard.fixture.ts";

type Pages = { readonly collections: { readonly pages: { get(key: string): unknown; range(): Iterable<unknown> } } };

/** Every item in the store is damaged from now on. */
function damageItems({ rig }: NotebookParts): void {
  const { store } = rig;
  const [get, range] = [store.get.bind(store), store.range.bind(store)];
  const fail = () => {
    throw new OnefoldError("damaged", "A value in the store is damaged.");
  };
  store.get = (key) => (key[0] === tables.item ? fail() : get(key));
  store.range = (options) => (options.from[0] === tables.item ? fail() : range(options));
}

describe("user code that claims damage", () => {
  const claim = () => {
    throw new OnefoldError("damaged", "made up");
  };
  const ways: readonly (readonly [string, (parts: NotebookParts) => Promise<unknown>])[] = [
    ["a command", ({ client }) => client.note("a").hook()],
    ["a query", ({ client }) => client.note("a").hookQuery()],
    [
      "a step of a transaction",
      ({ client, made }) => {
        made.hooks.body = (tx) => tx(made.note, "a").hook();
        return client.script();
      },
    ],
    [
      "a transaction",
      ({ client, made }) => {
        made.hooks.body = claim;
        return client.script();
      },
    ],
  ];
  for (const [name, run] of ways) {
    test(`in ${name} fails by itself`, () =>
      withNotebook(async (parts) => {
        const { rig, client, made } = parts;
        await client.note("a").write({ line: "kept" });
        made.hooks.inCommand = claim;
        assert.deepEqual(await outcomesOf([run(parts)]), ["command-failed"]);
        assert.deepEqual(rig.stops, []);
        assert.deepEqual(await client.note("a").lines(), ["kept"]);
      }));
  }
});

describe("an item that is damaged", () => {
  for (const [name, read] of [
    ["by its key", ({ collections }: Pages) => collections.pages.get("k")],
    ["in a range", ({ collections }: Pages) => [...collections.pages.range()]],
  ] as const) {
    test(`and is read ${name} stops the shard, also where user code catches the error and would go on`, () =>
      withNotebook(async (parts) => {
        const { rig, client, made } = parts;
        await client.note("a").setPage({ key: "k", text: "x" });
        await rig.applied();
        await rig.restart();
        damageItems(parts);
        const before = rig.storage.count;
        made.hooks.inCommand = (state, context) => {
          try {
            read(context as Pages);
          } catch {
            (state as { lines: string[] }).lines.push("concluded that there is no such page");
          }
          return undefined;
        };
        assert.deepEqual(await outcomesOf([rig.client().note("a").hook()]), ["damaged"]);
        assert.deepEqual(
          rig.stops.map(({ error, isDamage }) => [error.code, isDamage]),
          [["damaged", true]],
        );
        assert.equal(rig.storage.count, before, "nothing of it was logged");
        await assert.rejects(rig.client().note("b").lines(), { code: "not-ready", retry: "safe" });
        await rig.restart({ loseStore: true });
        assert.equal(await rig.client().note("a").page({ key: "k" }), "x");
        assert.deepEqual(await rig.client().note("a").lines(), []);
      }));
  }
});
