import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createContext, runInContext } from "node:vm";
import fc from "fast-check";
import { fromHex, toHex } from "./bytes.ts";
import { OnefoldError } from "./errors.ts";
import { limits } from "./limits.ts";
import {
  checkValue,
  cloneValue,
  containsMutable,
  decodeValue,
  deepFreezeValue,
  encodeValue,
  type Value,
} from "./value.ts";
import { arbitraryValue } from "./value.fake.ts";

function refusal(value: unknown): OnefoldError {
  try {
    checkValue(value);
  } catch (error) {
    assert.ok(error instanceof OnefoldError, `not an OnefoldError: ${String(error)}`);
    return error;
  }
  assert.fail("it was let through");
}

function assertInvalid(value: unknown, path: string, reason: RegExp): void {
  const error = refusal(value);
  assert.equal(error.code, "invalid-value");
  const details = error.details as { path: string; reason: string };
  assert.equal(details.path, path);
  assert.match(details.reason, reason);
  assert.throws(() => encodeValue(value), { code: "invalid-value" });
  if (value !== undefined) assert.throws(() => cloneValue(value as Value), { code: "invalid-value" });
}

describe("a value", () => {
  test("comes back equal after encoding and decoding", () => {
    fc.assert(
      fc.property(arbitraryValue, (value) => {
        assert.deepStrictEqual(decodeValue(encodeValue(value)), value);
      }),
      { numRuns: 1000 },
    );
  });

  // These bytes are part of the format: later versions must read and write the same.
  test("encodes to the bytes that the format says", () => {
    const long = `d928${"78".repeat(40)}`;
    for (const [value, hex] of [
      [null, "c0"],
      [false, "c2"],
      [true, "c3"],
      [127, "7f"],
      [128, "cc80"],
      [65_535, "cdffff"],
      [4_294_967_295, "ceffffffff"],
      [4_294_967_296, "cb41f0000000000000"],
      [-32, "e0"],
      [-33, "d0df"],
      [-32_768, "d18000"],
      [-2_147_483_648, "d280000000"],
      [1.5, "cb3ff8000000000000"],
      ["é", "a2c3a9"],
      ["x".repeat(40), long],
      [5n, "d30000000000000005"],
      [2n ** 63n, "cf8000000000000000"],
      [2n ** 64n, "d84200000000000000010000000000000000"],
      [-(2n ** 63n) - 1n, "d842ffffffffffffffff7fffffffffffffff"],
      [new Uint8Array([1, 2]), "c4020102"],
      [new Date(1000), "d6ff00000001"],
      [new Date(1001), "d7ff003d090000000001"],
      [new Date(-1), "c70cff3b8b87c0ffffffffffffffff"],
      [[1, []], "920190"],
      [{ b: 1, a: {} }, "82a16201a16180"],
      [{ b: 1, 7: 2 }, "82a13702a16201"],
    ] as const satisfies readonly (readonly [Value, string])[]) {
      assert.equal(toHex(encodeValue(value)), hex);
      assert.deepStrictEqual(decodeValue(fromHex(hex)), value);
    }
  });

  test("encodes to the same bytes each time, and its copy does too", () => {
    fc.assert(
      fc.property(arbitraryValue, (value) => {
        const bytes = encodeValue(value);
        assert.deepEqual(encodeValue(value), bytes);
        assert.deepEqual(encodeValue(cloneValue(value)), bytes);
      }),
    );
  });

  test("is copied equal, without sharing what can change", () => {
    fc.assert(
      fc.property(arbitraryValue, (value) => {
        const copy = cloneValue(value);
        assert.deepStrictEqual(copy, value);
        assertNothingShared(copy, value);
      }),
    );
  });

  test("keeps numbers exact: whole ones to 2^53, -0 as 0, fractions and extremes", () => {
    for (const number of [0, 127, 128, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, -(2 ** 53), 0.1, 5e-324, 1.7e308])
      assert.equal(decodeValue(encodeValue(number)), number);
    assert.ok(Object.is(decodeValue(encodeValue(-0)), 0));
    assert.ok(Object.is(cloneValue(-0), 0));
    assert.ok(Object.is((cloneValue({ deep: [-0] }) as { deep: number[] }).deep[0], 0));
  });

  test("keeps bigints exact up to the limit of their bits, and stays a bigint when small", () => {
    const bits = BigInt(limits.valueBigintBitsMax);
    for (const bigint of [0n, 1n, -1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n, -(2n ** 64n), -(2n ** 200n) + 7n])
      assert.equal(decodeValue(encodeValue(bigint)), bigint);
    const largest = 2n ** (bits - 1n) - 1n;
    assert.equal(decodeValue(encodeValue(largest)), largest);
    assert.equal(decodeValue(encodeValue(-largest - 1n)), -largest - 1n);
    assertInvalid({ n: largest + 1n }, "$.n", /bits/);
  });

  test("keeps dates exact to the millisecond over their whole range", () => {
    fc.assert(
      fc.property(fc.integer({ min: -8_640_000_000_000_000, max: 8_640_000_000_000_000 }), (timeMs) => {
        assert.equal((decodeValue(encodeValue(new Date(timeMs))) as Date).getTime(), timeMs);
      }),
      { numRuns: 2000, examples: [[-1], [1], [-999], [4_294_967_295_999], [4_294_967_296_001], [-8.64e15], [8.64e15]] },
    );
  });

  test("gives bytes back as plain bytes, whatever kind of byte array they came in", () => {
    const decoded = decodeValue(encodeValue(Buffer.from([1, 2, 3])));
    assert.equal(Object.getPrototypeOf(decoded), Uint8Array.prototype);
    assert.deepEqual(decoded, new Uint8Array([1, 2, 3]));
    assert.equal(Object.getPrototypeOf(cloneValue(Buffer.from([1]))), Uint8Array.prototype);
  });

  test("omits undefined properties, in the encoding and in the copy", () => {
    const value = { a: 1, b: undefined, c: { d: undefined } };
    assert.deepStrictEqual(decodeValue(encodeValue(value)), { a: 1, c: {} });
    assert.deepStrictEqual(Object.keys(cloneValue(value)), ["a", "c"]);
    assert.deepEqual(encodeValue(value), encodeValue({ a: 1, c: {} }));
  });

  test("may have more properties than a 16-bit map", () => {
    const wide = Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`k${i}`, i]));
    assert.deepStrictEqual(decodeValue(encodeValue(wide)), wide);
  });

  test("may have keys that objects have a meaning for", () => {
    const value = { constructor: "x", toJSON: 1, hasOwnProperty: null, toString: [], valueOf: {}, length: 3, "": 0 };
    assert.deepStrictEqual(decodeValue(encodeValue(value)), value);
  });

  test("may come from another realm or have no prototype", () => {
    const foreign = runInContext("({ a: [1, { b: 2 }] })", createContext({})) as Value;
    assert.deepStrictEqual(decodeValue(encodeValue(foreign)), { a: [1, { b: 2 }] });
    const bare = Object.assign(Object.create(null), { a: 1 }) as Value;
    assert.deepStrictEqual(cloneValue(bare), { a: 1 });
  });

  test("shares no memory with its bytes or with a later value's", () => {
    const first = encodeValue({ text: "first" });
    const kept = Uint8Array.from(first);
    encodeValue({ text: "second" });
    assert.deepEqual(first, kept);
    assert.equal(first.buffer.byteLength, first.length);
    const bytes = encodeValue({ b: new Uint8Array([1, 2, 3]) });
    const decoded = decodeValue(bytes) as { b: Uint8Array };
    bytes.fill(0);
    decodeValue(encodeValue({ b: new Uint8Array([9, 9, 9]) }));
    assert.deepEqual(decoded.b, new Uint8Array([1, 2, 3]));
  });
});

describe("what is no value", () => {
  class Point {
    x = 1;
  }

  test("is refused with its path and the reason", () => {
    assertInvalid(Number.NaN, "$", /not a finite number/);
    assertInvalid({ a: [1, Number.POSITIVE_INFINITY] }, "$.a[1]", /Infinity is not a finite number/);
    assertInvalid({ "odd key": { f: () => 1 } }, '$["odd key"].f', /function/);
    assertInvalid([Symbol.iterator], "$[0]", /symbol/);
    assertInvalid({ p: new Point() }, "$.p", /an instance of Point/);
    assertInvalid({ m: new Map() }, "$.m", /an instance of Map/);
    assertInvalid({ m: new Set() }, "$.m", /an instance of Set/);
    assertInvalid({ p: Promise.resolve(1) }, "$.p", /promise/);
    assertInvalid({ e: new Error("x") }, "$.e", /an instance of Error/);
    assertInvalid({ r: /x/ }, "$.r", /an instance of RegExp/);
    assertInvalid({ v: new Float64Array(1) }, "$.v", /an instance of Float64Array/);
    assertInvalid({ v: new DataView(new ArrayBuffer(1)) }, "$.v", /an instance of DataView/);
    assertInvalid({ n: new Number(1) }, "$.n", /an instance of Number/);
    assertInvalid({ d: new Date(Number.NaN) }, "$.d", /Date is invalid/);
    assertInvalid(undefined, "$", /undefined/);
    assertInvalid([1, undefined], "$[1]", /undefined stands in an array/);
    // biome-ignore lint/suspicious/noSparseArray: the hole is what is tested.
    assertInvalid([1, , 3], "$[1]", /hole/);
    assertInvalid(JSON.parse('{"a":{"__proto__":1}}'), "$.a.__proto__", /__proto__/);
    assertInvalid({ text: "\ud800" }, "$.text", /surrogate/);
    assertInvalid({ text: "a\udc00b" }, "$.text", /surrogate/);
    assertInvalid(JSON.parse('{"\\ud800":1}'), '$["\\ud800"]', /surrogate/);
    assertInvalid(Object.create({ inherited: 1 }), "$", /can't be stored/);
    assertInvalid(Object.create(Date.prototype), "$", /threw TypeError/);
    assertInvalid(Object.create(Uint8Array.prototype), "$", /can't be stored/);
  });

  test("is refused when it contains itself or is nested too deep, at the limit and not before", () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    assert.equal(refusal(cycle).code, "invalid-value");
    const nest = (depth: number): Value => (depth === 0 ? 1 : { in: nest(depth - 1) });
    const deepest = nest(limits.valueDepthMax);
    assert.deepStrictEqual(decodeValue(encodeValue(deepest)), deepest);
    const tooDeep = refusal(nest(limits.valueDepthMax + 1));
    assert.equal(tooDeep.code, "invalid-value");
    assert.match(tooDeep.message, /nested deeper/);
  });

  test("is refused soon when shared references make it astronomically large", () => {
    let value: Value = [1];
    for (let i = 0; i < 50; i++) value = [value, value];
    assert.equal(refusal(value).code, "too-large");
  });

  test("is refused as too large past the limits of parts and of bytes", () => {
    assert.equal(refusal(new Array(limits.valuePartsMax + 1).fill(0)).code, "too-large");
    assert.equal(refusal(new Array(1e9)).code, "too-large");
    assert.equal(refusal({ text: "x".repeat(limits.valueBytesMax + 1) }).code, "too-large");
    assert.equal(refusal(new Array(2000).fill(2n ** 60_000n)).code, "too-large");
  });

  test("is refused with the cause when reading it throws", () => {
    const cause = new Error("no");
    const value = {
      get a(): number {
        throw cause;
      },
    };
    const error = refusal(value);
    assert.equal(error.code, "invalid-value");
    assert.equal(error.cause, cause);
  });

  test("names what it was asked to name", () => {
    assert.throws(() => checkValue(() => 1, { what: "the output of deposit" }), /the output of deposit is not a value/);
  });

  test("never crashes the check: the outcome is an encoded value or an OnefoldError", () => {
    const rubbish = fc.anything({
      withBigInt: true,
      withBoxedValues: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withNullPrototype: true,
      withObjectString: true,
      withTypedArray: true,
      withSparseArray: true,
      withUnicodeString: true,
    });
    let refused = 0;
    fc.assert(
      fc.property(rubbish, (value) => {
        let bytes: Uint8Array;
        try {
          bytes = encodeValue(value);
        } catch (error) {
          assert.ok(error instanceof OnefoldError);
          assert.ok(error.code === "invalid-value" || error.code === "too-large", error.code);
          refused++;
          return;
        }
        assert.deepStrictEqual(decodeValue(bytes), cloneValue(value as Value));
      }),
      { numRuns: 2000 },
    );
    assert.ok(refused > 100, "the rubbish is rubbish");
  });
});

describe("damaged bytes", () => {
  test("are damage or another value, never anything else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const before = Uint8Array.from(bytes);
        try {
          checkValue(decodeValue(bytes));
        } catch (error) {
          assert.ok(error instanceof OnefoldError && error.code === "damaged", String(error));
        }
        assert.deepEqual(bytes, before);
      }),
      { numRuns: 5000 },
    );
  });

  test("that are a value cut short, or followed by more, are damage", () => {
    const bytes = encodeValue({ id: "alice", balance: 12345678, tags: ["a", "b"] });
    for (let length = 0; length < bytes.length; length++)
      assert.throws(() => decodeValue(bytes.subarray(0, length)), { code: "damaged" }, `cut to ${length}`);
    assert.throws(() => decodeValue(Uint8Array.from([...bytes, 0])), { code: "damaged" });
    const long = encodeValue("x".repeat(100_000));
    assert.throws(() => decodeValue(long.subarray(0, 99_000)), { code: "damaged" });
  });

  test("that hold what the profile does not know are damage: errors, sets, expressions, undefined", () => {
    for (const bytes of [
      [0xd4, 0x65, 0x00, 0x92, 0xa1, 0x61, 0xa1, 0x62],
      [0xd4, 0x73, 0x00, 0x91, 1],
      [0xd4, 0x78, 0x00, 0x92, 0xa1, 0x61, 0xa0],
      [0xd4, 0x00, 0x00],
      [0xc1],
    ])
      assert.throws(() => decodeValue(Uint8Array.from(bytes)), { code: "damaged" }, `bytes ${bytes.join(" ")}`);
  });
});

describe("freezing", () => {
  test("freezes every object and array, and leaves dates and bytes as they are", () => {
    const value = { list: [{ a: 1 }], at: new Date(0), bytes: new Uint8Array(1) };
    assert.equal(deepFreezeValue(value), value);
    assert.ok(Object.isFrozen(value) && Object.isFrozen(value.list) && Object.isFrozen(value.list[0]));
    assert.ok(!Object.isFrozen(value.at));
  });

  test("tells values that stay mutable from those that don't", () => {
    assert.equal(containsMutable({ a: [1, "x", null, 1n, { b: undefined }] }), false);
    assert.equal(containsMutable({ a: [{ at: new Date(0) }] }), true);
    assert.equal(containsMutable([new Uint8Array(0)]), true);
  });
});

function assertNothingShared(a: unknown, b: unknown): void {
  if (typeof a !== "object" || a === null) return;
  assert.notEqual(a, b);
  if (a instanceof Date) return;
  if (a instanceof Uint8Array) {
    assert.notEqual(a.buffer, (b as Uint8Array).buffer);
    return;
  }
  for (const [key, part] of Object.entries(a)) assertNothingShared(part, (b as Record<string, unknown>)[key]);
}
