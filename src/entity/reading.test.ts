/** What readers see, and what they never see. Listing, paging and histories in general are in `entity-life.test.ts`. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Notebook, withNotebook } from "./notebook.fixture.ts";
import { outcomesOf, type ShardRig, tester } from "./shard.fixture.ts";

const note = (id: string) => ({ kind: "note", id });
const reader = { principal: tester };

describe("a history", () => {
  test("ends where the log was trimmed, and says so", () =>
    withNotebook(async ({ rig, client }) => {
      for (let i = 0; i < 10; i++) await client.note("a").write({ line: `${i}` });
      await client.note("old").write({ line: "x" });
      for (let i = 10; i < 20; i++) await client.note("a").write({ line: `${i}` });
      const whole = await rig.shard.history(note("a"), reader);
      assert.deepEqual([whole.items.length, whole.trimmed], [20, false]);
      await rig.applied();
      await rig.log.trim(whole.items[6]!.sequence);
      const rest = await rig.shard.history(note("a"), reader);
      assert.deepEqual(rest, { items: whole.items.slice(0, 7), trimmed: true });
      const first = await rig.shard.history(note("a"), { ...reader, limit: 5 });
      const second = await rig.shard.history(note("a"), { ...reader, limit: 5, cursor: first.cursor! });
      assert.deepEqual([...first.items, ...second.items], rest.items);
      assert.deepEqual([first.trimmed, second.trimmed], [false, true]);
      assert.deepEqual(await rig.shard.history(note("old"), reader), { items: [], trimmed: true });
      assert.deepEqual(await rig.shard.history(note("never"), reader), { items: [], trimmed: false });
    }));

  test("of another entity lends no cursor", () =>
    withNotebook(async ({ rig, client }) => {
      for (let i = 0; i < 3; i++) await client.note("a").write({ line: "x" });
      for (let i = 0; i < 3; i++) await client.note("b").write({ line: "x" });
      const { cursor } = await rig.shard.history(note("b"), { ...reader, limit: 1 });
      await assert.rejects(rig.shard.history(note("a"), { ...reader, cursor: cursor! }), {
        code: "malformed",
        retry: "never",
      });
      assert.deepEqual(rig.stops, []);
    }));
});

describe("while the disk holds an append back", () => {
  test("a listing shows nothing of it, and neither does a read of what it does not touch wait for it", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("kept").write({ line: "x" });
      await client.note("ended").write({ line: "x" });
      rig.closeGate();
      const calls = [
        client.note("new").write({ line: "x" }),
        client.note("ended").end(),
        client.note("elsewhere").mail({ to: "receiver", lines: ["x"] }),
      ];
      await rig.sleep(500);
      assert.deepEqual((await rig.shard.list("note", reader)).ids, ["ended", "kept"]);
      assert.deepEqual(await client.note("kept").lines(), ["x"]);
      assert.equal((await rig.shard.history(note("kept"), reader)).items.length, 1);
      rig.openGate();
      await Promise.all(calls);
      await rig.until(() => rig.entries().some(({ entry }) => entry.consumed !== null));
      assert.deepEqual((await rig.shard.list("note", reader)).ids, ["elsewhere", "kept", "new", "receiver"]);
    }));

  test("a transaction that only reads it waits, as does every answer that rests on it", () =>
    withNotebook(async ({ rig, client, made }) => {
      rig.closeGate();
      const answered: string[] = [];
      const watch = (name: string, call: Promise<unknown>) => call.then(() => answered.push(name));
      made.hooks.body = (tx) => tx(made.note, "a").lines();
      const calls = [
        watch("write", client.note("a").write({ line: "one" })),
        watch("read", client.note("a").lines()),
        watch("transaction", client.script()),
        // One that nothing is kept of: it rests on what it has seen alone.
        watch("refusal", assert.rejects(rig.shard.command(note("a"), "refuse", { line: "x" }, reader))),
      ];
      await rig.sleep(2000);
      assert.deepEqual(answered, []);
      rig.openGate();
      await Promise.all(calls);
      assert.deepEqual(answered.sort(), ["read", "refusal", "transaction", "write"]);
    }));

  test("and the node dies, what nobody has heard of may be gone, and nobody had heard of it", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").write({ line: "heard" });
      for (const commitUnfinished of [false, true]) {
        rig.closeGate();
        let heard = false;
        const hear = () => {
          heard = true;
        };
        rig.client().note("a").write({ line: "unheard" }).then(hear, hear);
        rig.client().note("a").lines().then(hear, hear);
        await rig.sleep(500);
        await rig.restart({ commitUnfinished });
        assert.equal(heard, false);
        const expected = commitUnfinished ? ["heard", "unheard"] : ["heard"];
        assert.deepEqual(await rig.client().note("a").lines(), expected);
      }
    }));
});

describe("tenants", () => {
  const blue = { tenant: "blue", subject: "tester", scopes: ["*"] };
  const red = { tenant: "red", subject: "tester", scopes: ["*"] };

  async function populate(rig: ShardRig<Notebook["notebook"]>): Promise<void> {
    const client = rig.client(blue);
    await client.note("shared").write({ line: "blue" });
    await client.note("shared").setPage({ key: "p", text: "blue" });
    await client.note("blue only").mail({ to: "shared", lines: ["by message"] });
    await client.note("blue only").remind({ delayMs: 50, line: "by timer" });
    await rig.transaction("atHome", { id: "shared", line: "by transaction" }, { principal: blue });
    await rig.sleep(1000);
  }

  test("see nothing of each other's entities, whatever they ask", () =>
    withNotebook(async ({ rig }) => {
      await populate(rig);
      const check = async () => {
        const options = { principal: red };
        assert.deepEqual(await rig.client(red).note("shared").lines(), []);
        assert.deepEqual(await rig.client(red).note("shared").pages(), []);
        assert.deepEqual((await rig.shard.list("note", options)).ids, []);
        assert.deepEqual((await rig.shard.history(note("shared"), options)).items, []);
        await assert.rejects(rig.shard.state(note("shared"), options), { code: "not-found" });
        await assert.rejects(rig.shard.delete(note("shared"), options), { code: "not-found" });
        const { cursor } = await rig.shard.list("note", { principal: blue, limit: 1 });
        assert.deepEqual((await rig.shard.list("note", { ...options, cursor: cursor! })).ids, []);
        const foreign = await rig.shard.history(note("shared"), { principal: blue, limit: 1 });
        await assert.rejects(rig.shard.history(note("shared"), { ...options, cursor: foreign.cursor! }), {
          code: "malformed",
        });
      };
      await check();
      await rig.restart({ loseStore: true });
      await check();
      const lines = ["blue", "by message", "by transaction"];
      assert.deepEqual([...(await rig.client(blue).note("shared").lines())].sort(), lines);
      assert.ok((await rig.client(blue).note("blue only").lines()).includes("by timer"));
    }));

  test("use the same ids, idempotency keys and transactions without meeting", () =>
    withNotebook(async ({ rig }) => {
      const idempotencyKey = "same";
      for (const principal of [blue, red]) {
        const written = await rig.command("note", "a", "write", { line: "x" }, { principal, idempotencyKey });
        assert.equal(written.output, 1);
        const options = { principal, idempotencyKey };
        assert.equal((await rig.transaction("atHome", { id: "a", line: "y" }, options)).output, 2);
      }
      await rig.shard.delete(note("a"), { principal: blue });
      assert.deepEqual(await rig.client(red).note("a").lines(), ["x", "y"]);
      const token = rig.shard.mintSession(blue);
      const stolen = { principal: red, session: { token, number: 1, lowest: 1 } };
      assert.deepEqual(await outcomesOf([rig.command("note", "a", "write", { line: "z" }, stolen)]), ["forbidden"]);
    }));
});
