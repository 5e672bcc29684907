/** `GET /v1/cluster`: nodes, shards, owners, epochs, lag. */
import { OnefoldError } from "../base/errors.ts";
import { parseTaggedJson } from "../base/tagged-json.ts";
import type { ClusterView, SuspectView } from "../wire/cluster-view.ts";
import { assertMayMeasure, authorize } from "./access.ts";
import { jsonAnswer } from "./answer.ts";
import type { OperationHandler } from "./operations.ts";
import { parseQueryString } from "./query-string.ts";

/** Who knows what `/v1/cluster` shows. */
export interface ClusterSource {
  /** Within a second or so, whoever does not answer. Throws `not-ready` (retry safe). */
  view(): Promise<ClusterView>;
  /**
   * Asks for a shard to be split into so many. Resolves when the request stands in the system log: the controller orders it soon. Throws
   * `not-found` (retry never) for a shard that there is not, `conflict` where it can't be asked (safe: not now; never: not at all),
   * `unavailable` and `not-ready` (safe).
   */
  split(shard: string, parts: number): Promise<void>;
  /** Of all tenants, those with most deaths first. Throws `not-ready` (retry safe). */
  suspects(): Promise<readonly SuspectView[]>;
  /**
   * Lets an entity serve again, of every tenant where none is named, and forgets its deaths: how many it was. Throws `not-found` (retry
   * never) for one that is no suspect, `conflict` (never) where that takes a stopped node, `unavailable` and `not-ready` (safe).
   */
  lift(entity: { readonly kind: string; readonly id: string; readonly tenant: string | undefined }): Promise<number>;
}

/** `POST /v1/cluster/split` with `{shard, parts}`: 202 once it is asked for. Scope `admin`, and `authorize` with the action `operate`. */
export const splitShard: OperationHandler = async ({ cluster, system, timers }, call) => {
  parseQueryString(call.queryText, []);
  await authorize(system.options, call.principal, { action: "operate", name: "split" }, timers, call.remainingMs);
  if (cluster === undefined) throw new OnefoldError("not-ready", "This node has no cluster to tell of.");
  const { shard, parts } = splitBody(call.body);
  await cluster.split(shard, parts);
  return { ...jsonAnswer(JSON.stringify({ shard, parts })), status: 202 };
};

function splitBody(body: Uint8Array | undefined): { readonly shard: string; readonly parts: number } {
  const given = body === undefined || body.length === 0 ? undefined : parseTaggedJson(body);
  if (typeof given === "object" && given !== null && "shard" in given && "parts" in given) {
    const { shard, parts, ...rest } = given as Readonly<Record<string, unknown>>;
    const isWhole = typeof parts === "number" && Number.isInteger(parts);
    if (typeof shard === "string" && isWhole && Object.keys(rest).length === 0) return { shard, parts };
  }
  throw new OnefoldError("malformed", 'The body must be {"shard": "…", "parts": 2}.');
}

/** Scope `metrics` or `inspect`: it tells nothing of any tenant. The system's `authorize` is about operations, and not asked. */
export const readCluster: OperationHandler = async ({ cluster }, call) => {
  parseQueryString(call.queryText, []);
  assertMayMeasure(call.principal);
  if (cluster === undefined) throw new OnefoldError("not-ready", "This node has no cluster to tell of.");
  return jsonAnswer(JSON.stringify(await cluster.view()));
};
