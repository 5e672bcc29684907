import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { compareBytes, encodeUtf8 } from "../base/bytes.ts";
import {
  afterPrefix,
  type BinaryString,
  binary,
  binaryOfBytes,
  bytesOfBinary,
  entityName,
  keys,
  parseEntityName,
  readUint16,
  readUint64,
  textOfBinary,
  uint16,
  uint32,
  uint64,
} from "./keys.ts";

const sign = (order: number) => Math.sign(order);
const compareBinary = (a: BinaryString, b: BinaryString) => (a < b ? -1 : a > b ? 1 : 0);
const isBytes = (key: BinaryString) => [...key].every((unit) => unit.charCodeAt(0) <= 0xff);

/** Text as ids and item keys may be: well-formed, of any plane, without NUL. */
const text = fc
  .oneof(
    fc.string({ unit: "binary", minLength: 1, maxLength: 8 }),
    fc.string({ minLength: 1, maxLength: 8 }),
    fc.constantFrom("a", "a\u0001", "aa", "a\u007f", "a\u0080", "a\uffff", "a\u{10000}", "\u0165", "e"),
  )
  .filter((candidate) => !candidate.includes("\0"));
const name = fc.constantFrom("a", "aa", "b", "a-b", "a_b");
const slot = fc.integer({ min: 0, max: 4095 });
const whole = fc.oneof(fc.maxSafeNat(), fc.integer({ min: 0, max: 300 }), fc.constant(2 ** 32));

describe("a binary string", () => {
  test("orders as its bytes do, and gives them back", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), fc.uint8Array({ maxLength: 12 }), (a, b) => {
        const [left, right] = [binaryOfBytes(a), binaryOfBytes(b)];
        assert.equal(sign(compareBinary(left, right)), sign(compareBytes(a, b)));
        assert.deepEqual(new Uint8Array(bytesOfBinary(left)), a);
      }),
    );
  });

  test("of text orders as the text's UTF-8 does, and gives the text back", () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        assert.equal(sign(compareBinary(binary(a), binary(b))), sign(compareBytes(encodeUtf8(a), encodeUtf8(b))));
        assert.equal(textOfBinary(binary(a)), a);
        assert.ok(isBytes(binary(a)));
      }),
    );
  });

  test("of a number orders as numbers do, exactly up to 2^53 - 1", () => {
    const edges = [0, 1, 255, 256, 65_535, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 48 - 1, Number.MAX_SAFE_INTEGER - 1];
    for (const value of [...edges, Number.MAX_SAFE_INTEGER]) assert.equal(readUint64(uint64(value), 0), value);
    fc.assert(
      fc.property(whole, whole, (a, b) => {
        assert.equal(readUint64(`x${uint64(a)}`, 1), a);
        assert.equal(sign(compareBinary(uint64(a), uint64(b))), sign(a - b));
        assert.equal(uint64(a).length, 8);
      }),
    );
    for (const value of [0, 1, 255, 256, 4095, 65_535]) assert.equal(readUint16(uint16(value), 0), value);
    assert.deepEqual([...bytesOfBinary(uint32(0xfffefdfc))], [0xff, 0xfe, 0xfd, 0xfc]);
  });
});

describe("the first key after a prefix", () => {
  test("is greater than every key with the prefix, and not than any other that is greater than it", () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 5 }).map(binaryOfBytes);
    const lower = bytes.filter((prefix) => !/^\u00ff+$/.test(prefix));
    fc.assert(
      fc.property(lower, bytes, (prefix, other) => {
        const end = afterPrefix(prefix);
        assert.ok(isBytes(end));
        assert.ok(compareBinary(prefix + other, end) < 0);
        assert.ok(compareBinary(prefix, end) < 0);
        const isInside = compareBinary(other, prefix) >= 0 && compareBinary(other, end) < 0;
        assert.equal(isInside, other.startsWith(prefix));
      }),
      { numRuns: 500 },
    );
  });

  test("carries over bytes of 255", () => {
    assert.equal(afterPrefix("a\u00ff\u00ff"), "b");
    assert.equal(afterPrefix("\u0082"), "\u0083");
  });
});

describe("the name of an entity", () => {
  test("gives its parts back, and no two entities share one", () => {
    const part = fc.tuple(name, name, text);
    fc.assert(
      fc.property(part, part, (a, b) => {
        const named = entityName(...a);
        const { tenant, kind, id } = parseEntityName(named);
        assert.deepEqual([tenant, kind, id], a);
        assert.equal(named === entityName(...b), JSON.stringify(a) === JSON.stringify(b));
        // Nor is one the beginning of another: a prefix of one entity's keys holds no other entity's.
        if (named !== entityName(...b)) assert.ok(!entityName(...b).startsWith(named));
      }),
      { numRuns: 500 },
    );
  });
});

describe("keys of the store", () => {
  /** A thing of any table with what tells it from all others. */
  const thing = fc.oneof(
    fc.tuple(slot, name, name, text).map(([s, t, k, id]) => ({
      id: ["entity", s, t, k, id],
      key: keys.entity(s, entityName(t, k, id)),
    })),
    fc.tuple(slot, name, name, text).map(([s, t, k, id]) => ({
      id: ["touch", s, t, k, id],
      key: keys.touch(s, entityName(t, k, id)),
    })),
    fc.tuple(slot, name, text, fc.integer({ min: 0, max: 300 }), name, text).map(([s, k, id, g, c, item]) => ({
      id: ["item", s, k, id, g, c, item],
      key: keys.items(s, entityName("t", k, id), g, c) + binary(item),
    })),
    fc.tuple(slot, name, text, text).map(([s, k, id, key]) => ({
      id: ["timer", s, k, id, key],
      key: keys.timer(s, entityName("t", k, id), key),
    })),
    fc.tuple(whole, slot, name, text, text).map(([dueMs, s, k, id, key]) => ({
      id: ["timerDue", dueMs, s, k, id, key],
      key: keys.timerDue(dueMs, s, entityName("t", k, id), key),
    })),
    fc.tuple(slot, slot, whole).map(([from, to, number]) => ({
      id: ["outbox", from, to, number],
      key: keys.outbox(from, to, number),
    })),
    fc.tuple(slot, slot).map(([from, to]) => ({ id: ["outboxNumber", from, to], key: keys.outboxNumber(from, to) })),
    fc.tuple(slot, slot).map(([to, from]) => ({ id: ["inboxNumber", to, from], key: keys.inboxNumber(to, from) })),
    fc.tuple(slot, whole, fc.nat(300)).map(([s, sequence, index]) => ({
      id: ["deadLetter", s, sequence, index],
      key: keys.deadLetter(s, sequence, index),
    })),
    fc.tuple(slot, name, text, fc.nat(300)).map(([s, k, id, generation]) => ({
      id: ["garbage", s, k, id, generation],
      key: keys.garbage(s, entityName("t", k, id), generation),
    })),
    fc.tuple(name, name, text).map(([t, k, id]) => ({
      id: ["listing", t, k, id],
      key: keys.listing(entityName(t, k, id)),
    })),
  );

  test("are different for different things, and made of bytes", () => {
    fc.assert(
      fc.property(fc.array(thing, { maxLength: 60 }), (things) => {
        const byKey = new Map<BinaryString, string>();
        for (const { id, key } of things) {
          assert.ok(isBytes(key));
          const known = byKey.get(key);
          if (known !== undefined) assert.equal(JSON.stringify(id), known);
          byKey.set(key, JSON.stringify(id));
        }
        assert.equal(byKey.size, new Set(things.map(({ id }) => JSON.stringify(id))).size);
      }),
    );
  });

  test("of one kind's listing order as the ids' UTF-8, though one id is the beginning of another", () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        const [left, right] = [a, b].map((id) => keys.listing(entityName("t", "k", id)));
        assert.equal(sign(compareBinary(left!, right!)), sign(compareBytes(encodeUtf8(a), encodeUtf8(b))));
        assert.ok(left!.startsWith(keys.listingOfKind("t", "k")));
        assert.ok(!left!.startsWith(keys.listingOfKind("t", "k2")));
      }),
    );
  });

  test("of due timers order by due time first", () => {
    fc.assert(
      fc.property(whole, whole, slot, slot, text, (a, b, slotA, slotB, key) => {
        fc.pre(a !== b);
        const [left, right] = [keys.timerDue(a, slotA, "n", key), keys.timerDue(b, slotB, "n", key)];
        assert.equal(sign(compareBinary(left, right)), sign(a - b));
      }),
    );
  });

  test("of the longest ids, names and item keys fit into the store's limit on keys", () => {
    const longest = entityName("t".repeat(64), "k".repeat(64), "é".repeat(256));
    const item = keys.items(4095, longest, 1, "c".repeat(64)) + binary("é".repeat(256));
    const timer = keys.timerDue(Number.MAX_SAFE_INTEGER, 4095, longest, "é".repeat(256));
    for (const key of [item, timer]) assert.ok(key.length <= 1900, `${key.length} bytes`);
  });
});
