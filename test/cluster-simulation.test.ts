import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { simulateCluster } from "../src/sim/cluster/simulate-cluster.ts";
import { ClusterSummary } from "../src/sim/cluster/summary.ts";
import { replayedSeed, options, simulateClusterSeed } from "./cluster-simulation.fixture.ts";

/** More by `npm run sim:long -- --kind cluster`. */
const seedCount = 10;
const twiceCount = 2;

describe("clusters under faults", { concurrency: false }, () => {
  if (replayedSeed !== undefined) {
    test(`seed ${replayedSeed}`, () => simulateClusterSeed(replayedSeed!, new ClusterSummary()));
    return;
  }

  test(`nothing acknowledged is lost, all has one order, and all is well again after healing, in ${seedCount} seeds`, async (t) => {
    const summary = new ClusterSummary();
    for (let seed = 0; seed < seedCount; seed++) await simulateClusterSeed(String(seed), summary);
    t.diagnostic(String(summary));
  });

  test("the same seed leaves the same trace", async () => {
    for (let index = 0; index < twiceCount; index++) {
      const seed = `twice-${index}`;
      const [once, again] = [await simulateCluster({ seed, ...options }), await simulateCluster({ seed, ...options })];
      assert.equal(again.traceHash, once.traceHash, `seed ${seed}`);
      assert.equal(again.operations, once.operations);
      assert.deepEqual(again.findings, once.findings);
    }
  });
});
