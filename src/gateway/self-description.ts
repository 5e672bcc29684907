/** What a node says of itself to programs: its interface (OpenAPI) and its metrics (Prometheus). */
import { OnefoldError } from "../base/errors.ts";
import { jsonAnswer } from "./answer.ts";
import { metricsContentType } from "./metrics.ts";
import type { OperationHandler } from "./operations.ts";
import { parseQueryString } from "./query-string.ts";

/** `GET /openapi.json`: what the system has is its public face, so whoever may call may read it. */
export const readOpenApi: OperationHandler = async ({ openApiText }, call) => {
  parseQueryString(call.queryText, []);
  return jsonAnswer(openApiText);
};

/**
 * `GET /metrics`, scope `metrics` or `inspect`: numbers of the node, of all tenants together. A scraper needs no more than
 * `metrics`, which gives it nothing else. The system's `authorize` is about operations, and not asked.
 */
export const readMetrics: OperationHandler = async ({ metricsText }, call) => {
  parseQueryString(call.queryText, []);
  const { scopes } = call.principal;
  if (!["metrics", "inspect", "*"].some((scope) => scopes.includes(scope))) {
    throw new OnefoldError("forbidden", "This needs the scope metrics.", { details: { scope: "metrics" } });
  }
  return { status: 200, contentType: metricsContentType, body: await metricsText() };
};
