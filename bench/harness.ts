/** A closed loop of so many callers, each with one call under way, and what it measured. */
export interface Measured {
  readonly operations: number;
  readonly seconds: number;
  readonly operationsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

export interface LoopOptions {
  readonly concurrency: number;
  readonly seconds: number;
  /** The `index`-th operation; must throw if its result is wrong. */
  readonly operation: (index: number) => Promise<unknown>;
}

/** More operations than this in one loop are not kept for the percentiles; the rate counts them all. */
const latenciesMax = 4_000_000;

export async function closedLoop({ concurrency, seconds, operation }: LoopOptions): Promise<Measured> {
  const latencies = new Float64Array(latenciesMax);
  let started = 0;
  let finished = 0;
  const beganMs = performance.now();
  const untilMs = beganMs + seconds * 1000;
  const caller = async (): Promise<void> => {
    for (let startMs = performance.now(); startMs < untilMs; ) {
      await operation(started++);
      const endMs = performance.now();
      if (finished < latenciesMax) latencies[finished] = endMs - startMs;
      finished++;
      startMs = endMs;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, caller));
  const tookSeconds = (performance.now() - beganMs) / 1000;
  const sorted = latencies.subarray(0, Math.min(finished, latenciesMax)).sort();
  const percentile = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
  return {
    operations: finished,
    seconds: tookSeconds,
    operationsPerSecond: finished / tookSeconds,
    p50Ms: percentile(0.5),
    p99Ms: percentile(0.99),
    p999Ms: percentile(0.999),
  };
}
