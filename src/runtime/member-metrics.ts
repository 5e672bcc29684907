/** What a node of a cluster tells of itself. Read when somebody asks. */
import type { ClusterNode } from "../cluster/cluster-node.ts";
import { quarantinedEntities } from "../cluster/suspect-fold.ts";
import { type Metric, type NumberMetric, type Sample, single } from "../metrics/metric.ts";
import type { MemberNode } from "./member.ts";
import { buildInfo, healthMetrics } from "./node-metrics.ts";

/** Gauges of `member`, which is no member at times: what it has nothing to tell of then is left out. */
export function memberMetrics(
  member: MemberNode,
  build: { readonly version: string; readonly system: string },
): readonly Metric[] {
  const ofNode =
    (read: (node: ClusterNode) => number): (() => readonly Sample[]) =>
    () =>
      single(member.node === undefined ? undefined : read(member.node));
  const gauge = (name: string, help: string, read: () => readonly Sample[]): NumberMetric => ({
    type: "gauge",
    name,
    help,
    read,
  });
  return [
    buildInfo({ ...build, engine: "nats" }),
    ...healthMetrics(() => member.service.health()),
    gauge(
      "onefold_cluster_cut_off",
      "1 while this node promises nothing because it can't reach the cluster's majority. For longer than some seconds: look at its network and at the engine.",
      ofNode(({ isCutOff }) => Number(isCutOff)),
    ),
    gauge(
      "onefold_cluster_controller",
      "1 on the node that decides placement. The sum over all nodes is 1, but for moments; at 0 for longer nothing moves.",
      ofNode(({ isController }) => Number(isController)),
    ),
    gauge(
      "onefold_cluster_members",
      "Nodes that are members, as this node knows. Below what you run: one is down.",
      ofNode(({ systemLog }) => [...systemLog.state.members.values()].filter(({ status }) => status !== "gone").length),
    ),
    gauge(
      "onefold_cluster_shards_unserved",
      "Shards that nobody owns, or that are quarantined, as this node knows. Above 0 for longer than a failover takes: read /v1/cluster.",
      ofNode(
        ({ systemLog }) =>
          [...systemLog.state.shards.values()].filter(
            ({ status, owner }) => status === "quarantined" || (status !== "retired" && owner === undefined),
          ).length,
      ),
    ),
    gauge(
      "onefold_cluster_shards_owned",
      "Shards that this node owns and serves.",
      ofNode(({ shards }) => shards?.ownedCount ?? 0),
    ),
    gauge(
      "onefold_quarantined_entities",
      "Entities that no node runs any more, because nodes died of them again and again. Above 0: 'onefold cluster suspects' names them; mend their code, then lift.",
      ofNode(({ systemLog }) => quarantinedEntities(systemLog.state).length),
    ),
    gauge(
      "onefold_cluster_system_sequence",
      "How far this node has read the system log, which grows with every renewal. Standing still: the engine has no majority, or can't be reached.",
      ofNode(({ systemLog }) => systemLog.state.sequence),
    ),
  ];
}
