import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Packr } from "msgpackr";
import { MessagePackWriter } from "./message-pack.ts";
import { encodeValue, type Value } from "./value.ts";

/** The encoder that wrote all of this before: its bytes are the format. */
const general = new Packr({ useRecords: false, useToJSON: false, useBigIntExtension: true, variableMapSize: true });

describe("the writer of MessagePack", () => {
  const number = fc.oneof(
    fc.nat(300),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constantFrom(
      -0,
      -32,
      -33,
      -128,
      -129,
      -32_768,
      -32_769,
      0x7f,
      0x80,
      0xff,
      0x100,
      0xffff,
      0x1_0000,
      2 ** 32 - 1,
      2 ** 32,
    ),
  );
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 90 }),
    fc.constantFrom("a", "é", "\u{1F600}").chain((part) => fc.nat(300).map((count) => part.repeat(count))),
    fc.constantFrom(
      "x".repeat(31),
      "x".repeat(32),
      "é".repeat(16),
      "x".repeat(255),
      "x".repeat(256),
      "é".repeat(40_000),
    ),
  );
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 90 }),
    fc.constantFrom(255, 256, 65_535, 65_536).map((length) => new Uint8Array(length).fill(7)),
  );

  test("writes every part as the general encoder does, whatever it wrote before", () => {
    const writer = new MessagePackWriter(16);
    const part = fc.oneof(number, text, bytes, fc.boolean(), fc.constant(null));
    fc.assert(
      fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
        writer.reset();
        writer.array(parts.length);
        for (const each of parts) {
          if (typeof each === "number") writer.number(each);
          else if (typeof each === "string") writer.text(each);
          else if (typeof each === "boolean") writer.boolean(each);
          else if (each === null) writer.nil();
          else writer.binary(each);
        }
        assert.equal(writer.size, writer.take().length);
        assert.deepEqual(Buffer.from(writer.take()), Buffer.from(general.pack(parts)));
      }),
    );
  });

  test("writes the heads of long arrays, and takes in what is encoded already", () => {
    for (const count of [15, 16, 65_535, 65_536]) {
      const writer = new MessagePackWriter(16);
      writer.array(count);
      for (let i = 0; i < count; i++) writer.raw(Uint8Array.of(i % 128));
      const expected = general.pack(Array.from({ length: count }, (_, i) => i % 128));
      assert.deepEqual(Buffer.from(writer.take()), Buffer.from(expected));
    }
  });

  test("gives bytes that a later use leaves as they are", () => {
    const writer = new MessagePackWriter(16);
    writer.text("first");
    const first = writer.take();
    writer.reset();
    writer.text("other");
    assert.deepEqual([...first], [...general.pack("first")]);
  });
});

describe("a value of the usual kinds", () => {
  const leaf = fc.oneof(
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.constant(null),
    fc.string({ maxLength: 80 }),
    fc.string({ unit: "grapheme", maxLength: 20 }),
  );
  const key = fc.string({ unit: "grapheme", maxLength: 8 }).filter((text) => text !== "__proto__");
  const { nested } = fc.letrec<{ nested: Value }>((tie) => ({
    nested: fc.oneof(
      { maxDepth: 5, depthSize: "small" },
      leaf,
      fc.array(tie("nested"), { maxLength: 5 }),
      fc.dictionary(key, tie("nested"), { maxKeys: 5 }),
    ) as fc.Arbitrary<Value>,
  }));
  const wide = fc.nat(40).map((count) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`key-${i}`, i])));
  const deep = fc.nat(20).map((depth) => {
    let value: Value = "inside";
    for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { value };
    return value;
  });
  const long = fc.nat(3000).map((count) => Array.from({ length: count }, (_, i) => `item ${i}`));
  const value = fc.oneof({ arbitrary: nested, weight: 5 }, wide, deep, long);

  test("is encoded to the bytes that the general encoder makes of it", () => {
    fc.assert(
      fc.property(value, (each) => {
        assert.deepEqual(Buffer.from(encodeValue(each)), Buffer.from(general.pack(each)));
      }),
    );
  });

  test("is encoded whole though reading it encodes another", () => {
    const inner = { text: "inner" };
    let seen: Uint8Array | undefined;
    const outer = {
      first: 1,
      get middle() {
        seen = encodeValue(inner);
        return "middle";
      },
      last: [2, 3],
    };
    assert.deepEqual(
      Buffer.from(encodeValue(outer)),
      Buffer.from(general.pack({ first: 1, middle: "middle", last: [2, 3] })),
    );
    assert.deepEqual(Buffer.from(seen!), Buffer.from(general.pack(inner)));
  });
});
