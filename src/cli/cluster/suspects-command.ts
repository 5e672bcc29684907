/** `onefold cluster suspects` and `lift`: entities that end nodes, and letting them serve again while the cluster runs. */
import type { SuspectView } from "../../wire/cluster-view.ts";
import { splitEntityPath } from "../entity-path.ts";
import { askNode, type NodeOptions, readNode } from "../node-client.ts";
import type { Output } from "../output.ts";
import { suspectText } from "../quarantine-command.ts";

/** Prints suspects of all tenants, those with most deaths first. Throws as `readNode` does. */
export async function clusterSuspects(options: NodeOptions, output: Output): Promise<void> {
  const answer = await readNode<{ readonly suspects: readonly SuspectView[] }>(options, "/v1/cluster/suspects");
  if (options.json === true) return output.result(JSON.stringify(answer));
  if (answer.suspects.length === 0) return output.result("No entity is in quarantine, and none is a suspect.");
  for (const suspect of answer.suspects) output.result(suspectText(suspect));
}

export interface LiftOptions extends NodeOptions {
  /** Only of this tenant. */
  readonly tenant?: string;
}

/** Throws as `askNode` does. */
export async function clusterLift(path: string, options: LiftOptions, output: Output): Promise<void> {
  const { kind, id } = splitEntityPath(path);
  const { tenant } = options;
  const { body } = await askNode({
    node: options,
    method: "POST",
    path: "/v1/cluster/lift",
    body: JSON.stringify({ kind, id, tenant }),
  });
  output.result(options.json === true ? body : `${kind}/${id} serves again.`);
}
