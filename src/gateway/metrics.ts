/**
 * The node's metrics as Prometheus text: `GET /metrics`, and the gateway's own.
 *
 * M-1  A scrape reads numbers that are there anyway; scrapes that overlap share one reading (G9).
 * M-2  A metric that can't be read is left out and reported; the others are answered.
 */
import { type Metric as PrometheusMetric, Registry } from "prom-client";
import type { Trace } from "../host/host.ts";
import { Histogram, secondsBounds } from "../metrics/histogram.ts";
import type { DistributionSample, Labels, Metric } from "../metrics/metric.ts";

/** What the gateway shows besides its own metrics. */
export interface MetricsSource {
  readonly metrics: readonly Metric[];
  /** Metrics of the process, as Prometheus text that ends in a line break. */
  readonly processText?: () => Promise<string>;
}

export const metricsContentType = Registry.PROMETHEUS_CONTENT_TYPE;

export class MetricsPage {
  readonly #registry = new Registry();
  readonly #processText: (() => Promise<string>) | undefined;
  #underWay: Promise<string> | undefined;

  constructor(source: MetricsSource, trace: Trace) {
    this.#processText = source.processText;
    for (const metric of source.metrics) this.#registry.registerMetric(exposed(metric, trace));
  }

  /** Text of version 0.0.4. */
  text(): Promise<string> {
    this.#underWay ??= this.#read().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  async #read(): Promise<string> {
    const [own, process] = await Promise.all([this.#registry.metrics(), this.#processText?.()]);
    return process === undefined ? own : `${own}\n${process}`;
  }
}

interface ExposedValue {
  readonly value: number;
  readonly labels: Labels;
  readonly metricName?: string;
}

/** In the form that the library writes: it asks a metric for nothing but its name, when it is registered, and `get`. */
function exposed(metric: Metric, trace: Trace): PrometheusMetric {
  const { name, help, type } = metric;
  const get = async (): Promise<object> => {
    try {
      return { name, help, type, aggregator: "sum", values: await valuesOf(metric) };
    } catch (error) {
      trace("warn", "A metric could not be read; it is left out of /metrics. Report it with these fields.", {
        metric: name,
        error,
      });
      return { name, help, type, aggregator: "sum", values: [] };
    }
  };
  return { name, get } as unknown as PrometheusMetric;
}

async function valuesOf(metric: Metric): Promise<readonly ExposedValue[]> {
  if (metric.type === "histogram") return metric.read().flatMap((sample) => distributionValues(metric.name, sample));
  const samples = await metric.read();
  return samples.map(({ labels, value }) => ({ labels: labels === undefined ? {} : withoutEmpty(labels), value }));
}

function distributionValues(name: string, sample: DistributionSample): readonly ExposedValue[] {
  const { histogram } = sample;
  const labels = sample.labels === undefined ? {} : withoutEmpty(sample.labels);
  const { bounds, cumulative, count, sum } = histogram;
  return [
    ...bounds.map((bound, index) => ({
      metricName: `${name}_bucket`,
      labels: { ...labels, le: String(bound) },
      value: cumulative[index]!,
    })),
    { metricName: `${name}_bucket`, labels: { ...labels, le: "+Inf" }, value: count },
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ];
}

/** To Prometheus an empty label and an absent one are the same. */
function withoutEmpty(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ""));
}

/** Methods that have a label of their own: a caller may send any word for one. */
const knownMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "DELETE", "OPTIONS"]);
/** The route of requests that match none. */
const noRoute = "none";

/** Counts requests by route, method and status: none of them is a caller's word. */
export class RequestMeters {
  readonly #routes = new Map<string, { readonly counts: Map<string, number>; readonly duration: Histogram }>();

  /** `patterns` are all routes that there are. */
  constructor(patterns: Iterable<string>) {
    for (const pattern of [...patterns, noRoute]) {
      this.#routes.set(pattern, { counts: new Map(), duration: new Histogram(secondsBounds) });
    }
  }

  /** Notes a reply. `pattern` is undefined where no route matched, `ms` where the request ended before its clock began. */
  note(pattern: string | undefined, method: string, status: number, ms: number | undefined): void {
    const route = this.#routes.get(pattern ?? noRoute) ?? this.#routes.get(noRoute)!;
    const key = `${knownMethods.has(method) ? method : "other"} ${status}`;
    route.counts.set(key, (route.counts.get(key) ?? 0) + 1);
    if (ms !== undefined) route.duration.observe(ms / 1000);
  }

  get metrics(): readonly Metric[] {
    return [
      {
        type: "counter",
        name: "onefold_http_requests_total",
        help: "Replies over HTTP by route, method and status. Rising 5xx: look at the node's log; 429 and 503: at its load; 401 and 403: at who calls.",
        read: () =>
          [...this.#routes].flatMap(([route, { counts }]) =>
            [...counts].map(([key, value]) => {
              const [method = "", status = ""] = key.split(" ");
              return { labels: { route, method, status }, value };
            }),
          ),
      },
      {
        type: "histogram",
        name: "onefold_http_request_duration_seconds",
        help: "From a request's accepted head to its reply. Much more than onefold_call_duration_seconds: bodies arrive slowly, or authenticate is slow.",
        read: () =>
          [...this.#routes]
            .filter(([, { duration }]) => duration.count > 0)
            .map(([route, { duration }]) => ({ labels: { route }, histogram: duration })),
      },
    ];
  }
}

/** What is open just now at a gateway. */
export function openMetrics(read: {
  readonly requests: () => number;
  readonly httpConnections: () => number;
  readonly sockets: () => number;
}): readonly Metric[] {
  return [
    {
      type: "gauge",
      name: "onefold_http_requests_open",
      help: "Requests over HTTP that are under way. Near 4096 the node answers overloaded: add nodes, or find who sends so much.",
      read: () => [{ value: read.requests() }],
    },
    {
      type: "gauge",
      name: "onefold_connections",
      help: "Connections that are open, by transport. Near 4096 in all, further ones are refused.",
      read: () => [
        { labels: { transport: "http" }, value: read.httpConnections() },
        { labels: { transport: "websocket" }, value: read.sockets() },
      ],
    },
  ];
}
