/**
 * A user's system under simulated faults: workloads of the user's own run on one node, or on a cluster of several, while what can
 * go wrong goes wrong, and the user's own invariants are held against what is left.
 *
 * Y1  One seed (and plan, where one is given) gives one run: the same faults at the same moments, the same answers, the same `traceHash`.
 * Y2  A workload's client is the ordinary one: what it was not answered it sends again, so it sees business errors only.
 * Y3  Invariants are checked while the workloads go on (on one node after each of its crashes), at the end, and after one more crash, of
 *     everything at once, without faults.
 * Y4  After the faults everything must be answered within a bound of virtual time.
 */
import { OnefoldError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import { isShardCount } from "../../cluster/system-records.ts";
import type { SystemHandle } from "../../entity/definition.ts";
import { TimeLimit } from "../../host/node/time-limit.ts";
import type { CallLimit } from "./call-limit.ts";
import { ClusterSimulation } from "./cluster-simulation.ts";
import { LoneSimulation } from "./lone-simulation.ts";
import { systemFaults } from "./node-faults.ts";
import { nodesMax, type SystemSimulationOptions, type SystemSimulationReport, workloadsDefault } from "./simulation.ts";
import { clusterSystemFaults } from "./simulation-plan.ts";

/**
 * Runs `system` once under faults. Throws `SimulationFailure`, with the seed, a transcript and (of a cluster) the plan of faults, where
 * something is wrong, and `invalid-configuration` (retry `never`) for options that make no sense.
 */
export async function simulate<S extends SystemHandle>(
  system: S,
  options: SystemSimulationOptions<S>,
): Promise<SystemSimulationReport> {
  return simulateUnder(system, options, new TimeLimit());
}

/** The same, with another limit of real time for each call of user code. */
export async function simulateUnder<S extends SystemHandle>(
  system: S,
  options: SystemSimulationOptions<S>,
  limit: CallLimit,
): Promise<SystemSimulationReport> {
  assertOptions(options);
  const { nodes = 1 } = options;
  return nodes === 1
    ? new LoneSimulation(system, options, limit).run()
    : new ClusterSimulation(system, nodes, options, limit).run();
}

type Checked = Pick<SystemSimulationOptions<SystemHandle>, "nodes" | "shards" | "faults" | "workloads" | "plan">;

function assertOptions({ nodes = 1, shards, faults = [], workloads = workloadsDefault, plan }: Checked): void {
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > nodesMax) {
    throw invalid(`The number of nodes is a whole number from 1 to ${nodesMax}.`);
  }
  if (shards !== undefined && nodes === 1) throw invalid("One node alone has no shards.");
  if (shards !== undefined && !isShardCount(shards)) {
    throw invalid(`The number of shards is a power of two from 1 to ${limits.shardsMax}.`);
  }
  const known: readonly string[] = nodes === 1 ? systemFaults : clusterSystemFaults;
  const unknown = faults.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const where = nodes === 1 ? "one node" : "a cluster";
    throw invalid(`There is no fault '${unknown}' of ${where}; there is ${known.join(", ")}.`);
  }
  if (!Number.isInteger(workloads) || workloads < 1) throw invalid("The number of workloads is a whole number from 1.");
  if (plan === undefined) return;
  if (nodes === 1) throw invalid("A plan is for a cluster: what goes wrong on one node follows from its seed.");
  const strange = plan.events.find(({ kind }) => !known.includes(kind));
  if (strange !== undefined) throw invalid(`The plan has a fault '${strange.kind}', which there is not.`);
}

function invalid(message: string): OnefoldError {
  return new OnefoldError("invalid-configuration", message);
}
