/** `onefold cluster status`: nodes and shards, owners, epochs and lag, as a running node tells of them. */
import type { ClusterView, FollowerView, NodeView, ShardView } from "../../wire/cluster-view.ts";
import { type NodeOptions, readNode } from "../node-client.ts";
import type { Output } from "../output.ts";
import { type Column, countText, table } from "../text.ts";

/** Prints what `GET /v1/cluster` gives. Throws as `readNode` does. */
export async function clusterStatus(options: NodeOptions, output: Output): Promise<void> {
  const view = await readNode<ClusterView>(options, "/v1/cluster");
  output.result(options.json === true ? JSON.stringify(view) : clusterText(view, output));
}

const nodeColumns: readonly Column[] = [
  { title: "NODE" },
  { title: "STATUS" },
  { title: "OWNS", align: "right" },
  { title: "FOLLOWS", align: "right" },
  { title: "VERSION" },
  { title: "LABELS" },
  { title: "HTTP" },
];

const regionColumn: Column = { title: "REGION" };

const shardColumns: readonly Column[] = [
  { title: "SHARD" },
  { title: "STATUS" },
  { title: "OWNER" },
  { title: "EPOCH", align: "right" },
  { title: "SEQUENCE", align: "right" },
  { title: "QUEUED", align: "right" },
  { title: "FOLLOWERS (LAG)" },
];

/** For people: a line on the whole, then a table of nodes and one of shards. */
export function clusterText(view: ClusterView, output: Output): string {
  const unserved = view.shards.filter(({ isServed }) => !isServed).length;
  const state =
    unserved === 0 ? output.styled("good", "all shards are served") : output.styled("bad", `${unserved} not served`);
  const controller = view.controller === null ? output.styled("bad", "no controller") : `controller ${view.controller}`;
  const head = `${output.styled("strong", view.system)} (${view.engine}): ${view.nodes.length} nodes, ${view.shards.length} shards, ${state}, ${controller}`;
  return [head, "", table(nodeColumns, view.nodes.map(nodeRow), output), "", shardTable(view.shards, output)].join(
    "\n",
  );
}

/** With the region of each, where there are regions. */
function shardTable(shards: readonly ShardView[], output: Output): string {
  if (shards.every(({ region }) => region === null)) return table(shardColumns, shards.map(shardRow), output);
  const [id, ...columns] = shardColumns;
  const rows = shards.map((shard) => {
    const [idText, ...cells] = shardRow(shard);
    return [idText!, shard.region ?? "any", ...cells];
  });
  return table([id!, regionColumn, ...columns], rows, output);
}

function nodeRow({ name, status, answers, owned, followed, version, labels, httpUrl }: NodeView): readonly string[] {
  const labelText = Object.entries(labels).map(([label, value]) => `${label}=${value}`);
  return [
    name,
    answers ? status : `${status}, does not answer`,
    String(owned),
    String(followed),
    version,
    labelText.join(" "),
    httpUrl ?? "–",
  ];
}

function shardRow(shard: ShardView): readonly string[] {
  const { id, status, owner, isServed, movingTo, epoch, sequence, queuedCalls, followers } = shard;
  const number = (value: number | null): string => (value === null ? "–" : countText(value));
  const owned = owner === null ? "none" : isServed ? owner : `${owner}, not yet serving`;
  return [
    id,
    movingTo === null ? status : `${status}, moves to ${movingTo}`,
    owned,
    number(epoch),
    number(sequence),
    number(queuedCalls),
    followers.map(followerText).join(", "),
  ];
}

function followerText({ node, lagBatches }: FollowerView): string {
  return `${node} (${lagBatches === null ? "–" : countText(lagBatches)})`;
}
