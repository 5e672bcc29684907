import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { SeededRandom } from "../base/random.ts";
import { memoryStore } from "../store/engine/memory.ts";
import { realTimers } from "../store/snapshot.fixture.ts";
import type { StoreReader, Write } from "../store/store.ts";
import { type EntityEffect, type Entry, storedRecords, touchThresholdBytes } from "./batch.ts";
import { effectOn, entryArbitrary, entryOf, preparedPart } from "./entry.fixture.ts";
import { entriesWithPrefix, foldBatch, readDecision, readEntity, readPrepared, WriteSet } from "./fold.ts";
import { type BinaryString, binaryOfBytes, entityName, keys, type TableName, tables } from "./keys.ts";
import type { TransactionPart } from "./transaction-parts.ts";

type Batch = readonly Entry[];
const firstSequence = 2;

/** The writes of some batches, folded into one set. */
function writesOf(batches: readonly Batch[], sequence: number): readonly Write[] {
  const writes = new WriteSet();
  for (const [index, entries] of batches.entries()) foldBatch(entries, sequence + index, writes);
  return writes.toArray();
}

/** A store in its simplest form: what is there, by key. */
function applied(portions: readonly (readonly Write[])[]): Map<BinaryString, string> {
  const content = new Map<BinaryString, string>();
  for (const writes of portions) {
    for (const { key, value } of writes) {
      if (value === null) content.delete(binaryOfBytes(key));
      else content.set(binaryOfBytes(key), Buffer.from(value).toString("hex"));
    }
  }
  return new Map([...content].sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function storeOf(batches: readonly Batch[]): Promise<StoreReader> {
  const store = await memoryStore({ timers: realTimers, random: new SeededRandom(1) }).open();
  await store.apply(writesOf(batches, firstSequence), {
    incarnation: new Uint8Array(16),
    epoch: 1,
    sequence: firstSequence + batches.length - 1,
    hash: new Uint8Array(32),
  });
  return store;
}

describe("folding batches", () => {
  const batches = fc.array(fc.array(entryArbitrary, { maxLength: 3 }), { minLength: 1, maxLength: 8 });

  test("gives the same store batch by batch, all at once, or in any portions", () => {
    fc.assert(
      fc.property(batches, fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 8 }), (all, sizes) => {
        const whole = applied([writesOf(all, firstSequence)]);
        const each = all.map((batch, i) => writesOf([batch], firstSequence + i));
        assert.deepEqual(applied(each), whole);
        const portions: (readonly Write[])[] = [];
        for (let done = 0; done < all.length; ) {
          const size = sizes[portions.length] ?? 2;
          portions.push(writesOf(all.slice(done, done + size), firstSequence + done));
          done += size;
        }
        assert.deepEqual(applied(portions), whole);
      }),
      { numRuns: 200 },
    );
  });

  test("twice, from any batch on, gives what it gives once", () => {
    fc.assert(
      fc.property(batches, fc.nat(7), (all, from) => {
        const start = Math.min(from, all.length);
        const each = all.map((batch, i) => writesOf([batch], firstSequence + i));
        const again = all.slice(start).map((batch, i) => writesOf([batch], firstSequence + start + i));
        assert.deepEqual(applied([...each, ...again]), applied(each));
      }),
      { numRuns: 200 },
    );
  });

  test("names every slot in whose tables it writes", () => {
    fc.assert(
      fc.property(fc.array(entryArbitrary, { maxLength: 4 }), (entries) => {
        const writes = new WriteSet();
        foldBatch(entries, 5, writes);
        for (const { key } of writes) {
          if (key[0]! < 0x80) assert.ok(writes.slots.has((key[1]! << 8) | key[2]!));
        }
      }),
    );
  });

  test("writes into every table that the format knows, except that of the genesis and the one without rows", () => {
    const message = {
      fromSlot: 7,
      toSlot: 8,
      number: 3,
      tenant: "default",
      kind: "note",
      id: "b",
      command: "write",
      input: new Uint8Array([1]),
      subject: "tester",
    };
    const timer = { dueMs: 100, command: "write", input: new Uint8Array([1]), subject: "tester" };
    const { fromSlot, toSlot, number, subject: _, ...letter } = message;
    const entries = [
      entryOf({
        effects: [
          effectOn("born", {
            isBirth: true,
            items: [{ collection: "pages", key: "k", value: new Uint8Array([2]) }],
            timers: [{ key: "t", timer, previousDueMs: null }],
          }),
          effectOn("touched", { state: undefined }),
          effectOn("ended", { state: null }),
        ],
        messages: [message],
        consumed: { fromSlot, toSlot, number: number - 1 },
        deadLetter: { ...letter, slot: 8, code: "refused", detail: "", atMs: 5, waits: false },
        result: {
          key: {
            type: "session",
            slot: 7,
            session: "s".repeat(16),
            expiresMs: 9,
            number: 2,
            lowest: 1,
            place: 0,
            isBirth: true,
          },
          outcome: new Uint8Array([1]),
        },
      }),
      entryOf({
        result: {
          key: { type: "idempotency", slot: 7, digest: "d".repeat(32), expiresMs: 9, fingerprint: new Uint8Array(32) },
          outcome: new Uint8Array([1]),
        },
      }),
      entryOf({ transaction: preparedPart }),
      entryOf({ transaction: { type: "decision", id: preparedPart.id, participants: [{ slot: 9, epoch: 4 }] } }),
    ];
    const found = new Set([...applied([writesOf([entries], 5)]).keys()].map((key) => key.charCodeAt(0)));
    const expected = (Object.keys(tables) as TableName[])
      .filter((name) => name !== "meta" && name !== "session")
      .map((name) => tables[name]);
    assert.deepEqual([...found].sort(), [...expected].sort());
  });
});

describe("a transaction over several shards", () => {
  const effects = [effectOn("a", { isBirth: true })];
  const prepared = entryOf({ command: "transfer", transaction: { ...preparedPart, effects } });
  const outcome = (isCommit: boolean) =>
    entryOf({
      effects: isCommit ? effects : [],
      transaction: { type: "outcome", id: preparedPart.id, slot: preparedPart.slot, isCommit },
    });

  test("changes nothing where it is prepared, but that it is", async () => {
    const store = await storeOf([[prepared]]);
    const [row, ...others] = [...entriesWithPrefix(store, String.fromCharCode(tables.prepared))];
    assert.deepEqual(others, []);
    assert.equal(row!.key, keys.prepared(preparedPart.slot, preparedPart.id));
    const { part, command } = readPrepared(row!.value);
    assert.equal(command, "transfer");
    assert.deepEqual([part.age, part.locks, part.effects.length], [preparedPart.age, preparedPart.locks, 1]);
    assert.deepEqual([...entriesWithPrefix(store, String.fromCharCode(tables.entity))], []);
  });

  test("leaves with its outcome what it did, or nothing", async () => {
    for (const isCommit of [true, false]) {
      const store = await storeOf([[prepared], [outcome(isCommit)]]);
      assert.deepEqual([...entriesWithPrefix(store, String.fromCharCode(tables.prepared))], []);
      const entities = [...entriesWithPrefix(store, String.fromCharCode(tables.entity))];
      assert.equal(entities.length, isCommit ? 1 : 0);
    }
  });

  test("is remembered at its home until it is forgotten", async () => {
    const decision: TransactionPart = {
      type: "decision",
      id: preparedPart.id,
      participants: [{ slot: 9, epoch: 4 }],
    };
    const decided = await storeOf([[entryOf({ transaction: decision })]]);
    const rows = [...entriesWithPrefix(decided, String.fromCharCode(tables.decision))];
    assert.deepEqual(
      rows.map(({ value }) => readDecision(value)),
      [decision],
    );
    const forgotten = entryOf({ transaction: { type: "forgotten", ids: [preparedPart.id] } });
    const store = await storeOf([[entryOf({ transaction: decision })], [forgotten]]);
    assert.deepEqual([...entriesWithPrefix(store, String.fromCharCode(tables.decision))], []);
  });
});

describe("a timer", () => {
  const timerAt = (dueMs: number) => ({ dueMs, command: "write", input: new Uint8Array(0), subject: "tester" });
  const withTimer = (dueMs: number | null, previousDueMs: number | null) =>
    entryOf({
      effects: [
        effectOn("a", { timers: [{ key: "k", timer: dueMs === null ? null : timerAt(dueMs), previousDueMs }] }),
      ],
    });

  test("that is replaced leaves its new due time in the index and no other, also one equal to the old", async () => {
    for (const dueMs of [900, 100, 500]) {
      const store = await storeOf([[withTimer(500, null)], [withTimer(dueMs, 500)]]);
      const due = [...entriesWithPrefix(store, keys.table("timerDue"))];
      assert.deepEqual(
        due.map(({ key }) => key),
        [keys.timerDue(dueMs, 7, entityName("default", "note", "a"), "k")],
      );
      const [stored] = [...entriesWithPrefix(store, keys.timers(7, entityName("default", "note", "a")))];
      assert.equal(storedRecords.decodeTimer(stored!.value).dueMs, dueMs);
    }
  });

  test("that is cancelled or has fired leaves nothing", async () => {
    const store = await storeOf([[withTimer(500, null), withTimer(null, 500)]]);
    assert.deepEqual([...entriesWithPrefix(store, keys.table("timerDue"))], []);
    assert.deepEqual([...entriesWithPrefix(store, keys.timers(7, entityName("default", "note", "a")))], []);
  });
});

describe("the root of an entity", () => {
  const name = entityName("default", "note", "a");
  const large = (fill: number) => new Uint8Array(touchThresholdBytes + 1).fill(fill);
  const facts = async (batches: readonly Batch[]) => {
    const found = readEntity(await storeOf(batches), 7, name, touchThresholdBytes);
    return found && { ...found, state: found.state === null ? null : found.state[0] };
  };
  const one = (parts: Partial<EntityEffect>) => entryOf({ effects: [effectOn("a", parts)] });

  test("is as its last effect left it, in whatever batches its effects stand", async () => {
    // An entity's life as commands make it: versions grow by one, a generation begins with 1 after each end.
    const life = fc.array(
      fc.record({
        kind: fc.constantFrom("root" as const, "touch" as const, "touch" as const, "end" as const),
        size: fc.constantFrom(10, touchThresholdBytes, touchThresholdBytes + 1, 5000),
        isNewBatch: fc.boolean(),
      }),
      { minLength: 1, maxLength: 20 },
    );
    await fc.assert(
      fc.asyncProperty(life, async (steps) => {
        const batches: Entry[][] = [[]];
        let now = { generation: 0, version: 0, state: null as Uint8Array | null };
        let sequence = firstSequence;
        for (const [index, { kind, size, isNewBatch }] of steps.entries()) {
          if (isNewBatch && batches.at(-1)!.length > 0) {
            batches.push([]);
          }
          sequence = firstSequence + batches.length - 1;
          const isBirth = now.state === null;
          const generation = isBirth ? now.generation + 1 : now.generation;
          const version = isBirth ? 1 : now.version + 1;
          let state: Uint8Array | null | undefined = new Uint8Array(size).fill(index + 1);
          if (kind === "end") state = null;
          // The core writes a small root again with every effect.
          if (kind === "touch" && !isBirth) state = now.state!.length > touchThresholdBytes ? undefined : now.state;
          now = { generation, version, state: state === undefined ? now.state : state };
          batches.at(-1)!.push(one({ generation, version, state, isBirth }));
        }
        assert.deepEqual(await facts(batches), {
          generation: now.generation,
          version: now.version,
          schemaVersion: 1,
          lastSequence: sequence,
          state: now.state === null ? null : now.state[0],
        });
      }),
      { numRuns: 200 },
    );
  });

  test("counts a touch that stands in the same batch as the change before it", async () => {
    const batch = [one({ state: large(1), version: 4 }), one({ state: undefined, version: 5 })];
    assert.equal((await facts([batch]))!.version, 5);
  });

  test("is not brought back by a touch that is older than it, or of an earlier generation", async () => {
    const touch = [one({ state: undefined, version: 9 })];
    assert.equal((await facts([touch, [one({ state: large(1), version: 10 })]]))!.version, 10);
    const end = [one({ state: null, version: 10 })];
    assert.deepEqual((await facts([touch, end]))!.state, null);
    const reborn = [one({ state: large(2), generation: 2, version: 1, isBirth: true })];
    assert.equal((await facts([touch, end, reborn]))!.version, 1);
  });

  test("disappears from the listing with its end, and is back with its next life", async () => {
    const listed = async (batches: readonly Batch[]) =>
      [...entriesWithPrefix(await storeOf(batches), keys.listingOfKind("default", "note"))].length;
    const birth = [one({ isBirth: true })];
    const end = [one({ state: null, version: 2 })];
    const rebirth = [one({ isBirth: true, generation: 2 })];
    assert.equal(await listed([birth]), 1);
    assert.equal(await listed([birth, end]), 0);
    assert.equal(await listed([birth, end, rebirth]), 1);
    assert.equal(await listed([[...birth, ...end, ...rebirth]]), 1);
  });
});
