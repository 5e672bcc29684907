/**
 * Simulates many seeds: `npm run sim:long -- --seeds 100000 --from 0`. Prints progress, every failure with how to replay it,
 * and a summary; ends with 1 if any seed failed.
 *
 * `--save FILE --what TEXT` keeps the last seed's plan for `test/regressions`.
 * `--kind program|damage|cluster|all` (default all), `--first` stops at the first failure, `--trace` prints the end of its trace.
 */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { simulateCluster } from "../src/sim/cluster/simulate-cluster.ts";
import { clusterFailureText, clusterPlanText, ClusterSummary } from "../src/sim/cluster/summary.ts";
import { simulate } from "../src/sim/workload/simulate.ts";
import { simulateDamage } from "../src/sim/workload/damage.ts";
import { failureText, planText, SimulationSummary } from "../src/sim/workload/summary.ts";
import { options as clusterOptions } from "../test/cluster-simulation.fixture.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "10000" },
    from: { type: "string", default: "0" },
    kind: { type: "string", default: "all" },
    first: { type: "boolean", default: false },
    trace: { type: "boolean", default: false },
    save: { type: "string" },
    what: { type: "string", default: "" },
  },
});

const from = Number(values.from);
const count = Number(values.seeds);
const summary = new SimulationSummary();
const clusterSummary = new ClusterSummary();
const progressMs = 10_000;
let failureCount = 0;
let lastProgressMs = Date.now();
const beganMs = Date.now();

for (let seed = from; seed < from + count; seed++) {
  if (isWanted("program")) await runProgram(String(seed));
  if (isWanted("damage")) await runDamage(`damage-${seed}`);
  if (isWanted("cluster")) await runCluster(String(seed));
  if (values.first && failureCount > 0) break;
  if (Date.now() - lastProgressMs < progressMs) continue;
  lastProgressMs = Date.now();
  console.error(
    `${seed - from + 1} of ${count} seeds, ${failureCount} failed, ${Math.round((Date.now() - beganMs) / 1000)} s`,
  );
}
if (values.kind !== "cluster") console.log(String(summary));
if (isWanted("cluster")) console.log(String(clusterSummary));
console.log(`${failureCount} failed`);
process.exitCode = failureCount > 0 ? 1 : 0;

function isWanted(kind: "program" | "damage" | "cluster"): boolean {
  return values.kind === kind || values.kind === "all";
}

async function runCluster(seed: string): Promise<void> {
  const report = await simulateCluster({ seed, ...clusterOptions });
  clusterSummary.add(report);
  if (values.save !== undefined) await writeFile(values.save, clusterPlanText(report, values.what));
  if (report.findings.length === 0) return;
  failureCount++;
  const shown = values.trace ? await simulateCluster({ seed, ...clusterOptions, keepsNotes: true }) : report;
  const replay = `npm run sim:long -- --kind cluster --seeds 1 --from ${seed} --trace`;
  console.log(clusterFailureText(shown, replay));
}

async function runProgram(seed: string): Promise<void> {
  const report = await simulate({ seed });
  summary.add(report);
  if (values.save !== undefined) await writeFile(values.save, planText(report, values.what));
  if (report.wrongs.length === 0) return;
  failureCount++;
  const shown = values.trace ? await simulate({ seed, verbose: true }) : undefined;
  const replay = `npm run sim:long -- --kind program --seeds 1 --from ${seed} --trace`;
  console.log(failureText({ ...report, ...(shown && { traceTail: shown.traceTail }) }, replay));
}

async function runDamage(seed: string): Promise<void> {
  const report = await simulateDamage(seed);
  summary.addDamage(report);
  if (report.wrongs.length === 0) return;
  failureCount++;
  const replay = `npm run sim:long -- --kind damage --seeds 1 --from ${seed.slice("damage-".length)}`;
  console.log(failureText(report, replay));
}
