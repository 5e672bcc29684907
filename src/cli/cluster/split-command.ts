/** `onefold cluster split`: splits a shard, and waits until its parts are served. */
import type { ClusterView } from "../../wire/cluster-view.ts";
import { CommandFailure, exitCodes } from "../exit-code.ts";
import { askNode, type NodeOptions, readNode } from "../node-client.ts";
import type { Output } from "../output.ts";

export interface SplitOptions extends NodeOptions {
  readonly parts: number;
  /** How long to wait for the parts, in seconds; 0: only ask. */
  readonly wait: number;
}

const lookMs = 200;

/**
 * Prints the shards that came of it. Throws as `askNode` does, and `CommandFailure` (tryLater) where they are not served in time: it goes on
 * all the same.
 */
export async function clusterSplit(shard: string, options: SplitOptions, output: Output): Promise<void> {
  const before = await readNode<ClusterView>(options, "/v1/cluster");
  const slots = before.shards.find(({ id }) => id === shard)?.slots;
  await askNode({
    node: options,
    method: "POST",
    path: "/v1/cluster/split",
    body: JSON.stringify({ shard, parts: options.parts }),
  });
  const endMs = performance.now() + options.wait * 1000;
  while (performance.now() < endMs) {
    const { shards } = await readNode<ClusterView>(options, "/v1/cluster");
    const parts = shards.filter(
      (each) => slots !== undefined && slots.from <= each.slots.from && each.slots.to <= slots.to,
    );
    if (!parts.some(({ id }) => id === shard) && parts.every(({ isServed }) => isServed)) {
      const ids = parts.map(({ id }) => id);
      output.progress("");
      output.result(
        options.json === true ? JSON.stringify({ shard, parts: ids }) : `The shard ${shard} is ${ids.join(", ")} now.`,
      );
      return;
    }
    output.progress(`Splitting the shard ${shard}`);
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
  output.progress("");
  if (options.wait === 0) {
    output.result(options.json === true ? JSON.stringify({ shard, parts: null }) : `The shard ${shard} will be split.`);
    return;
  }
  throw new CommandFailure(
    exitCodes.tryLater,
    `The shard ${shard} is not split yet; it goes on. Look with: onefold cluster status`,
  );
}
