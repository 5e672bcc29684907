/**
 * Simulates many seeds: `npm run sim:long` 2,000 of each kind, `npm run sim:long -- --seeds 100000 --from 0` as many as that. Prints progress,
 * every failure with how to replay it, and a summary; ends with 1 if any seed failed. Those of clusters run several at a time (`--jobs N`).
 *
 * `--save FILE --what TEXT` keeps the last seed's plan for `test/regressions`.
 * `--kind program|damage|cluster|all` (default all), `--first` stops at the first failure, `--trace` prints the end of its trace.
 */
import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { type ClusterSimulationReport, simulateCluster } from "../src/sim/cluster/simulate-cluster.ts";
import { clusterFailureText, clusterPlanText, ClusterSummary } from "../src/sim/cluster/summary.ts";
import { simulate } from "../src/sim/workload/simulate.ts";
import { simulateDamage } from "../src/sim/workload/damage.ts";
import { failureText, planText, SimulationSummary } from "../src/sim/workload/summary.ts";
import { options as clusterOptions, simulateClusterSeeds } from "../test/cluster-simulation.fixture.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "2000" },
    from: { type: "string", default: "0" },
    kind: { type: "string", default: "all" },
    first: { type: "boolean", default: false },
    trace: { type: "boolean", default: false },
    jobs: { type: "string", default: String(availableParallelism()) },
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

const seeds = Array.from({ length: count }, (_, index) => from + index);
if (isWanted("program") || isWanted("damage")) {
  for (const [index, seed] of seeds.entries()) {
    if (isWanted("program")) await runProgram(String(seed));
    if (isWanted("damage")) await runDamage(`damage-${seed}`);
    if (values.first && failureCount > 0) break;
    tellProgress(index + 1, "of one node");
  }
}
if (isWanted("cluster") && !(values.first && failureCount > 0)) {
  const reports = await simulateClusterSeeds(seeds.map(String), {
    jobs: Number(values.jobs),
    goesOn: !values.first,
    onDone: ({ result: { seed, findings }, doneCount }) => {
      // All of it is told at the end, in order; who waits for hours wants to know at once.
      if (findings.length > 0) console.error(`the cluster ${seed} failed: ${findings[0]!.anomaly}`);
      tellProgress(doneCount, "of clusters");
    },
  });
  for (const report of reports) await judgeCluster(report);
  const seconds = (Date.now() - beganMs) / 1000;
  const virtualSeconds = reports.reduce((total, { virtualMs }) => total + virtualMs / 1000, 0);
  if (values.kind === "cluster") {
    const rate = `${(reports.length / seconds).toFixed(1)} seeds a second`;
    console.log(`${rate}, ${(virtualSeconds / seconds).toFixed(0)} times as fast as simulated time`);
  }
}
if (values.kind !== "cluster") console.log(String(summary));
if (isWanted("cluster")) console.log(String(clusterSummary));
console.log(`${failureCount} failed`);
process.exitCode = failureCount > 0 ? 1 : 0;

function isWanted(kind: "program" | "damage" | "cluster"): boolean {
  return values.kind === kind || values.kind === "all";
}

function tellProgress(doneCount: number, what: string): void {
  if (Date.now() - lastProgressMs < progressMs) return;
  lastProgressMs = Date.now();
  console.error(`${doneCount} of ${count} seeds ${what}, ${Math.round((Date.now() - beganMs) / 1000)} s`);
}

async function judgeCluster(report: ClusterSimulationReport): Promise<void> {
  const { seed } = report;
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
