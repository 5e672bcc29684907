import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { chainFault } from "../../log/chain.ts";
import { RecordChain } from "../../log/log.suite.ts";
import { decodeRecord, type LogRecord, positionOf, type RecordHeader } from "../../log/record.ts";
import { checkChain } from "./chain-integrity.ts";

/** A log of `count` records; `change` makes one of them other than it should be, and those after it follow it. */
function records(count: number, change: Readonly<Record<number, Partial<RecordHeader>>> = {}): readonly LogRecord[] {
  const chain = new RecordChain();
  return Array.from({ length: count }, (_, index) => {
    const record = chain.encode(new Uint8Array([index]), change[index + 1] ?? {});
    chain.accept(record);
    return decodeRecord(record.bytes);
  });
}

function anomalies(log: readonly LogRecord[], anchors: readonly LogRecord[] = []): readonly string[] {
  return checkChain(log, anchors.map(positionOf)).map(({ anomaly }) => anomaly);
}

const other = new Uint8Array(32).fill(9);

describe("chain integrity", () => {
  test("a whole log holds all its anchors, also where it was trimmed", () => {
    const log = records(6);
    assert.deepEqual(anomalies([]), []);
    assert.deepEqual(anomalies(log, log), []);
    assert.deepEqual(anomalies(log.slice(3), log), []);
  });

  test("each fault has its name", () => {
    const log = records(5);
    assert.deepEqual(anomalies([...log.slice(0, 2), ...log.slice(3)]), ["gap", "broken-chain"]);
    assert.deepEqual(anomalies(records(5, { 3: { previousHash: other } })), ["broken-chain"]);
    assert.deepEqual(anomalies(records(1, { 1: { previousHash: other } })), ["broken-chain"]);
    assert.deepEqual(anomalies(records(5, { 3: { epoch: 4 } })), ["epoch-went-back"]);
    assert.deepEqual(anomalies(records(5, { 3: { timeMs: 9999 } })), ["time-went-back"]);
    const incarnation = new Uint8Array(16).fill(1);
    assert.deepEqual(anomalies(records(3, { 3: { incarnation } })), ["mixed-incarnations"]);
    assert.deepEqual(anomalies([{ ...log[0]!, hash: other }]), ["wrong-hash"]);
    assert.match(
      checkChain(records(5, { 3: { epoch: 4 } }), [])[0]!.explanation,
      /the epoch goes back between records 3 and 4, from 4 to 1\./,
    );
  });

  test("an anchor that the log does not hold is found: rolled back, forked, or of another life", () => {
    const log = records(5);
    assert.deepEqual(anomalies(log.slice(0, 3), [log[4]!]), ["anchor-lost"]);
    assert.deepEqual(anomalies([], [log[4]!]), ["anchor-lost"]);
    const forked = records(5, { 4: { timeMs: 1_500 } }).slice(0, 4);
    assert.deepEqual(anomalies(forked, log.slice(0, 4)), ["anchor-contradicted"]);
    assert.deepEqual(anomalies(log.slice(3), [{ ...log[2]!, hash: other }]), ["anchor-contradicted"]);
    assert.deepEqual(anomalies(log, [{ ...log[2]!, epoch: 3 }]), ["anchor-contradicted"]);
    assert.match(
      checkChain(log.slice(0, 3), [positionOf(log[4]!)])[0]!.explanation,
      /^the anchor at 5 \(epoch 1, [0-9a-f]{12}…\) is behind the log's end, record 3\.$/,
    );
  });

  test("with any one record changed or left out the answer is that of the log's own check of its chain", () => {
    const header = fc.record(
      {
        epoch: fc.integer({ min: 0, max: 3 }),
        timeMs: fc.integer({ min: 998, max: 1_010 }),
        previousHash: fc.constant(other),
        incarnation: fc.constant(new Uint8Array(16).fill(1)),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 6 }), header, fc.nat(7), (at, change, leftOut) => {
        const log = records(7, { [at]: change as Partial<RecordHeader> }).filter((_, index) => index !== leftOut);
        const isWhole = log.every((record, index) => index === 0 || chainFault(log[index - 1]!, record) === undefined);
        assert.equal(anomalies(log).length === 0, isWhole);
      }),
    );
  });
});
