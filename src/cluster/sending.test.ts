import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeRecord } from "../log/record.ts";
import type { EngineAppendOutcome, EngineLog } from "../log/engine-log.ts";
import { sendOnce } from "./sending.ts";

const record = encodeRecord(
  {
    kind: "genesis",
    readerVersion: 1,
    incarnation: new Uint8Array(16),
    epoch: 1,
    sequence: 1,
    timeMs: 1,
    previousHash: new Uint8Array(32),
  },
  new Uint8Array(),
);

/** The record stands there, whatever the engine says of sending it. */
async function sent(outcome: EngineAppendOutcome): Promise<{ readonly fate: string; readonly reads: number }> {
  let reads = 0;
  const log = {
    append: async () => outcome,
    read: async () => {
      reads++;
      return record.bytes;
    },
  } as unknown as EngineLog;
  return { fate: await sendOnce(log, 1, record), reads };
}

describe("sending a record", () => {
  test("does not look for it where the engine was silent (SN3)", async () => {
    assert.deepEqual(await sent({ kind: "unknown", cause: undefined, isSilent: true }), {
      fate: "unanswered",
      reads: 0,
    });
  });

  test("looks for it where an answer proves nothing (SN1)", async () => {
    assert.deepEqual(await sent({ kind: "unknown", cause: undefined }), { fate: "ours", reads: 1 });
    assert.deepEqual(await sent({ kind: "refused" }), { fate: "ours", reads: 1 });
    assert.deepEqual(await sent({ kind: "appended" }), { fate: "ours", reads: 0 });
  });
});
