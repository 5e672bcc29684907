/** `GET /v1/cluster`: nodes, shards, owners, epochs, lag. */
import { OnefoldError } from "../base/errors.ts";
import type { ClusterView } from "../wire/cluster-view.ts";
import { jsonAnswer } from "./answer.ts";
import type { OperationHandler } from "./operations.ts";
import { parseQueryString } from "./query-string.ts";

/** Who knows what `/v1/cluster` shows. */
export interface ClusterSource {
  /** Within a second or so, whoever does not answer. Throws `not-ready` (retry safe). */
  view(): Promise<ClusterView>;
}

/** Scope `metrics` or `inspect`: it tells nothing of any tenant. The system's `authorize` is about operations, and not asked. */
export const readCluster: OperationHandler = async ({ cluster }, call) => {
  parseQueryString(call.queryText, []);
  const { scopes } = call.principal;
  if (!["metrics", "inspect", "*"].some((scope) => scopes.includes(scope))) {
    throw new OnefoldError("forbidden", "This needs the scope metrics.", { details: { scope: "metrics" } });
  }
  if (cluster === undefined) throw new OnefoldError("not-ready", "This node has no cluster to tell of.");
  return jsonAnswer(JSON.stringify(await cluster.view()));
};
