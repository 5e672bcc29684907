/** For the tests of simulated clusters: how their runs are, and what a seed that fails is told by. */
import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { runSeeds } from "../src/cli/sim/seed-pool.ts";
import { type ClusterSimulationReport, simulateCluster } from "../src/sim/cluster/simulate-cluster.ts";
import { clusterFailureText } from "../src/sim/cluster/summary.ts";

/** The seed to replay, alone and with its trace: `SEED=17 node --import tsx --test test/cluster-simulation.test.ts`. */
export const replayedSeed = process.env.SEED;

/** All kinds of faults, in short runs: many plans show more than long ones. */
export const options = { durationMs: 10_000, clientCount: 3 };

export interface ClusterSeedsOptions {
  readonly jobs?: number;
  /** Whether to go on behind a seed that failed. Default: no. */
  readonly goesOn?: boolean;
  readonly onDone?: (progress: { readonly result: ClusterSimulationReport; readonly doneCount: number }) => void;
}

/** Simulates seeds in several processes; gives their reports in the order of the seeds, up to the first that failed. */
export function simulateClusterSeeds(
  seeds: readonly string[],
  { jobs = availableParallelism(), goesOn = false, onDone }: ClusterSeedsOptions = {},
): Promise<readonly ClusterSimulationReport[]> {
  return runSeeds<ClusterSimulationReport>({
    entry: new URL("cluster-simulation.child", import.meta.url),
    task: undefined,
    seeds,
    jobs,
    isLast: ({ findings }) => !goesOn && findings.length > 0,
    ...(onDone === undefined ? {} : { onDone }),
  });
}

/** Fails, with all that is needed to replay it, where something was found in the run. */
export async function assertNothingFound(report: ClusterSimulationReport): Promise<void> {
  const { seed, findings } = report;
  if (findings.length === 0) return;
  const { notes } = await simulateCluster({ seed, ...options, keepsNotes: true });
  const replay = `SEED=${seed} node --import tsx --test test/cluster-simulation.test.ts`;
  assert.fail(clusterFailureText({ ...report, notes }, replay));
}
