/** Arbitrary values for property tests: every kind of value, awkward ones on purpose, in normal form (V3). */
import fc from "fast-check";
import type { Value } from "./value.ts";

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.constantFrom("", "$bytes", "\u0000", "\ufeff", "💶", "x".repeat(300), "é".repeat(70)),
);

const key = fc
  .oneof(
    fc.string({ maxLength: 12 }),
    text,
    fc.constantFrom(
      "$date",
      "$object",
      "$bytes",
      "$bigint",
      "$",
      "constructor",
      "toJSON",
      "then",
      "0",
      "hasOwnProperty",
    ),
  )
  .filter((name) => name !== "__proto__");

const leaf: fc.Arbitrary<Value> = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (number === 0 ? 0 : number)),
  text,
  fc.bigInt(),
  fc.bigInt({ min: -(2n ** 300n), max: 2n ** 300n }),
  fc.date({ noInvalidDate: true }),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => new Uint8Array(bytes)),
);

export const arbitraryValue: fc.Arbitrary<Value> = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    fc.array(tie("value"), { maxLength: 8 }),
    fc
      .uniqueArray(fc.tuple(key, tie("value")), { maxLength: 8, selector: ([name]) => name })
      .map((entries) => Object.fromEntries(entries)),
  ),
})).value;
