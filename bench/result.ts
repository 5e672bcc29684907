/** A result as it is printed and kept: one line of JSON each, with the names that `docs/performance.md` explains. */
import type { Measurement } from "./measurement.ts";
import { isOnefold, type OnefoldEngine, type Opponent, type Transport } from "./subject/subject.ts";

export type Engine = OnefoldEngine | Opponent;

/** A line's fields; absent ratios are null, so that every line has the same. */
export interface ResultLine {
  readonly workload: string;
  /** For what Onefold is held against, its own protocol's name. */
  readonly transport: Transport | "resp" | "postgres";
  readonly engine: Engine;
  readonly concurrency: number;
  readonly operations_per_second: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly p999_ms: number;
  readonly limit_ratio: number | null;
  /**
   * Where every operation writes, p50 against one bare append: in process at concurrency 1 against one synced write; in a cluster against a
   * message to a plain stream on three servers, published to by as many callers.
   */
  readonly p50_to_bare_append: number | null;
  /** In a cluster: throughput against such a stream. */
  readonly plain_stream_throughput_ratio: number | null;
  /** In a cluster: throughput against `counter` at the same concurrency in this run. */
  readonly counter_throughput_ratio: number | null;
  /** Processors that the load's own process kept busy; in process that is Onefold too. */
  readonly load_cpu: number;
  readonly redis_throughput_ratio: number | null;
  readonly redis_p50_ratio: number | null;
  readonly postgres_throughput_ratio: number | null;
  readonly postgres_p50_ratio: number | null;
}

/** `others`: lines of this run that were there before, among them what this one is held against. */
export function resultLine(
  place: Pick<ResultLine, "engine" | "transport">,
  { workload, concurrency, measured, limit }: Measurement,
  others: readonly ResultLine[],
): ResultLine {
  const ratios = (opponent: Opponent) => {
    const other = others.find(
      (line) => line.engine === opponent && line.workload === workload && line.concurrency === concurrency,
    );
    if (other === undefined || !isOnefold(place.engine)) return { throughput: null, p50: null };
    return {
      throughput: rounded(measured.operationsPerSecond / other.operations_per_second),
      p50: rounded(measured.p50Ms / other.p50_ms),
    };
  };
  const counter = others.find(
    (line) =>
      line.workload === "counter" &&
      line.engine === place.engine &&
      line.transport === place.transport &&
      line.concurrency === concurrency,
  );
  const isBesideCounter = place.engine === "nats" && workload !== "counter" && counter !== undefined;
  const redis = ratios("redis");
  const postgres = ratios("postgres");
  return {
    workload,
    transport: place.transport,
    engine: place.engine,
    concurrency,
    operations_per_second: Math.round(measured.operationsPerSecond),
    p50_ms: rounded(measured.p50Ms),
    p99_ms: rounded(measured.p99Ms),
    p999_ms: rounded(measured.p999Ms),
    limit_ratio: ratio(measured.operationsPerSecond, limit?.operationsPerSecond),
    p50_to_bare_append: ratio(measured.p50Ms, limit?.appendP50Ms),
    plain_stream_throughput_ratio: ratio(measured.operationsPerSecond, limit?.plainStreamPerSecond),
    counter_throughput_ratio: isBesideCounter
      ? ratio(measured.operationsPerSecond, counter.operations_per_second)
      : null,
    load_cpu: rounded(measured.loadCpu),
    redis_throughput_ratio: redis.throughput,
    redis_p50_ratio: redis.p50,
    postgres_throughput_ratio: postgres.throughput,
    postgres_p50_ratio: postgres.p50,
  };
}

function ratio(value: number, of: number | undefined): number | null {
  return of === undefined ? null : rounded(value / of);
}

/** Four significant digits: as much as there is to know, whether much or little. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
