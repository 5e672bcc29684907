import { test } from "node:test";
import { simulateDamages, simulateSeeds } from "./simulation.fixture.ts";

test("nothing acknowledged is lost, nothing happens twice, and all has one order, in 250 more seeds", async (t) => {
  t.diagnostic(String(await simulateSeeds({ from: 1_000_000, count: 250 })));
});

test("damaged, cut, lost and rolled-back files are named or repaired, and never served, in 600 seeds", async (t) => {
  t.diagnostic(String(await simulateDamages({ from: 0, count: 600 })));
});
