import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import { decodeRecord, encodeRecord, formatVersion, incarnationBytes, type LogRecord, noHash } from "../log/record.ts";
import { readFromEngine } from "./engine-reading.ts";

const damage = new OnefoldError("damaged", "The log is damaged.");

function recordsOf(count: number, payloadByte: number): LogRecord[] {
  const records: LogRecord[] = [];
  for (let sequence = 1; sequence <= count; sequence++) {
    const { bytes } = encodeRecord(
      {
        kind: sequence === 1 ? "genesis" : "batch",
        readerVersion: formatVersion,
        incarnation: new Uint8Array(incarnationBytes).fill(7),
        epoch: 1,
        sequence,
        timeMs: sequence,
        previousHash: records.at(-1)?.hash ?? noHash,
      },
      new Uint8Array([payloadByte]),
    );
    records.push(decodeRecord(bytes));
  }
  return records;
}

/** A copy of all records, of which some are lost, over an engine that has these. */
function rig(records: readonly LogRecord[], lost: readonly number[], engine: readonly LogRecord[] = records) {
  return {
    copy: {
      end: records.at(-1)!,
      read: async (sequence: number) => {
        if (lost.includes(sequence)) throw damage;
        return records[sequence - 1];
      },
    },
    log: { read: async (sequence: number) => engine[sequence - 1]?.bytes },
  };
}

describe("a record that the node's own copy has lost", () => {
  const records = recordsOf(9, 1);

  test("comes from the engine, where its chain leads to one that the copy has (ER1)", async () => {
    assert.deepEqual(await readFromEngine(rig(records, [3]), 3, damage), records[2]);
    assert.deepEqual(await readFromEngine(rig(records, [3, 4, 5]), 3, damage), records[2]);
    assert.deepEqual(await readFromEngine(rig(records, [8, 9]), 8, damage), records[7], "to the copy's end");
  });

  test("stays lost where the engine has another in its place, or none (ER1)", async () => {
    const others = recordsOf(9, 2);
    await assert.rejects(readFromEngine(rig(records, [3], others), 3, damage), damage);
    await assert.rejects(readFromEngine(rig(records, [8, 9], others), 8, damage), damage);
    await assert.rejects(readFromEngine(rig(records, [3], records.slice(0, 2)), 3, damage), damage);
    const forked = [...records.slice(0, 3), ...others.slice(3)];
    await assert.rejects(readFromEngine(rig(records, [3, 4], forked), 3, damage), damage);
  });
});
