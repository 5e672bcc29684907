/** For the tests of simulated clusters: how their runs are, and what a seed that fails is told by. */
import assert from "node:assert/strict";
import { type ClusterFault, clusterFaults, engineDamages } from "../src/sim/cluster/faults-plan.ts";
import { simulateCluster } from "../src/sim/cluster/simulate-cluster.ts";
import { clusterFailureText, type ClusterSummary } from "../src/sim/cluster/summary.ts";

/** The seed to replay, alone and with its trace: `SEED=17 node --import tsx --test test/cluster-simulation.test.ts`. */
export const replayedSeed = process.env.SEED;

/**
 * Those under which clusters are known to be live again after healing. A wild clock of an owner drives log time ahead by up to an hour,
 * and timers that are set then go off when the others' clocks have come there: that is no loss, but later than a run lasts.
 */
export const kinds: readonly ClusterFault[] = clusterFaults.filter(
  (kind) => !engineDamages.includes(kind) && !["failed-name", "bit-flip", "wild-clock"].includes(kind),
);

/** Short runs: many plans show more than long ones. */
export const options = { durationMs: 10_000, clientCount: 3, kinds };

export async function simulateClusterSeed(seed: string, summary: ClusterSummary): Promise<void> {
  const report = await simulateCluster({ seed, ...options });
  summary.add(report);
  if (report.findings.length === 0) return;
  const { notes } = await simulateCluster({ seed, ...options, keepsNotes: true });
  const replay = `SEED=${seed} node --import tsx --test test/cluster-simulation.test.ts`;
  assert.fail(clusterFailureText({ ...report, notes }, replay));
}
