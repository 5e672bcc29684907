/**
 * Metrics of this process, of Node and of its memory, by the field's usual names. Importing this module begins to measure the
 * delay of the event loop and garbage collection, once for the whole process: import it when somebody wants to know.
 */
import { collectDefaultMetrics, Registry } from "prom-client";

/** Gauges whose names end as a counter's must; the tools that check metrics refuse them. */
const misnamed = ["nodejs_active_handles_total", "nodejs_active_requests_total", "nodejs_active_resources_total"];

const registry = new Registry();
collectDefaultMetrics({ register: registry });
for (const name of misnamed) registry.removeSingleMetric(name);

/** Prometheus text of version 0.0.4. */
export async function processMetricsText(): Promise<string> {
  // The library writes `Nan` (a mean of nothing, say), the format knows `NaN` alone.
  return (await registry.metrics()).replaceAll(/ Nan$/gm, " NaN");
}
