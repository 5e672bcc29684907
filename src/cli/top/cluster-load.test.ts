import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ClusterView, ShardView } from "../../wire/cluster-view.ts";
import { clusterLoadBetween } from "./cluster-load.ts";

const shard = (id: string, facts: Partial<ShardView>): ShardView => ({
  id,
  status: "active",
  slots: { from: 0, to: 1 },
  region: null,
  log: `shard-${id}`,
  owner: "n1",
  isServed: true,
  movingTo: null,
  epoch: 2,
  sequence: 0,
  queuedCalls: 0,
  followers: [],
  ...facts,
});

const view = (...shards: readonly ShardView[]): ClusterView => ({
  system: "bank",
  engine: "nats",
  cluster: "0",
  node: "n1",
  controller: "n2",
  nodes: ["n1", "n2"].map((name) => ({
    name,
    status: "live",
    answers: true,
    httpUrl: null,
    address: null,
    labels: {},
    version: "1",
    owned: shards.filter(({ owner }) => owner === name).length,
    followed: 0,
  })),
  shards,
});

describe("a cluster's load between two looks", () => {
  test("is the growth of its shards' logs, those that need looking at first, then the busiest", () => {
    const follower = { node: "n2", sequence: 90, lagBatches: 10, staleForMs: 5 };
    const load = clusterLoadBetween(
      view(shard("0", { sequence: 100 }), shard("1", { sequence: 50 }), shard("2", { sequence: 7 })),
      view(
        shard("0", { sequence: 120, followers: [follower] }),
        shard("1", { sequence: 90, owner: "n2" }),
        shard("2", { sequence: null, epoch: null, isServed: false }),
      ),
      2,
    );
    assert.deepEqual(
      load.shards.map(({ id, status, batchesPerSecond, lagBatches }) => [id, status, batchesPerSecond, lagBatches]),
      [
        ["2", "unserved", 0, 0],
        ["1", "active", 20, 0],
        ["0", "active", 10, 10],
      ],
    );
    assert.deepEqual(
      load.nodes.map(({ name, isController, owned, batchesPerSecond, lagBatches }) => [
        name,
        isController,
        owned,
        batchesPerSecond,
        lagBatches,
      ]),
      [
        ["n1", false, 2, 10, 0],
        ["n2", true, 1, 20, 10],
      ],
    );
  });

  test("has no rate where a shard goes on in another log, or was not there before", () => {
    const load = clusterLoadBetween(
      view(shard("0", { sequence: 100 })),
      view(shard("0", { sequence: 500, log: "shard-0-r" }), shard("1", { sequence: 70, status: "quarantined" })),
      1,
    );
    assert.deepEqual(
      load.shards.map(({ id, status, batchesPerSecond }) => [id, status, batchesPerSecond]),
      [
        ["1", "quarantined", 0],
        ["0", "active", 0],
      ],
    );
  });
});
