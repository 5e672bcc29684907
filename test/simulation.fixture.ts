/** For the simulation's tests: many seeds, one summary, and for a seed that fails all that is needed to replay it. */
import assert from "node:assert/strict";
import { failureText, simulate, simulateDamage, SimulationSummary } from "../src/sim/workload/index.ts";

/** The seed to replay, alone and with its trace: `SEED=17 node --import tsx --test test/simulation.test.ts`. */
export const replayedSeed = process.env.SEED;

/** Runs seeds; fails with the first that fails. Returns the summary of all. */
export async function simulateSeeds(options: {
  readonly from: number;
  readonly count: number;
}): Promise<SimulationSummary> {
  const summary = new SimulationSummary();
  for (let seed = options.from; seed < options.from + options.count; seed++) await simulateSeed(String(seed), summary);
  return summary;
}

export async function simulateSeed(seed: string, summary: SimulationSummary): Promise<void> {
  const report = await simulate({ seed });
  summary.add(report);
  if (report.wrongs.length === 0) return;
  const { traceTail } = await simulate({ seed, verbose: true });
  assert.fail(failureText({ ...report, traceTail }, `SEED=${seed} node --import tsx --test test/simulation.test.ts`));
}

export async function simulateDamages(options: {
  readonly from: number;
  readonly count: number;
}): Promise<SimulationSummary> {
  const summary = new SimulationSummary();
  for (let number = options.from; number < options.from + options.count; number++) {
    const report = await simulateDamage(`damage-${number}`);
    summary.addDamage(report);
    const replay = `npm run sim:long -- --kind damage --seeds 1 --from ${number}`;
    if (report.wrongs.length > 0) assert.fail(failureText(report, replay));
  }
  return summary;
}
