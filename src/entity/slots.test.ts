import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { slotOf } from "../base/ids.ts";
import { SeededRandom } from "../base/random.ts";
import { inProcessClient } from "../runtime/in-process-client.ts";
import { memoryStore } from "../store/engine/memory.ts";
import { realTimers } from "../store/snapshot.fixture.ts";
import type { Entry as Row, Store, Write } from "../store/store.ts";
import type { Entry } from "./batch.ts";
import { entryArbitrary } from "./entry.fixture.ts";
import { entriesWithPrefix, foldBatch, WriteSet } from "./fold.ts";
import { foldGenesis } from "./genesis.ts";
import { type BinaryString, binaryOfBytes, bytesOfBinary, entityName, keys, readUint16, tables } from "./keys.ts";
import { Neighbourhood } from "./neighbourhood.fixture.ts";
import { makeNotebook } from "./notebook.fixture.ts";
import { tester } from "./shard.fixture.ts";
import { rowsOfSlots } from "./slots.ts";

const position = { incarnation: new Uint8Array(16), epoch: 1, sequence: 2, hash: new Uint8Array(32) };
const lastSlot = 4095;
const hex = (row: Row) => `${Buffer.from(row.key).toString("hex")} ${Buffer.from(row.value).toString("hex")}`;

async function storeWith(writes: readonly Write[]): Promise<Store> {
  const store = await memoryStore({ timers: realTimers, random: new SeededRandom("slots") }).open();
  await store.apply(writes, position);
  return store;
}

/** A store into which arbitrary entries were folded; those that remove under arbitrary keys do so first. */
function folded(entries: readonly Entry[]): Promise<Store> {
  const writes = new WriteSet();
  foldBatch(entries, position.sequence, writes);
  return storeWith([foldGenesis(Uint8Array.of(1)), ...writes]);
}

const everything = (store: Store) => [...store.range({ from: Uint8Array.of(0), to: Uint8Array.of(0xff) })].map(hex);
const part = (store: Store, firstSlot: number, last: number) =>
  [...rowsOfSlots(store, { firstSlot, lastSlot: last })].map(hex);
/** A value that names the slot which the key of a timer's index row does. */
function timerDueOf(key: BinaryString): Uint8Array {
  const slot = readUint16(key, 9);
  return Uint8Array.of(0x93, 0xcd, slot >>> 8, slot & 0xff, 0xa0, 0xa0);
}

const isMeta = (row: string) => row.startsWith(tables.meta.toString(16));

describe("the parts of a store by slots", () => {
  test("are together the whole, and share only what is about the whole shard", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(entryArbitrary, { maxLength: 20 }),
        fc.uniqueArray(fc.integer({ min: 1, max: lastSlot }), { maxLength: 3 }),
        async (entries, cuts) => {
          const store = await folded(entries);
          const firsts = [0, ...cuts.sort((a, b) => a - b)];
          const parts = firsts.map((first, i) => part(store, first, (firsts[i + 1] ?? lastSlot + 1) - 1));
          const all = everything(store);
          assert.deepEqual([...new Set(parts.flat())].sort(), [...all].sort());
          const own = parts.flat().filter((row) => !isMeta(row));
          assert.equal(new Set(own).size, own.length);
          for (const rows of parts) {
            assert.equal(rows.filter(isMeta).length, 1);
            assert.deepEqual(rows, [...rows].sort());
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  test("hold the rows of their first and last slots, and the rows of indexes that speak of those", async () => {
    const name = entityName("default", "note", "a");
    const rowsOf = (slot: number): readonly BinaryString[] => [
      keys.entity(slot, name),
      `${keys.items(slot, name, 1, "pages")}k`,
      keys.outbox(slot, 4095 - slot, 1),
      keys.inboxNumber(slot, 4095 - slot),
      keys.timer(slot, name, "t"),
      keys.timerDue(100, slot, name, "t"),
      keys.expiry(100, keys.idempotency(slot, "d".repeat(32))),
      keys.expiry(200, keys.session(slot, "s".repeat(16))),
      keys.garbage(slot, name, 1),
    ];
    const put = (key: BinaryString): Write => ({ key: bytesOfBinary(key), value: timerDueOf(key) });
    const store = await storeWith([99, 100, 200, 201].flatMap(rowsOf).map(put));
    const found = [...rowsOfSlots(store, { firstSlot: 100, lastSlot: 200 })].map(({ key }) => binaryOfBytes(key));
    assert.deepEqual(found, [100, 200].flatMap(rowsOf).sort());
  });

  test("are refused for a store with a table that is not known", async () => {
    const store = await storeWith([{ key: bytesOfBinary("\xfe"), value: Uint8Array.of(1) }]);
    assert.throws(() => part(store, 0, lastSlot), { code: "unsupported-version" });
  });

  test("know every table that this version has", async () => {
    for (const [name, table] of Object.entries(tables)) {
      // A key of zeros behind the table is a key of slot 0; a number in MessagePack is a listing's slot.
      const key = new Uint8Array(40);
      key[0] = table;
      const value = name === "timerDue" ? Uint8Array.of(0x93, 0, 0xa0, 0xa0) : Uint8Array.of(0);
      const store = await storeWith([{ key, value }]);
      assert.equal(part(store, 0, 0).length, 1, name);
      assert.equal(part(store, 1, lastSlot).length, name === "meta" ? 1 : 0, name);
    }
  });
});

describe("a shard that begins with a part of another's store", () => {
  test("goes on with its entities, lists, timers, kept outcomes and ended lives, and with nothing of the others", () => {
    const { notebook } = makeNotebook();
    const cut = 2048;
    const ids = Array.from({ length: 30 }, (_, i) => `n${i}`);
    return Neighbourhood.run(notebook, { cuts: [] }, async (hood) => {
      const parent = hood.members[0]!;
      const before = inProcessClient(notebook, parent.rig.shard, tester);
      for (const id of ids) {
        await before.note(id).setPage({ key: "k", text: id });
        await before.note(id).remind({ delayMs: 60_000, line: "rang", key: "t" });
        await parent.rig.command("note", id, "write", { line: "once" }, { idempotencyKey: `key ${id}` });
      }
      await before.note("n0").end();
      const children = await hood.split(parent, cut);
      const ownOf = (index: number) =>
        ids.filter((id) => id !== "n0" && slotOf("note", id, "default") >= cut === (index === 1));
      for (const [index, { rig }] of children.entries()) {
        const client = inProcessClient(notebook, rig.shard, tester);
        const listed = await rig.shard.list("note", { principal: tester, limit: 100 });
        assert.deepEqual([...listed.ids].sort(), [...ownOf(index)].sort());
        for (const id of ownOf(index)) {
          assert.equal(await client.note(id).page({ key: "k" }), id);
          // The request that was done before the split is not done again.
          await rig.command("note", id, "write", { line: "once" }, { idempotencyKey: `key ${id}` });
          assert.deepEqual(await client.note(id).lines(), ["once"]);
        }
        assert.equal(rig.shard.timersInMemory, ownOf(index).length);
      }
      await hood.scheduler.sleep(70_000);
      for (const [index, { rig }] of children.entries()) {
        const client = inProcessClient(notebook, rig.shard, tester);
        for (const id of ownOf(index)) assert.deepEqual(await client.note(id).lines(), ["once", "rang"]);
        await rig.applied();
        // What the ended life has left was swept away where its slot is.
        assert.deepEqual([...entriesWithPrefix(rig.store, keys.table("garbage"))], []);
        assert.deepEqual(rig.stops, []);
      }
    });
  });
});
