import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Output } from "./output.ts";
import {
  bar,
  bytesText,
  millisecondsText,
  prettyJson,
  printable,
  printableLine,
  quoted,
  rateText,
  shortened,
  table,
} from "./text.ts";

const plainOutput: Pick<Output, "styled" | "columns"> = { styled: (_style, text) => text, columns: undefined };

describe("what people read", () => {
  test("shows control characters and marks of direction instead of sending them (TX1)", () => {
    assert.equal(printable("a\u001b[2J\u0007\u009b\u202eb\nc\td é 界"), "a\\u001b[2J\\u0007\\u009b\\u202eb\nc\td é 界");
    assert.equal(printableLine("a\nb\tc\r"), "a\\nb\\tc\\u000d");
    assert.equal(prettyJson('{"a":"\u009b1m","b":[1]}'), '{\n  "a": "\\u009b1m",\n  "b": [\n    1\n  ]\n}');
    assert.equal(prettyJson("no JSON\u0007"), "no JSON\\u0007");
  });

  test("has units and three figures or so", () => {
    assert.deepEqual([0, 1023, 1024, 12.34 * 1024 ** 2, 5 * 1024 ** 5].map(bytesText), [
      "0 B",
      "1023 B",
      "1.0 KiB",
      "12.3 MiB",
      "5120 TiB",
    ]);
    assert.deepEqual([0, 0.25, 9.96, 12_345.6].map(rateText), ["0", "0.3", "10.0", "12,346"]);
    assert.deepEqual([undefined, 0.123, 12.34, 1234].map(millisecondsText), ["–", "0.12", "12.3", "1,234"]);
    assert.deepEqual([shortened("abc", 3), shortened("abcd", 3), shortened("abcd", 0)], ["abc", "ab…", "…"]);
    assert.deepEqual([bar(0, 4), bar(0.5, 4), bar(2, 4)], ["[----]", "[##--]", "[####]"]);
  });

  test("stands in columns, whose last is cut at the edge of a terminal", () => {
    const columns = [{ title: "NAME" }, { title: "COUNT", align: "right" as const }, { title: "REST" }];
    const rows = [
      ["a", "1", "x"],
      ["longer", "12345", "a long\nrest"],
    ];
    assert.equal(
      table(columns, rows, plainOutput as Output),
      "NAME    COUNT  REST\na           1  x\nlonger  12345  a long\\nrest",
    );
    const narrow = { ...plainOutput, columns: 20 } as Output;
    assert.equal(table(columns, rows, narrow).split("\n").at(-1), "longer  12345  a lo…");
    assert.equal(table(columns, [], plainOutput as Output), "");
  });

  test("is one word for a shell", () => {
    assert.deepEqual(
      [quoted("a/b:c"), quoted("a b"), quoted("it's"), quoted("")],
      ["a/b:c", "'a b'", "'it'\\''s'", "''"],
    );
  });
});
