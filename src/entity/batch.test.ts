import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Packr, unpack } from "msgpackr";
import { slotOf } from "../base/ids.ts";
import { decodeRecord } from "../log/record.ts";
import { decodeBatch, type EntityEffect, type Entry, entryBytesMax, readerVersionOf } from "./batch.ts";
import { encodeBatch } from "./batch-encoder.ts";
import { transactionPartArbitrary } from "./entry.fixture.ts";
import { foldBatch, WriteSet } from "./fold.ts";
import { entityName, keys } from "./keys.ts";

const text = (maxLength: number) => fc.string({ unit: "binary", maxLength }).map((raw) => raw.replaceAll("\0", ""));
const whole = fc.oneof(fc.nat(200), fc.nat(), fc.maxSafeNat());
const slot = fc.nat(4095);
const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const name = fc.constantFrom("a", "kind", "a-long-name-of-a-thing");
const principalText = fc.oneof(text(20), fc.constant("\u{1F600}".repeat(30)));

const effect: fc.Arbitrary<EntityEffect> = fc
  .record({
    tenant: name,
    kind: name,
    id: fc.oneof(fc.constantFrom("x", "y", "é", "\u{1F600}"), text(40)).filter((id) => id !== ""),
    generation: whole,
    version: whole,
    isBirth: fc.boolean(),
    schemaVersion: whole,
    previousSequence: whole,
    state: fc.oneof(fc.constant(undefined), fc.constant(null), bytes(40)),
    items: fc.array(fc.record({ collection: name, key: text(20), value: fc.option(bytes(30)) }), { maxLength: 4 }),
    timers: fc.array(
      fc.record({
        key: text(20),
        previousDueMs: fc.option(whole),
        timer: fc.option(fc.record({ dueMs: whole, command: name, input: bytes(20), subject: principalText })),
      }),
      { maxLength: 4 },
    ),
  })
  .map((parts) => ({
    ...parts,
    slot: slotOf(parts.kind, parts.id, parts.tenant),
    name: entityName(parts.tenant, parts.kind, parts.id),
  }));

const digest = fc.uint8Array({ minLength: 16, maxLength: 32 }).map((raw) => Buffer.from(raw).toString("latin1"));
const result = fc.record({
  outcome: bytes(60),
  key: fc.oneof(
    fc.record({
      type: fc.constant("session" as const),
      slot,
      session: digest,
      expiresMs: whole,
      number: whole,
      lowest: whole,
      place: fc.nat({ max: 65_535 }),
      isBirth: fc.boolean(),
    }),
    fc.record({
      type: fc.constant("idempotency" as const),
      slot,
      digest,
      expiresMs: whole,
      fingerprint: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    }),
  ),
});

const entry: fc.Arbitrary<Entry> = fc.record({
  origin: fc.constantFrom("call", "transaction", "message", "timer", "admin"),
  command: name,
  subject: principalText,
  effects: fc.array(effect, { maxLength: 4 }),
  messages: fc.array(
    fc.record({
      fromSlot: slot,
      toSlot: slot,
      number: whole,
      tenant: name,
      kind: name,
      id: text(30),
      command: name,
      input: bytes(30),
      subject: principalText,
    }),
    { maxLength: 3 },
  ),
  consumed: fc.option(fc.record({ fromSlot: slot, toSlot: slot, number: whole })),
  deadLetter: fc.option(
    fc.record({
      slot,
      tenant: name,
      kind: name,
      id: text(20),
      command: name,
      input: bytes(20),
      code: name,
      detail: principalText,
      atMs: whole,
      waits: fc.boolean(),
    }),
  ),
  result: fc.option(result),
  expired: fc.array(fc.record({ expiresMs: whole, key: digest }), { maxLength: 3 }),
  delivered: fc.array(
    fc
      .record({ fromSlot: slot, toSlot: slot, first: fc.nat(2 ** 30), count: fc.integer({ min: 1, max: 5 }) })
      .map(({ count, ...run }) => ({ ...run, through: run.first + count - 1 })),
    { maxLength: 3 },
  ),
  transaction: fc.option(transactionPartArbitrary, { nil: null }),
});

/** Byte strings decoded from a batch are views of some kind; only their bytes count. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: [...value] };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part)]));
  }
  return value;
}

function folded(batches: readonly (readonly Entry[])[]): Map<string, string | null> {
  const store = new Map<string, string | null>();
  batches.forEach((entries, i) => {
    const writes = new WriteSet();
    foldBatch(entries, i + 2, writes);
    apply(writes, store);
  });
  return store;
}

function apply(writes: WriteSet, store: Map<string, string | null>): void {
  for (const { key, value } of writes) {
    const at = Buffer.from(key).toString("latin1");
    if (value === null) store.delete(at);
    else store.set(at, Buffer.from(value).toString("latin1"));
  }
}

describe("a batch", () => {
  test("decodes to what was encoded, whatever its entries say", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 4 }), (entries) => {
        assert.deepEqual(plain(decodeBatch(encodeBatch(entries))), plain(entries));
      }),
      { numRuns: 300 },
    );
  });

  test("is written as the general encoder writes what it decodes to", () => {
    const general = new Packr({ useRecords: false, useBigIntExtension: true });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
        const payload = encodeBatch(entries);
        assert.deepEqual(Buffer.from(payload), Buffer.from(general.pack(unpack(payload))));
      }),
    );
  });

  test("is never larger than the estimate that the limits rest on", () => {
    fc.assert(
      fc.property(entry, (one) => {
        const size = encodeBatch([one]).length;
        const estimate = entryBytesMax(one);
        assert.ok(size <= estimate, `${size} bytes, estimated as ${estimate}`);
      }),
      { numRuns: 500 },
    );
  });

  test("whose bytes make no sense is damaged", () => {
    for (const bytes of [[], [0xc1], [0x91], [0x91, 0x07], [0x91, 0x92, 0x00, 0xa1]]) {
      assert.throws(() => decodeBatch(Uint8Array.from(bytes)), { code: "damaged" });
    }
  });
});

describe("a batch of version 3", () => {
  const fixtures = new URL("../../test/fixtures/batch/v3/", import.meta.url);

  test("is read as it was written, and written as it was", () => {
    for (const file of readdirSync(fixtures).filter((name) => name.endsWith(".record"))) {
      const { readerVersion, payload } = decodeRecord(new Uint8Array(readFileSync(new URL(file, fixtures))));
      const expectation = readFileSync(new URL(file.replace(".record", ".json"), fixtures), "utf8");
      const expected = JSON.parse(expectation) as {
        readonly readerVersion: number;
        readonly entries: readonly Omit<Entry, "transaction">[];
      };
      // It was written before there were parts of transactions.
      const entries = expected.entries.map((expectedEntry): Entry => ({ ...expectedEntry, transaction: null }));
      assert.equal(readerVersion, expected.readerVersion, file);
      assert.deepEqual(plain(decodeBatch(payload)), entries, file);
      assert.deepEqual(plain(encodeBatch(entries)), plain(payload), file);
    }
  });

  test("is one that says of messages that another shard has them, or has a part of a transaction, and no other", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 3 }), (entries) => {
        const crosses = entries.some(({ delivered, transaction }) => delivered.length > 0 || transaction !== null);
        assert.equal(readerVersionOf(entries), crosses ? 3 : 1);
        // Positions that a reader of version 1 knows.
        if (!crosses) for (const packed of unpack(encodeBatch(entries)) as unknown[][]) assert.ok(packed.length <= 9);
      }),
    );
  });
});

describe("folding", () => {
  const batches = fc.array(fc.array(entry, { maxLength: 3 }), { maxLength: 6 });

  test("any run of batches at once gives what folding them one by one gives", () => {
    fc.assert(
      fc.property(batches, fc.array(fc.nat(6)), (log, cuts) => {
        const oneByOne = folded(log);
        const chunked = new Map<string, string | null>();
        let writes = new WriteSet();
        log.forEach((entries, i) => {
          foldBatch(entries, i + 2, writes);
          if (!cuts.includes(i)) return;
          apply(writes, chunked);
          writes = new WriteSet();
        });
        apply(writes, chunked);
        assert.deepEqual(chunked, oneByOne);
      }),
      { numRuns: 200 },
    );
  });

  test("a log's end again changes nothing", () => {
    fc.assert(
      fc.property(batches, fc.nat(6), (log, from) => {
        const store = folded(log);
        const again = new Map(store);
        log.forEach((entries, i) => {
          if (i < from) return;
          const writes = new WriteSet();
          foldBatch(entries, i + 2, writes);
          apply(writes, again);
        });
        assert.deepEqual(again, store);
      }),
      { numRuns: 200 },
    );
  });

  test("marks every slot that it writes to, for incremental snapshots", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 3 }), (entries) => {
        const writes = new WriteSet();
        foldBatch(entries, 2, writes);
        for (const { key } of writes) {
          // What is removed under an arbitrary key of an expired record is not a table's key here.
          const isExpired = entries.some(({ expired }) =>
            expired.some((each) => each.key === Buffer.from(key).toString("latin1")),
          );
          if (key[0]! >= 0x80 || isExpired) continue;
          assert.ok(writes.slots.has((key[1]! << 8) | key[2]!), `table ${key[0]}`);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("puts a kept outcome under its expiry, and takes both away again", () => {
    const at = keys.idempotency(7, "d".repeat(32));
    const kept: Entry = {
      origin: "call",
      command: "c",
      subject: "s",
      effects: [],
      messages: [],
      consumed: null,
      deadLetter: null,
      result: {
        key: { type: "idempotency", slot: 7, digest: "d".repeat(32), expiresMs: 99, fingerprint: new Uint8Array(32) },
        outcome: Uint8Array.of(1),
      },
      expired: [],
      delivered: [],
      transaction: null,
    };
    assert.equal(folded([[kept]]).size, 2);
    const removal: Entry = { ...kept, result: null, expired: [{ expiresMs: 99, key: at }] };
    assert.equal(folded([[kept], [removal]]).size, 0);
    assert.equal(folded([[kept], [{ ...kept, expired: removal.expired }]]).size, 2);
  });
});
