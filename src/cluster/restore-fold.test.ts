import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { foldOne } from "./system-fold.ts";
import { decodeSystemRecords, encodeSystemRecords, type RestoredShard, type SystemRecord } from "./system-records.ts";
import { emptySystemState, shardOfSlot } from "./system-state.ts";

const cluster = {
  id: "1".repeat(32),
  systemName: "bank",
  secret: new Uint8Array(32),
  shardCount: 2,
  followerCount: 1,
};

function shard(id: string, from: number, to: number): RestoredShard {
  const parent = { log: `shard-${id}`, incarnation: "2".repeat(32), epoch: 3, sequence: 40, hash: "4".repeat(64) };
  return { id, from, to, log: `shard-r${id}-aa`, incarnation: "5".repeat(32), parent };
}

const whole = [shard("0", 0, 1000), shard("1", 1000, 4096)];
const restored = (shards: readonly RestoredShard[]): SystemRecord => ({ type: "restored", cluster, shards });

describe("a cluster that begins with a backup", () => {
  test("has the backup's shards, which nobody owns yet", () => {
    const [record] = decodeSystemRecords(encodeSystemRecords([restored(whole)]));
    const state = foldOne(emptySystemState, record!, 1);
    assert.deepEqual([...state.shards.keys()], ["0", "1"]);
    const { log, parent, owner, status, assignment } = shardOfSlot(state, 1000)!;
    assert.deepEqual([log, parent?.sequence, owner, status, assignment], ["shard-r1-aa", 40, undefined, "active", 0]);
  });

  test("is begun only where none is (RF1)", () => {
    const founded = foldOne(emptySystemState, { type: "founded", cluster: { ...cluster, id: "9".repeat(32) } }, 1);
    assert.equal(foldOne(founded, restored(whole), 2), founded);
    const state = foldOne(emptySystemState, restored(whole), 1);
    assert.equal(foldOne(state, { type: "founded", cluster: { ...cluster, id: "9".repeat(32) } }, 2), state);
  });

  test("holds every slot once, each shard in a log of its own (RF2)", () => {
    for (const shards of [
      [],
      [shard("0", 0, 4095)],
      [shard("0", 0, 1000), shard("1", 1001, 4096)],
      [shard("0", 0, 1001), shard("1", 1000, 4096)],
      [shard("0", 0, 1000), { ...shard("1", 1000, 4096), log: "shard-r0-aa" }],
      [shard("0", 0, 1000), shard("0", 1000, 4096)],
    ]) {
      assert.equal(foldOne(emptySystemState, restored(shards), 1), emptySystemState);
    }
  });
});
