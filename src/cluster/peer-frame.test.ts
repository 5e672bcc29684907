import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { fromHex, toHex } from "../base/bytes.ts";
import { OnefoldError, Refused } from "../base/errors.ts";
import { encodeValue } from "../base/value.ts";
import { decodeFailure, encodeFailure } from "./peer-failure.ts";
import { decodeFrame, encodeFrame, encodeMessage, type PeerMessage } from "./peer-frame.ts";

const from = "0001020304050607";
const to = "f0f1f2f3f4f5f6f7";
const refusal = encodeFailure(new Refused("no-funds", { cents: 5 }));

/** Every message with its bytes, in version 1: never to be changed. */
const fixture: readonly { readonly message: PeerMessage; readonly hex: string }[] = [
  { message: { type: "hello", nonce: "a0a1a2a3a4a5a6a7" }, hex: "9200c408a0a1a2a3a4a5a6a7" },
  { message: { type: "welcome", nonce: "a0a1a2a3a4a5a6a7" }, hex: "9201c408a0a1a2a3a4a5a6a7" },
  { message: { type: "welcome", nonce: undefined }, hex: "9201c0" },
  {
    message: { type: "request", id: 300, remainingMs: 1500.5, method: "shard.ask", body: encodeValue({ slot: 7 }) },
    hex: "9502cd012ccb4097720000000000a973686172642e61736bc40781a4736c6f7407",
  },
  { message: { type: "answer", id: 300, body: encodeValue(null) }, hex: "9303cd012cc401c0" },
  {
    message: { type: "failure", id: 300, body: refusal },
    hex: `9304cd012cc4${refusal.length.toString(16)}${toHex(refusal)}`,
  },
];
const frameHead = "01c4080001020304050607c408f0f1f2f3f4f5f6f7";

describe("the frames between nodes", () => {
  test("have the bytes of the fixture", () => {
    for (const { message, hex } of fixture) assert.equal(toHex(encodeMessage(message)), hex);
    const frame = encodeFrame(
      { from, to },
      fixture.map(({ message }) => encodeMessage(message)),
    );
    assert.equal(toHex(frame), `99${frameHead}${fixture.map(({ hex }) => hex).join("")}`);
    assert.deepEqual(decodeFrame(frame), { from, to, messages: fixture.map(({ message }) => message) });
    const toAny = encodeFrame({ from, to: undefined }, []);
    assert.equal(toHex(toAny), "9301c4080001020304050607c0");
    assert.deepEqual(decodeFrame(toAny), { from, to: undefined, messages: [] });
  });

  test("skip messages of later versions, and refuse what is none", () => {
    assert.deepEqual(decodeFrame(fromHex(`95${frameHead}92631a9201c0`)).messages, [
      { type: "welcome", nonce: undefined },
    ]);
    const codeOf = (hex: string) => {
      try {
        decodeFrame(fromHex(hex));
      } catch (error) {
        return (error as OnefoldError).code;
      }
      return "read";
    };
    assert.equal(codeOf(frameHead.replace("01", "9302")), "unsupported-version");
    assert.equal(codeOf(`93${frameHead}00`), "malformed");
    assert.equal(codeOf(`94${frameHead}05`), "malformed");
    assert.equal(codeOf(`94${frameHead}930300c401c0`), "malformed");
    const whole = `93${frameHead}`;
    for (let length = 0; length < whole.length; length += 2) assert.equal(codeOf(whole.slice(0, length)), "malformed");
  });
});

describe("a failure between nodes", () => {
  test("has the bytes of the fixture", () => {
    const error = new OnefoldError("overloaded", "Full.", { retryAfterMs: 100, details: [1] });
    assert.equal(
      Buffer.from(encodeFailure(error))
        .toString("latin1")
        .replace(/[^ -~]/g, "."),
      "..kind.error.code.overloaded.message.Full..retry.safe.details.....retryAfterMsd",
    );
    assert.deepEqual(
      toHex(refusal),
      "83a46b696e64a772656675736564a4636f6465a86e6f2d66756e6473a764657461696c73c40881a563656e747305",
    );
  });

  test("of a later version's code is internal, and keeps its retry class", () => {
    const sent = encodeValue({ kind: "error", code: "too-wonderful", message: "!", retry: "safe" });
    const error = decodeFailure(sent);
    assert(error instanceof OnefoldError);
    assert.deepEqual([error.code, error.message, error.retry], ["internal", "!", "safe"]);
  });
});
