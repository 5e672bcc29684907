import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import { decide } from "./controller.ts";
import { awaitsSystem } from "./promotion-fold.ts";
import { checkpointOf, fold } from "./system-fold.ts";
import { cluster, founding, joining, parentPosition, stateAfter } from "./system.fixture.ts";
import { decodeSystemRecords, encodeSystemRecords, type SystemRecord } from "./system-records.ts";
import { emptySystemState, presentShards, shardOfSlot, type SystemState } from "./system-state.ts";

const attempts = ["1", "2", "3"].map((digit) => digit.repeat(32));
const incarnation = "ef".repeat(16);

function begun(attempt: string, log = `embedded-${attempt.slice(0, 4)}`): SystemRecord {
  return { type: "promotion-begun", cluster, attempt, log };
}

function activated(attempt: string, log = `embedded-${attempt.slice(0, 4)}`): SystemRecord {
  return { type: "promotion-activated", attempt, log: "shard-0-new", incarnation, parent: parentPosition(log) };
}

const abandoned = (attempt: string): SystemRecord => ({ type: "promotion-abandoned", attempt });
const [first, second] = attempts as [string, string];

describe("the move of a system to a cluster, as its log tells of it", () => {
  test("founds a cluster that has members and no shards, until it is activated", () => {
    const waiting = stateAfter([begun(first), joining("a.1")]);
    assert.equal(awaitsSystem(waiting), true);
    assert.deepEqual([waiting.members.size, waiting.shards.size, shardOfSlot(waiting, 0)], [1, 0, undefined]);
    const alive = stateAfter([activated(first)], waiting);
    assert.equal(awaitsSystem(alive), false);
    assert.equal(shardOfSlot(alive, 4095)?.log, "shard-0-new");
    assert.deepEqual(shardOfSlot(alive, 0)?.parent, parentPosition("embedded-1111"));
  });

  test("either takes hold or never does, whichever is said first (PF1, PF2)", () => {
    const late = stateAfter([begun(first), abandoned(first), activated(first)]);
    assert.deepEqual([late.promotion?.status, late.shards.size], ["abandoned", 0]);
    const kept = stateAfter([begun(first), activated(first), abandoned(first)]);
    assert.deepEqual([kept.promotion?.status, kept.shards.size], ["activated", 1]);
    const followed = stateAfter([begun(first), begun(second), activated(first)]);
    assert.deepEqual([followed.promotion?.status, followed.shards.size], ["copying", 0]);
    assert.equal(stateAfter([activated(second)], followed).shards.size, 1);
  });

  test("begins only in nothing, or after an attempt of the same system (PF3)", () => {
    const founded = stateAfter([founding()]);
    assert.deepEqual(stateAfter([begun(first)], founded).shards, founded.shards);
    const other: SystemRecord = {
      type: "promotion-begun",
      cluster: { ...cluster, id: "99".repeat(16) },
      attempt: second,
      log: "x",
    };
    assert.equal(stateAfter([begun(first), other]).promotion?.attempt, first);
    assert.equal(stateAfter([begun(first), activated(first), begun(second)]).promotion?.attempt, first);
    assert.equal(stateAfter([begun(first), abandoned(first), begun(second)]).promotion?.attempt, second);
    assert.equal(stateAfter([begun(first), founding()]).shards.size, 0, "nobody founds it otherwise meanwhile");
  });

  test("never has a shard unless the newest attempt was activated, whatever order things are said in; and is whole in a checkpoint", () => {
    for (let seed = 0; seed < 300; seed++) {
      const random = new SeededRandom(`promotion ${seed}`);
      let state: SystemState = emptySystemState;
      for (let step = 0; step < 12; step++) {
        const attempt = random.pick(attempts);
        const before = state;
        state = stateAfter([random.pick([begun(attempt), activated(attempt), abandoned(attempt)])], state);
        assert.equal(state.shards.size > 0, state.promotion?.status === "activated");
        if (before.promotion?.status === "activated") assert.deepEqual(state.promotion, before.promotion);
        if (state.cluster === undefined) continue;
        const [read] = decodeSystemRecords(encodeSystemRecords([checkpointOf(state)]));
        const loaded = fold(emptySystemState, [read!], state.sequence + 1);
        assert.deepEqual(loaded, fold(state, [checkpointOf(state)], state.sequence + 1));
      }
    }
  });

  test("is split by the controller until it has as many shards as the cluster is to have", () => {
    let state = stateAfter([begun(first), joining("a.1"), { type: "controller-claimed", member: "a.1", term: 1 }]);
    state = stateAfter(
      [{ ...begun(first), cluster: { ...cluster, shardCount: 8 } } as SystemRecord, activated(first)],
      state,
    );
    const observed = { self: "a.1", silent: new Map(), copies: new Map() };
    for (let round = 0; round < 20; round++) {
      state = stateAfter(decide(state, observed), state);
      for (const shard of presentShards(state)) {
        if (shard.status !== "splitting") continue;
        const parent = parentPosition(shard.log);
        const children = shard.children.map(({ id }) => ({ id, log: `shard-${id}`, incarnation, parent }));
        state = stateAfter([{ type: "split-published", shard: shard.id, log: shard.log, children }], state);
      }
    }
    const shards = presentShards(state);
    assert.deepEqual(
      shards.map(({ from, to }) => to - from),
      Array.from({ length: 8 }, () => 512),
    );
    assert.deepEqual(decide(state, observed), [], "a settled cluster decides nothing (CT4)");
  });
});
