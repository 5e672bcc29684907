/** Kept outcomes: what is decoded is what was kept, and the short way of writing them is the same format as the general one. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { unpack } from "msgpackr";
import { OnefoldError, Refused } from "../base/errors.ts";
import { decodeValue, encodeValue } from "../base/value.ts";
import { MessagePackWriter } from "../base/message-pack.ts";
import { encodeOutcome, keepOutcome, keptBytesMax, replyOf, writeKept } from "./outcome.ts";

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

  test("is written as it is encoded, also where it is kept as what it is made of, and is answered alike", () => {
    const outputs = [undefined, 0, -0, 1, -1.5, 127, 128, 70_000, 2 ** 40, -40_000, null, "text", "x".repeat(300)];
    for (const sequence of [1, 200, 0xffffffff, Number.MAX_SAFE_INTEGER]) {
      for (const output of outputs) {
        const outcome = { kind: "done", output } as const;
        const kept = keepOutcome(outcome, sequence);
        const encoded = encodeOutcome(outcome, sequence);
        const writer = new MessagePackWriter(16);
        writeKept(writer, kept);
        assert.deepEqual(new Uint8Array(unpack(writer.take())), encoded);
        assert.equal(encoded.length <= keptBytesMax(kept), true);
        assert.deepEqual(replyOf(kept), replyOf(encoded));
      }
    }
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
