import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { simulateCluster } from "../src/sim/cluster/simulate-cluster.ts";
import { ClusterSummary } from "../src/sim/cluster/summary.ts";
import { assertNothingFound, options, replayedSeed, simulateClusterSeeds } from "./cluster-simulation.fixture.ts";

/** More by `npm run sim:long`. */
const seedCount = 200;
/** Of those, the seeds that are run a second time, in the other order: by another process, and after others. */
const twiceCount = 10;

describe("clusters under faults", { concurrency: false }, () => {
  if (replayedSeed !== undefined) {
    test(`seed ${replayedSeed}`, async () =>
      assertNothingFound(await simulateCluster({ seed: replayedSeed!, ...options })));
    return;
  }

  const seeds = Array.from({ length: seedCount }, (_, seed) => String(seed));
  const hashes = new Map<string, string>();

  test(`nothing acknowledged is lost, all has one order, and all is well again after healing, in ${seedCount} seeds`, async (t) => {
    const summary = new ClusterSummary();
    for (const report of await simulateClusterSeeds(seeds)) {
      await assertNothingFound(report);
      summary.add(report);
      hashes.set(report.seed, report.traceHash);
    }
    assert.equal(hashes.size, seedCount);
    t.diagnostic(String(summary));
  });

  test("the same seed leaves the same trace", async () => {
    const again = seeds.slice(0, twiceCount).reverse();
    for (const { seed, traceHash } of await simulateClusterSeeds(again, { goesOn: true })) {
      assert.equal(traceHash, hashes.get(seed), `seed ${seed}`);
    }
  });
});
