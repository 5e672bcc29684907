import assert from "node:assert/strict";
import { describe as suite, test } from "node:test";
import { describe } from "./cluster-view.ts";
import { clusterOf, stateAfter } from "./system.fixture.ts";
import { emptySystemState } from "./system-state.ts";

suite("what a node tells of its cluster", () => {
  const placed = { type: "assigned", term: 1, shard: "0", owner: "b", followers: ["a", "c"], assignment: 1 } as const;
  const state = stateAfter([placed, { type: "draining", member: "c" }], clusterOf(["a", "b", "c"]));

  test("is what the members say of their shards, held against the system log", () => {
    const view = describe(
      state,
      new Map([
        ["b", { owned: { "0": { epoch: 3, sequence: 70, queuedCalls: 2 } }, copies: {} }],
        ["a", { owned: {}, copies: { "0": { sequence: 68, staleForMs: 12 } } }],
      ]),
      "a",
    );
    assert.deepEqual(
      view.nodes.map(({ name, status, answers, owned, followed }) => [name, status, answers, owned, followed]),
      [
        ["a", "live", true, 0, 1],
        ["b", "live", true, 1, 0],
        ["c", "draining", false, 0, 1],
      ],
    );
    const [shard] = view.shards;
    assert.deepEqual(
      [shard!.owner, shard!.isServed, shard!.epoch, shard!.sequence, shard!.queuedCalls],
      ["b", true, 3, 70, 2],
    );
    assert.deepEqual(shard!.followers, [
      { node: "a", sequence: 68, lagBatches: 2, staleForMs: 12 },
      { node: "c", sequence: null, lagBatches: null, staleForMs: null },
    ]);
  });

  test("leaves open what its owner does not answer", () => {
    const [shard] = describe(state, new Map(), "a").shards;
    assert.deepEqual([shard!.owner, shard!.isServed, shard!.epoch, shard!.sequence], ["b", false, null, null]);
  });

  test("a copy that was read later than its owner is not ahead of it", () => {
    const standings = new Map([
      ["b", { owned: { "0": { epoch: 3, sequence: 70, queuedCalls: 0 } }, copies: {} }],
      ["a", { owned: {}, copies: { "0": { sequence: 75, staleForMs: 0 } } }],
    ]);
    assert.equal(describe(state, standings, "a").shards[0]!.followers[0]!.lagBatches, 0);
  });

  test("is nothing before there is a cluster", () => {
    assert.throws(() => describe(emptySystemState, new Map(), "a"), { code: "not-ready", retry: "safe" });
  });
});
