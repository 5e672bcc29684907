/** The codec against an independent one (msgpackr), against its own rules, and against bytes that nobody meant. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Packr } from "msgpackr";
import { OnefoldError } from "../base/errors.ts";
import { checkValue, type Value } from "../base/value.ts";
import { Decoder } from "./decoder.ts";
import { Encoder } from "./encoder.ts";

const encoder = new Encoder(16);
const decoder = new Decoder();

function encode(value: unknown): Uint8Array {
  try {
    encoder.value(value);
    return encoder.take();
  } catch (error) {
    encoder.truncate(0);
    throw error;
  }
}

function decode(bytes: Uint8Array): Value {
  decoder.open(bytes);
  const value = decoder.value();
  assert.ok(decoder.isAtEnd);
  return value;
}

/** Any value; small enough that thousands are made in a second. */
const { value: anyValue } = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (number === 0 ? 0 : number)),
    fc.string({ unit: "grapheme", maxLength: 60 }),
    fc.string({ unit: "grapheme-ascii", maxLength: 300 }),
    fc.bigInt({ min: -(2n ** 200n), max: 2n ** 200n }),
    fc.date({ noInvalidDate: true }),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie("value"), { maxLength: 20 }),
    fc.dictionary(
      fc.string({ maxLength: 40 }).filter((key) => key !== "__proto__"),
      tie("value"),
      { maxKeys: 20, noNullPrototype: true },
    ) as fc.Arbitrary<Value>,
  ),
}));

const isWellFormed = (value: Value): boolean => {
  try {
    checkValue(value);
    return true;
  } catch (error) {
    assert.ok(error instanceof OnefoldError);
    return false;
  }
};

function malformed(bytes: readonly number[]): void {
  assert.throws(
    () => decode(new Uint8Array(bytes)),
    (error) => error instanceof OnefoldError && error.code === "malformed",
    Buffer.from(bytes).toString("hex"),
  );
}

describe("the socket's codec", () => {
  test("gives back every value as it was", () => {
    fc.assert(
      fc.property(anyValue.filter(isWellFormed), (value) => {
        assert.deepStrictEqual(decode(encode(value)), value);
      }),
      { numRuns: 2000 },
    );
  });

  test("writes what another MessagePack library reads, and reads what it writes", () => {
    const other = new Packr({ useRecords: false, useBigIntExtension: true, variableMapSize: true });
    fc.assert(
      fc.property(anyValue.filter(isWellFormed), (value) => {
        const theirs: unknown = other.unpack(encode(value));
        assert.deepStrictEqual(normal(theirs), value);
        // Theirs writes bigints of up to 64 bits as plain integers, which a number can't be told from.
        if (!holdsBigint(value)) assert.deepStrictEqual(decode(new Uint8Array(other.pack(value))), value);
      }),
      { numRuns: 2000 },
    );
  });

  test("writes the bytes that the specification shows", () => {
    const shown: readonly [Value, string][] = [
      [null, "c0"],
      [true, "c3"],
      [127, "7f"],
      [-32, "e0"],
      [200, "ccc8"],
      [-200, "d1ff38"],
      [65_536, "ce00010000"],
      [2 ** 32, "cb41f0000000000000"],
      [1.5, "cb3ff8000000000000"],
      ["é", "a2c3a9"],
      [new Uint8Array([1, 2]), "c4020102"],
      [new Date(1500), "c70cff1dcd65000000000000000001"],
      [5n, "c708420000000000000005"],
      [-1n, "c70842ffffffffffffffff"],
      [2n ** 64n, "c710420000000000000001" + "0000000000000000"],
      [[1], "9101"],
      [{ a: 1 }, "81a16101"],
    ];
    for (const [value, hex] of shown) assert.equal(Buffer.from(encode(value)).toString("hex"), hex);
  });

  test("reads every form of an integer as a number where a number can hold it, and as a bigint where not", () => {
    const forms: readonly [string, Value][] = [
      ["cf000000000000002a", 42],
      ["d3ffffffffffffffd6", -42],
      ["cf001fffffffffffff", Number.MAX_SAFE_INTEGER],
      ["d3ffe0000000000001", Number.MIN_SAFE_INTEGER],
      ["cf0020000000000000", 2n ** 53n],
      ["d3ffe0000000000000", -(2n ** 53n)],
      ["cfffffffffffffffff", 2n ** 64n - 1n],
      ["ca3fc00000", 1.5],
      ["d6ff00000002", new Date(2000)],
      ["d7ff7735940000000002", new Date(2500)],
    ];
    for (const [hex, value] of forms) assert.deepStrictEqual(decode(Buffer.from(hex, "hex")), value, hex);
  });

  test("leaves absent properties out and writes -0 as 0", () => {
    assert.deepStrictEqual(decode(encode({ a: undefined, b: -0 })), { b: 0 });
    assert.ok(Object.is(decode(encode(-0)), 0));
    assert.ok(Object.is(decode(Buffer.from("cb8000000000000000", "hex")), 0));
  });

  test("refuses what is no value, and leaves nothing of it behind", () => {
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    const wrong: readonly unknown[] = [
      Number.NaN,
      Number.POSITIVE_INFINITY,
      () => 1,
      Symbol("s"),
      new Map(),
      new (class Own {})(),
      new Date(Number.NaN),
      [1, undefined],
      "\ud800",
      { "\udc00": 1 },
      JSON.parse('{"__proto__":1}'),
      cycle,
      2n ** 70_000n,
    ];
    for (const value of wrong) {
      assert.throws(
        () => encode({ before: 1, value }),
        (error) => error instanceof OnefoldError && error.code === "invalid-value",
      );
    }
    assert.deepStrictEqual(decode(encode("after")), "after");
  });

  test("refuses every frame that is cut short", () => {
    const whole = encode({ text: "some text", list: [1, 2.5, new Date(0), 2n ** 80n, new Uint8Array(40)], é: null });
    for (let length = 0; length < whole.length; length++) malformed([...whole.subarray(0, length)]);
  });

  test("refuses lengths that promise more than follows, without making room for it", () => {
    for (const head of ["dd", "df", "db", "c6", "c9"]) malformed([...Buffer.from(`${head}ffffffff`, "hex")]);
    malformed([0xdd, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
  });

  test("refuses nesting that is too deep, whatever the depth", () => {
    assert.deepEqual(decode(new Uint8Array([...new Array(64).fill(0x91), 0xc0])), nested(64));
    malformed([...new Array(65).fill(0x91), 0xc0]);
    malformed(new Array(100_000).fill(0x91));
    malformed(new Array(100_000).fill(0x81));
  });

  test("refuses what no value is made of", () => {
    malformed([0xc1]);
    // NaN and infinity.
    malformed([0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]);
    malformed([0xca, 0x7f, 0x80, 0, 0]);
    // Text that is not UTF-8, and half a surrogate pair.
    malformed([0xa1, 0xff]);
    malformed([0xa3, 0xed, 0xa0, 0x80]);
    // A key that is no text, and one that is forbidden.
    malformed([0x81, 0x01, 0x01]);
    malformed([0x81, 0xa9, ...Buffer.from("__proto__"), 0x80]);
    // Extensions of other kinds; timestamps that no Date can hold.
    malformed([0xd4, 0x00, 0x00]);
    malformed([...Buffer.from("c70cff3b9aca000000000000000000", "hex")]);
    malformed([...Buffer.from("c70cff000000007fffffffffffffff", "hex")]);
    malformed([0xc7, 0, 0x42]);
  });

  test("ends in a value or in `malformed`, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decoder.open(bytes);
          checkValue(decoder.value());
        } catch (error) {
          assert.ok(error instanceof OnefoldError && error.code === "malformed", String(error));
        }
      }),
      { numRuns: 20_000 },
    );
  });

  test("tells about how much memory its values take, however few bytes they came in", () => {
    const decoder = new Decoder();
    const count = 10_000;
    for (const [element, atLeast] of [
      [0x80, 50],
      [0x90, 24],
      [0xc0, 8],
    ] as const) {
      const bytes = new Uint8Array(5 + count).fill(element);
      bytes.set([0xdd, 0, 0, count >> 8, count & 0xff]);
      decoder.open(bytes);
      decoder.value();
      assert.ok(decoder.weight >= atLeast * count, `${decoder.weight} for ${count} of ${element}`);
      assert.ok(decoder.weight <= 100 * count);
    }
    decoder.open(new Uint8Array([1]));
    assert.equal(decoder.weight, 0);
  });

  test("shares no memory with what it reads", () => {
    const frame = Buffer.from(encode(new Uint8Array([1, 2, 3])));
    const bytes = decode(frame) as Uint8Array;
    frame.fill(0);
    assert.deepEqual(bytes, new Uint8Array([1, 2, 3]));
    assert.equal(bytes.buffer.byteLength, 3);
  });
});

function nested(depth: number): Value {
  return depth === 0 ? null : [nested(depth - 1)];
}

function holdsBigint(value: Value | undefined): boolean {
  if (typeof value === "bigint") return true;
  if (typeof value !== "object" || value === null || value instanceof Date || value instanceof Uint8Array) return false;
  return Object.values(value).some((part) => holdsBigint(part as Value));
}

/** Theirs gives Buffers for bytes. */
function normal(value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(normal);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, normal(part)]));
}
