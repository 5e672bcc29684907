/** `/v1/cluster/suspects` and `/v1/cluster/lift`: entities that end processes (G10). */
import { OnefoldError } from "../base/errors.ts";
import { parseTaggedJson } from "../base/tagged-json.ts";
import { authorize } from "./access.ts";
import { jsonAnswer } from "./answer.ts";
import type { OperationHandler } from "./operations.ts";
import { parseQueryString } from "./query-string.ts";

/** Those of all tenants. Scope `admin`, and `authorize` with the action `operate`. */
export const readSuspects: OperationHandler = async ({ cluster, system, timers }, call) => {
  parseQueryString(call.queryText, []);
  await authorize(system.options, call.principal, { action: "operate", name: "suspects" }, timers, call.remainingMs);
  if (cluster === undefined) throw new OnefoldError("not-ready", "This node has no cluster to tell of.");
  return jsonAnswer(JSON.stringify({ suspects: await cluster.suspects() }));
};

/** `POST` with `{kind, id}` and perhaps `tenant`: how many were lifted. Scope `admin`, and `authorize` with the action `operate`. */
export const liftSuspect: OperationHandler = async ({ cluster, system, timers }, call) => {
  parseQueryString(call.queryText, []);
  await authorize(system.options, call.principal, { action: "operate", name: "lift" }, timers, call.remainingMs);
  if (cluster === undefined) throw new OnefoldError("not-ready", "This node has no cluster to tell of.");
  return jsonAnswer(JSON.stringify({ lifted: await cluster.lift(liftBody(call.body)) }));
};

function liftBody(body: Uint8Array | undefined): {
  readonly kind: string;
  readonly id: string;
  readonly tenant: string | undefined;
} {
  const given = body === undefined || body.length === 0 ? undefined : parseTaggedJson(body);
  if (typeof given === "object" && given !== null) {
    const { kind, id, tenant, ...rest } = given as Readonly<Record<string, unknown>>;
    const isTenant = tenant === undefined || typeof tenant === "string";
    if (typeof kind === "string" && typeof id === "string" && isTenant && Object.keys(rest).length === 0) {
      return { kind, id, tenant };
    }
  }
  throw new OnefoldError("malformed", 'The body must be {"kind": "…", "id": "…"}, perhaps with "tenant".');
}
