/**
 * Runs a trial's simulation seed by seed, and prints a line of JSON for each: `node --import tsx scripts/mutants/seeds.ts TRIAL FROM COUNT`,
 * where TRIAL is `program`, `damage`, or a cluster's regime. Ends with the first seed that found something. It runs in the broken copy of
 * the sources, and in the unbroken ones to know what they do.
 */
import { simulateCluster } from "../../src/sim/cluster/simulate-cluster.ts";
import { simulateDamage } from "../../src/sim/workload/damage.ts";
import { simulate } from "../../src/sim/workload/simulate.ts";
import { type Regime, regimes } from "./regimes.ts";

/** `found`: what is wrong, in one line; null for a seed without a finding. */
export interface SeedLine {
  readonly seed: number;
  readonly found: string | null;
}

const [trial = "", from = "0", count = "1"] = process.argv.slice(2);

for (let seed = Number(from); seed < Number(from) + Number(count); seed++) {
  const found = await run(seed);
  const line: SeedLine = { seed, found: found === undefined ? null : found.split("\n")[0]!.slice(0, 300) };
  console.log(JSON.stringify(line));
  if (found !== undefined) break;
}
// What a broken node has left waiting must not keep the process.
process.exit(0);

async function run(seed: number): Promise<string | undefined> {
  if (trial === "program") return (await simulate({ seed: String(seed) })).wrongs[0];
  if (trial === "damage") return (await simulateDamage(`damage-${seed}`)).wrongs[0];
  const regime = (regimes as { readonly [name: string]: Regime })[trial];
  if (regime === undefined) throw new Error(`There is no trial '${trial}'.`);
  const plan = regime.plan(String(seed));
  const { findings } = await simulateCluster({ ...regime.options, seed: `${trial} ${seed}`, plan });
  const [first] = findings;
  return first && `${first.anomaly}: ${first.explanation}`;
}
