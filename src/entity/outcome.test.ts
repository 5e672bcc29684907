/** Kept outcomes: what is decoded is what was kept, and the short way of writing them is the same format as the general one. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError, Refused } from "../base/errors.ts";
import { decodeValue, encodeValue } from "../base/value.ts";
import { encodeOutcome, replyOf } from "./outcome.ts";

describe("a kept outcome", () => {
  test("of a call that was done reads as the general form of the same, whatever its size and sequence", () => {
    const outputs = [
      undefined,
      null,
      0,
      -1.5,
      "",
      "text",
      { list: [1, 2n, new Date(7)] },
      "x".repeat(300),
      "y".repeat(70_000),
    ];
    for (const sequence of [1, 255, 0xffffffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER]) {
      for (const output of outputs) {
        const bytes = encodeOutcome({ kind: "done", output }, sequence);
        assert.deepEqual(replyOf(bytes), { output, sequence });
        const general = { kind: "done", sequence, output: output === undefined ? null : encodeValue(output) };
        assert.deepEqual(decodeValue(bytes), decodeValue(encodeValue(general)));
      }
    }
    const outputBytes = encodeValue([1, 2]);
    assert.deepEqual(replyOf(encodeOutcome({ kind: "done", output: [1, 2] }, 3, outputBytes)).output, [1, 2]);
  });

  test("of one that failed gives the same failure again", () => {
    const refused = new Refused("too-few", { count: 3 });
    assert.throws(() => replyOf(encodeOutcome({ kind: "failed", error: refused }, 4)), refused);
    const error = new OnefoldError("command-failed", "It threw.", { details: { a: 1 } });
    assert.throws(() => replyOf(encodeOutcome({ kind: "failed", error }, 4)), {
      code: "command-failed",
      message: "It threw.",
    });
  });
});
