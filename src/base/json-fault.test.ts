import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { positionOfJsonFault } from "./json-fault.ts";

describe("the position of a fault in JSON", () => {
  test("is where the first thing stands that JSON does not allow", () => {
    for (const [text, position] of [
      ['{"a":x}', 5],
      ['{"a":1', 6],
      ["", 0],
      ["  ", 2],
      ["[1,]", 3],
      ["{a:1}", 1],
      ['{"a" 1}', 5],
      ['{"a":1,}', 7],
      ["[1 2]", 3],
      ["[1}", 2],
      ["{} {}", 3],
      ["01", 0],
      ["[1, NaN]", 4],
      ['"ab\nc"', 3],
      ['"ab\\xc"', 4],
      ['"ab', 3],
      ["]", 0],
      ["[true, flase]", 7],
    ] as const)
      assert.equal(positionOfJsonFault(text), position, text);
  });

  test("exists exactly where the platform's parser refuses", () => {
    const piece = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      '"',
      ":",
      ",",
      "\\",
      "u00e9",
      "1",
      "-0.5e3",
      "true",
      "null",
      " ",
      "\n",
    );
    const text = fc.oneof(
      fc.json(),
      fc.array(fc.oneof(piece, fc.json()), { maxLength: 8 }).map((all) => all.join("")),
    );
    fc.assert(
      fc.property(text, (candidate) => {
        let refused = false;
        try {
          JSON.parse(candidate);
        } catch (error) {
          assert.ok(error instanceof SyntaxError);
          refused = true;
        }
        const position = positionOfJsonFault(candidate);
        assert.equal(position !== undefined, refused, candidate);
        if (position !== undefined) assert.ok(position >= 0 && position <= candidate.length);
      }),
      { numRuns: 5000 },
    );
  });

  test("is found in deep and long text without exhausting anything", () => {
    assert.equal(positionOfJsonFault("[".repeat(1_000_000)), 1_000_000);
    assert.equal(positionOfJsonFault(`"${"\\n".repeat(500_000)}`), 1_000_001);
  });
});
