/** How the nodes of a simulated cluster stand to its shards. */
import { presentShards } from "../../cluster/system-state.ts";
import type { ServingNode, SimulatedCluster } from "./simulated-cluster.ts";

/** Why not every shard is served by the owner that it is to have, with none about to get another; undefined where that is so. */
export function unserved(cluster: SimulatedCluster): string | undefined {
  const { serving } = cluster;
  const state = serving[0]?.cluster.systemLog.state;
  if (state === undefined) return "no node serves";
  const shards = presentShards(state);
  const isServed = shards.every(({ id, owner, movingTo }) => {
    const isOwner = ({ cluster: node }: ServingNode): boolean =>
      node.memberId === owner && node.shards?.owned(id) !== undefined;
    return movingTo === undefined && serving.some(isOwner);
  });
  return shards.length > 0 && isServed ? undefined : standing(cluster);
}

/** Who is what, as the first node that serves has read it: for people. */
function standing({ serving }: SimulatedCluster): string {
  const state = serving[0]!.cluster.systemLog.state;
  const shards = [...state.shards.values()].map(
    ({ id, status, log, owner, followers, assignment, movingTo }) =>
      `shard ${id}: ${status}, log ${log}, owner ${owner} (${assignment}), followers ${followers.join(" ")}, moving to ${movingTo}`,
  );
  const members = [...state.members.values()].map(({ id, status }) => `member ${id}: ${status}`);
  const nodes = serving.map(
    ({ name, cluster: node }) =>
      `node ${name} is ${node.memberId}, ${node.isCutOff ? "cut off" : "in touch"}; owns ${node.shards?.ownedCount}`,
  );
  return [...shards, ...members, ...nodes, `controller ${state.controller?.member}`].join("\n");
}
