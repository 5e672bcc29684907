/** An entity's lives and what can be learned of them: deletion, listing, history, versions of its schema, eviction. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { compareUtf8 } from "../base/bytes.ts";
import { SeededRandom } from "../base/random.ts";
import { entity } from "./define.ts";
import { system } from "./define-system.ts";
import { withNotebook } from "./notebook.fixture.ts";
import { ShardRig, tester } from "./shard.fixture.ts";

const reader = { principal: tester };
const a = { kind: "note", id: "a" } as const;

describe("a deleted entity", () => {
  test("is as if it had never been, but for its generation; deleting what is not there is 'not-found'", () =>
    withNotebook(async ({ rig, client }) => {
      await assert.rejects(rig.shard.delete(a, reader), { code: "not-found" });
      for (let generation = 1; generation <= 3; generation++) {
        assert.equal(await client.note("a").write({ line: `life ${generation}` }), 1);
        await client.note("a").setPage({ key: `page ${generation}`, text: "x" });
        assert.deepEqual(await client.note("a").pages(), [`page ${generation}`]);
        const { generation: shown, version } = await rig.shard.state(a, reader);
        assert.deepEqual([shown, version], [generation, 2]);
        if (generation === 2) await client.note("a").end();
        else await rig.shard.delete(a, reader);
        await assert.rejects(rig.shard.state(a, reader), { code: "not-found" });
        await assert.rejects(rig.shard.delete(a, reader), { code: "not-found" });
        assert.deepEqual([await client.note("a").lines(), await client.note("a").pages()], [[], []]);
        if (generation === 2) {
          await rig.restart();
          client = rig.client();
        }
      }
    }));

  test("leaves no item behind in the store, however many it had", () =>
    withNotebook(async ({ rig, client }) => {
      const count = 1500;
      for (let i = 0; i < count; i += 100) {
        const pages = Array.from({ length: 100 }, (_, j) => client.note("a").setPage({ key: `${i + j}`, text: "x" }));
        await Promise.all(pages);
      }
      await rig.applied();
      const items = () => [...rig.store.range({ from: Uint8Array.of(0x02), to: Uint8Array.of(0x03) })].length;
      const garbage = () => [...rig.store.range({ from: Uint8Array.of(0x83), to: Uint8Array.of(0x84) })].length;
      assert.equal(items(), count);
      await rig.shard.delete(a, reader);
      await client.note("a").setPage({ key: "of the next life", text: "x" });
      await rig.sleep(150);
      // In the middle of the sweep.
      await rig.restart();
      await rig.until(() => garbage() === 0 && items() === 1);
      assert.deepEqual(await rig.client().note("a").pages(), ["of the next life"]);
    }));
});

describe("the listing", () => {
  test("gives ids in order of their bytes, by prefix and in pages, as of everything acknowledged", () =>
    withNotebook(async ({ rig, client }) => {
      const ids = [
        "a",
        "A",
        "ab",
        "a/b",
        "a.b",
        "b",
        "é",
        "éa",
        "z",
        "\uffee",
        "\u{1F600}",
        "\u{1F600}x",
        "\u{10FFFF}",
        "~",
      ];
      await Promise.all(ids.map((id) => client.note(id).write({ line: "x" })));
      await client.note("ended").write({ line: "x" });
      await client.note("ended").end();
      await client.note("only read").lines();
      const sorted = [...ids].sort(compareUtf8);
      assert.deepEqual((await rig.shard.list("note", reader)).ids, sorted);
      for (const limit of [1, 2, 3, 5, 100]) {
        const found: string[] = [];
        let cursor: string | undefined;
        do {
          const page = await rig.shard.list("note", { ...reader, limit, ...(cursor === undefined ? {} : { cursor }) });
          assert.ok(page.ids.length <= limit);
          found.push(...page.ids);
          cursor = page.cursor;
        } while (cursor !== undefined);
        assert.deepEqual(found, sorted, `pages of ${limit}`);
      }
      for (const prefix of ["a", "é", "\u{1F600}", "b", "nothing", ""]) {
        const { ids: found } = await rig.shard.list("note", { ...reader, prefix });
        assert.deepEqual(
          found,
          sorted.filter((id) => id.startsWith(prefix)),
          prefix,
        );
      }
      const other = { ...reader, principal: { ...tester, tenant: "acme" } };
      assert.deepEqual((await rig.shard.list("note", other)).ids, []);
      for (const limit of [0, -1, 1.5, Number.NaN]) {
        await assert.rejects(rig.shard.list("note", { ...reader, limit }), { code: "malformed" });
      }
      await assert.rejects(rig.shard.list("note", { ...reader, cursor: "" }), { code: "malformed" });
      const long = await rig.shard.list("note", { ...reader, prefix: "x".repeat(5000) });
      assert.deepEqual(long.ids, []);
      const far = await rig.shard.list("note", {
        ...reader,
        cursor: Buffer.from("z".repeat(5000)).toString("base64url"),
      });
      assert.ok(far.ids.length < ids.length);
    }));
});

describe("an entity's history", () => {
  test("shows every change newest first, in pages of any size, several of one batch among them", () =>
    withNotebook(async ({ rig, client, made }) => {
      const expected: string[] = [];
      for (let round = 0; round < 6; round++) {
        // All of these in one batch.
        await Promise.all([
          client.note("a").write({ line: "1" }),
          client.note("a").setPage({ key: `${round}`, text: "x" }),
          client.note("a").idle(),
          client.note("b").write({ line: "beside" }),
          client.note("a").write({ line: "2" }),
        ]);
        expected.unshift("write", "setPage", "write");
        if (round === 2) {
          await rig.shard.delete(a, reader);
          expected.unshift("delete");
        }
        if (round === 4) {
          made.hooks.body = async (tx) => {
            await tx(made.note, "a").end();
            await tx(made.note, "a").write({ line: "tx" });
          };
          await client.script();
          expected.unshift("script", "script");
        }
      }
      for (const limit of [1, 2, 3, 7, 100]) {
        const found: string[] = [];
        let cursor: string | undefined;
        do {
          const options = { ...reader, limit, ...(cursor === undefined ? {} : { cursor }) };
          const page = await rig.shard.history(a, options);
          assert.ok(page.items.length <= limit && !page.trimmed);
          found.push(...page.items.map(({ command }) => command));
          cursor = page.cursor;
        } while (cursor !== undefined);
        // A first `idle` makes nothing: the entity is there by then.
        assert.deepEqual(found, expected, `pages of ${limit}`);
      }
      const { items } = await rig.shard.history(a, { ...reader, limit: 1000 });
      const order = items.map(({ generation, version }) => generation * 1000 + version);
      assert.deepEqual(
        [...order].sort((x, y) => y - x),
        order,
      );
      assert.deepEqual(items[0]!.state, { lines: ["tx", "1", "2"] });
      for (const cursor of ["", "x", "1", "1.", "-1.1", "1e3.1", "99999999999999999.1"]) {
        await assert.rejects(rig.shard.history(a, { ...reader, cursor }), { code: "malformed" });
      }
      assert.deepEqual((await rig.shard.history({ kind: "note", id: "nobody" }, reader)).items, []);
    }));

  test("answers a made-up cursor with an error of the caller's, and harms nothing", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("b").write({ line: "x" });
      await client.note("a").write({ line: "x" });
      for (const cursor of ["1.1", "2.1", "3.9", "4000.1", "0.0"]) {
        const answer = await rig.shard.history(a, { ...reader, cursor }).then(
          () => "answered",
          (error: { code: string }) => error.code,
        );
        assert.ok(["answered", "malformed"].includes(answer), `${cursor}: ${answer}`);
      }
      assert.deepEqual(rig.stops, []);
    }));
});

describe("a state of an older version of its schema", () => {
  const first = () =>
    entity("profile")
      .state(z.looseObject({ name: z.string() }), () => ({ name: "" }))
      .command("rename", z.object({ name: z.string() }), (state, { name }) => {
        state.name = name;
        (state as { unknown?: string }).unknown = "kept";
      })
      .query("show", (state) => ({ ...state }) as { name: string });
  const second = () =>
    entity("profile")
      .state(z.looseObject({ first: z.string(), last: z.string() }), () => ({ first: "", last: "" }), {
        version: 2,
        migrations: [
          (state: { name: string }) => {
            const [start = "", end = ""] = state.name.split(" ");
            return { first: start, last: end };
          },
        ],
      })
      .command("rename", z.object({ name: z.string() }), (state, { name }) => {
        state.first = name;
      })
      .query("show", (state) => ({ ...state }) as unknown as { name: string });
  // Two versions of one system: to the rig they are one type.
  const old = () => system("profiles", { profile: first() });
  const young = () => system("profiles", { profile: second() }) as unknown as ReturnType<typeof old>;

  test("is migrated when it is read and when it is next changed, and keeps the fields that the migration does not know", async () => {
    const rig = new ShardRig(old());
    await rig.run(async () => {
      await rig.open();
      await rig.client().profile("ada").rename({ name: "Ada Lovelace" });
      await rig.restart({ system: young() });
      const migrated = { first: "Ada", last: "Lovelace", unknown: "kept" };
      assert.deepEqual(await rig.client().profile("ada").show(), migrated);
      const address = { kind: "profile", id: "ada" };
      assert.deepEqual((await rig.shard.state(address, reader)).state, migrated);
      await rig.client().profile("ada").rename({ name: "Augusta" });
      await rig.restart({ system: young(), loseStore: true });
      assert.deepEqual(await rig.client().profile("ada").show(), { ...migrated, first: "Augusta" });
    });
  });

  test("written by newer code is refused by older code, not guessed at", async () => {
    const rig = new ShardRig(young());
    await rig.run(async () => {
      await rig.open();
      await rig.client().profile("ada").rename({ name: "Ada" });
      await rig.restart({ system: old() });
      await assert.rejects(rig.client().profile("ada").show(), { code: "unsupported-version" });
      await assert.rejects(rig.client().profile("ada").rename({ name: "x" }), { code: "unsupported-version" });
      await rig.client().profile("bob").rename({ name: "x" });
      await rig.restart({ system: young() });
      assert.equal(((await rig.client().profile("ada").show()) as unknown as { first: string }).first, "Ada");
    });
  });
});

describe("a tiny cache", () => {
  test("gives what a large one gives, and stays small under writes and under reads alone", () =>
    withNotebook(
      async ({ rig, client }) => {
        const random = new SeededRandom("cache");
        const ids = Array.from({ length: 200 }, (_, i) => `note-${i}`);
        const expected = new Map<string, { lines: string[]; pages: Set<string> }>();
        for (const id of ids) expected.set(id, { lines: [], pages: new Set() });
        for (let round = 0; round < 60; round++) {
          const works: Promise<unknown>[] = [];
          for (let i = 0; i < 20; i++) {
            const id = random.pick(ids);
            const known = expected.get(id)!;
            const what = random.integer(4);
            const key = `${random.integer(5)}`;
            if (what === 0) {
              known.lines.push(`${round}`);
              works.push(client.note(id).write({ line: `${round}` }));
            } else if (what === 1) {
              known.pages.add(key);
              works.push(client.note(id).setPage({ key, text: "x" }));
            } else if (what === 2) {
              const was = known.pages.delete(key);
              works.push(
                client
                  .note(id)
                  .removePage({ key })
                  .then((is) => assert.equal(is, was)),
              );
            } else {
              const lines = [...known.lines];
              works.push(
                client
                  .note(id)
                  .lines()
                  .then((found) => assert.deepEqual(found, lines)),
              );
            }
          }
          await Promise.all(works);
          if (random.chance(0.3)) await rig.sleep(random.next() * 200);
        }
        await rig.applied();
        await rig.sleep(200);
        let largest = 0;
        for (const id of ids) {
          assert.deepEqual(await client.note(id).lines(), expected.get(id)!.lines);
          assert.deepEqual(await client.note(id).pages(), [...expected.get(id)!.pages].sort());
          largest = Math.max(largest, rig.shard.cache.bytes);
        }
        assert.ok(largest < 40_000, `the cache held ${largest} bytes`);
      },
      { cacheBytes: 10_000 },
    ));
});
