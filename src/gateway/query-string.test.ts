import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseCount, parseQueryString } from "./query-string.ts";

const names = ["input", "read", "limit"] as const;

test("what URLSearchParams writes is read back", () => {
  const text = fc.string({ unit: "grapheme" });
  const values = fc.record({ input: text, read: text, limit: text }, { requiredKeys: [] });
  fc.assert(
    fc.property(values, (record) => {
      const defined = Object.entries(record).filter((entry): entry is [string, string] => entry[1] !== undefined);
      assert.deepEqual(parseQueryString(new URLSearchParams(defined).toString(), names), Object.fromEntries(defined));
    }),
  );
});

test("whatever the text, the answer is values or malformed", () => {
  const piece = fc.constantFrom("input", "read", "=", "&", "%", "%41", "%ff", "+", "a", "__proto__", "é");
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      try {
        for (const name of Object.keys(parseQueryString(pieces.join(""), names)))
          assert.ok(names.some((n) => n === name));
      } catch (error) {
        assert.equal((error as { code?: unknown }).code, "malformed");
      }
    }),
  );
});

test("a count is whole, in digits, and within its bounds", () => {
  const bounds = { min: 1, max: 1000, absent: 100 };
  assert.deepEqual(
    [undefined, "1", "1000", "007"].map((text) => parseCount("limit", text, bounds)),
    [100, 1, 1000, 7],
  );
  for (const text of ["", "0", "1001", "1.0", "1e2", "-1", "+1", " 1", "Infinity", "9".repeat(400)]) {
    assert.throws(() => parseCount("limit", text, bounds), { code: "malformed" }, text);
  }
});
