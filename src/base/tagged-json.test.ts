import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { OnefoldError } from "./errors.ts";
import { limits } from "./limits.ts";
import { parseTaggedJson, stringifyTaggedJson } from "./tagged-json.ts";
import { arbitraryValue } from "./value.fake.ts";
import type { Value } from "./value.ts";

function malformed(source: string | Uint8Array): OnefoldError {
  try {
    parseTaggedJson(source);
  } catch (error) {
    assert.ok(error instanceof OnefoldError, String(error));
    assert.equal(error.code, "malformed");
    return error;
  }
  assert.fail(`it was parsed: ${String(source).slice(0, 100)}`);
}

describe("tagged JSON", () => {
  test("gives every value back", () => {
    fc.assert(
      fc.property(arbitraryValue, (value) => {
        const text = stringifyTaggedJson(value);
        assert.deepStrictEqual(parseTaggedJson(text), value);
        assert.deepStrictEqual(parseTaggedJson(new TextEncoder().encode(text)), value);
      }),
      { numRuns: 1000 },
    );
  });

  test("is plain JSON where nothing needs a tag", () => {
    const plain = { a: [1, "x", null, true, { b: 1.5 }], $two: 1, $keys: 2 };
    assert.equal(stringifyTaggedJson(plain), JSON.stringify(plain));
    fc.assert(
      fc.property(fc.json({ noUnicodeString: false }), (text) => {
        const parsed = JSON.parse(text) as Value;
        fc.pre(!text.includes("$") && !text.includes("__proto__") && !text.includes("\\u"));
        assert.deepStrictEqual(parseTaggedJson(text), parsed);
      }),
    );
  });

  test("writes bytes, dates and bigints as the format says", () => {
    assert.equal(stringifyTaggedJson(new Uint8Array([1, 2, 3])), '{"$bytes":"AQID"}');
    assert.equal(stringifyTaggedJson(new Uint8Array(0)), '{"$bytes":""}');
    assert.equal(stringifyTaggedJson([new Date(0)]), '[{"$date":"1970-01-01T00:00:00.000Z"}]');
    assert.equal(stringifyTaggedJson({ n: -(2n ** 70n) }), '{"n":{"$bigint":"-1180591620717411303424"}}');
    assert.equal(stringifyTaggedJson({ a: undefined, b: -0 }), '{"b":0}');
    const large = new Uint8Array(100_000).map((_, i) => i);
    assert.deepEqual(parseTaggedJson(stringifyTaggedJson(large)), large);
  });

  test("escapes a user's own objects that look like tags, at every level", () => {
    assert.equal(stringifyTaggedJson({ $date: "x" }), '{"$object":{"$date":"x"}}');
    assert.equal(stringifyTaggedJson({ $object: {} }), '{"$object":{"$object":{}}}');
    const value = { $object: { $bytes: [{ $other: 1n }] } };
    assert.deepStrictEqual(parseTaggedJson(stringifyTaggedJson(value)), value);
    let deep: Value = 1n;
    for (let i = 0; i < limits.valueDepthMax; i++) deep = { $: deep };
    assert.deepStrictEqual(parseTaggedJson(stringifyTaggedJson(deep)), deep);
  });

  test("keeps an object with a tag's name among several keys as it is", () => {
    assert.deepStrictEqual(parseTaggedJson('{"$date":"x","b":1}'), { $date: "x", b: 1 });
  });

  test("counts the last of duplicate keys", () => {
    assert.deepStrictEqual(parseTaggedJson('{"a":1,"a":2}'), { a: 2 });
  });

  test("finds tags and forbidden keys that are written with escapes", () => {
    assert.equal(parseTaggedJson('{"\\u0024bigint":"5"}'), 5n);
    assert.match(malformed('{"\\u005f_proto__":1}').message, /__proto__/);
  });
});

describe("text that is no value", () => {
  test("is malformed, with the position where there is one", () => {
    assert.deepEqual(malformed('{"a":x}').details, { position: 5 });
    assert.deepEqual(malformed('{"a":1').details, { position: 6 });
    assert.deepEqual(malformed("").details, { position: 0 });
    for (const text of [
      "{",
      "[1,]",
      "{a:1}",
      "'x'",
      "01",
      "NaN",
      "undefined",
      "{} {}",
      '"\n"',
      '"\\x"',
      "\ufeff1",
      "1e999",
    ])
      malformed(text);
  });

  test("is malformed when its bytes are not UTF-8", () => {
    malformed(Uint8Array.from([0x22, 0xff, 0x22]));
    malformed(Uint8Array.from([0x22, 0xc0, 0x80, 0x22]));
    malformed(Uint8Array.from([0x22, 0xed, 0xa0, 0x80, 0x22]));
    assert.match(malformed('"\\ud800"').message, /surrogate/);
  });

  test("is malformed when a tag's content is not its kind's", () => {
    for (const text of [
      '{"$bytes":1}',
      '{"$bytes":"AQI"}',
      '{"$bytes":"AQ-_"}',
      '{"$bytes":"AQ=="} ,',
      '{"$date":"yesterday"}',
      '{"$date":0}',
      '{"$date":"2026-01-31"}',
      '{"$date":"2026-02-30T00:00:00.000Z"}',
      '{"$bigint":5}',
      '{"$bigint":"5.0"}',
      '{"$bigint":"-0"}',
      '{"$bigint":"0x10"}',
      '{"$bigint":""}',
      `{"$bigint":"${"9".repeat(50_000)}"}`,
      '{"$object":1}',
      '{"$object":[]}',
      '{"$unknown":1}',
      '{"$":1}',
      '{"__proto__":{"a":1}}',
      '{"a":{"__proto__":1,"b":2}}',
      '{"$object":{"__proto__":1}}',
    ])
      malformed(text);
    assert.equal(Object.hasOwn(Object.prototype, "a"), false);
  });

  test("is refused before anything recurses when it is nested 100,000 deep", () => {
    for (const open of ["[", '{"a":', '{"$object":'])
      assert.match(malformed(open.repeat(100_000)).message, /nested deeper/);
    malformed("[".repeat(limits.valueDepthMax + 1) + "]".repeat(limits.valueDepthMax + 1));
    const deepest = "[".repeat(limits.valueDepthMax) + "]".repeat(limits.valueDepthMax);
    assert.equal(JSON.stringify(parseTaggedJson(deepest)), deepest);
  });

  test("does not count brackets inside text, whatever escapes stand there", () => {
    const text = JSON.stringify(`\\"${"[".repeat(1000)}\\\\"{`);
    assert.equal(parseTaggedJson(text), JSON.parse(text));
  });

  test("ends in malformed or a value, never in anything else", () => {
    const piece = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      '"',
      ":",
      ",",
      "\\",
      "$bytes",
      "$date",
      "__proto__",
      "1",
      "\\u0024",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 3 })), { maxLength: 20 }), (pieces) => {
        try {
          parseTaggedJson(pieces.join(""));
        } catch (error) {
          assert.ok(error instanceof OnefoldError && error.code === "malformed", String(error));
        }
      }),
      { numRuns: 5000 },
    );
  });
});
