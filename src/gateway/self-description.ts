/** What a node says of itself to programs: its interface (OpenAPI) and its metrics (Prometheus). */
import { assertMayMeasure } from "./access.ts";
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
 * `GET /metrics`, scope `metrics` or `inspect`: numbers of the node, of all tenants together.
 */
export const readMetrics: OperationHandler = async ({ metricsText }, call) => {
  parseQueryString(call.queryText, []);
  assertMayMeasure(call.principal);
  return { status: 200, contentType: metricsContentType, body: await metricsText() };
};
