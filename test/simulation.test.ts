import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { simulate, SimulationSummary } from "../src/sim/workload/index.ts";
import { replayedSeed, simulateSeed, simulateSeeds } from "./simulation.fixture.ts";

describe("random programs under faults", { concurrency: false }, () => {
  if (replayedSeed !== undefined) {
    test(`seed ${replayedSeed}`, () => simulateSeed(replayedSeed!, new SimulationSummary()));
    return;
  }

  test("nothing acknowledged is lost, nothing happens twice, and all has one order, in 1,000 seeds", async (t) => {
    t.diagnostic(String(await simulateSeeds({ from: 0, count: 1000 })));
  });

  test("the same seed leaves the same trace", async () => {
    for (let seed = 0; seed < 30; seed++) {
      const [once, again] = [await simulate({ seed: `twice-${seed}` }), await simulate({ seed: `twice-${seed}` })];
      assert.deepEqual(once.wrongs, []);
      assert.equal(again.traceHash, once.traceHash, `seed twice-${seed}`);
      assert.equal(again.requestCount, once.requestCount);
    }
  });
});
