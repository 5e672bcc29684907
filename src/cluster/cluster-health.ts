/** What a node of a cluster says of itself. */
import { quarantineProblem } from "../entity/suspects.ts";
import type { Health } from "../entity/service.ts";
import { quarantinedEntities } from "./suspect-fold.ts";
import { awaitsSystem } from "./promotion-fold.ts";
import type { LocalShards, ShardMap, Standing } from "./local-shards.ts";

export interface HealthParts {
  readonly map: ShardMap;
  readonly local: LocalShards;
  readonly standing: Standing;
}

/**
 * Ready means progress: the cluster is founded, this node's renewals commit, and no shard that it owns is stuck. `sequence` is the
 * system log's, which grows with every renewal.
 */
export function clusterHealth({ map, local, standing }: HealthParts, openCalls: number): Health {
  const { cluster, shards, sequence } = map.state;
  const isWaiting = awaitsSystem(map.state);
  const problems: string[] = [];
  let queuedCalls = openCalls;
  if (cluster === undefined) problems.push("The cluster is not founded yet.");
  if (isWaiting) problems.push("The cluster waits for its system, which is being moved to it.");
  if (standing.isCutOff) problems.push("unavailable: this node is cut off from the cluster's majority.");
  const words = { ended: "nodes", command: "onefold cluster suspects" };
  const quarantine = quarantineProblem(quarantinedEntities(map.state), words);
  if (quarantine !== undefined) problems.push(quarantine);
  let isStuck = false;
  for (const { id, status, owner } of shards.values()) {
    if (status === "retired") continue;
    if (owner === undefined || status === "quarantined")
      problems.push(`The shard ${id} is not served: ${status}, owner ${owner ?? "none"}.`);
    const health = local.owned(id)?.health();
    if (health === undefined) continue;
    queuedCalls += health.queuedCalls;
    isStuck ||= health.state === "stopped";
    for (const problem of health.problems) problems.push(`shard ${id}: ${problem}`);
  }
  const state = cluster === undefined || isWaiting || standing.isCutOff || isStuck ? "starting" : "ready";
  return { state, sequence, appliedSequence: sequence, queuedCalls, problems };
}
