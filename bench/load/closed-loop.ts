/**
 * The load: so many callers, each with one call under way, the next one as soon as it is answered (a closed loop).
 *
 * A closed loop does not ask how long a call would have waited that was not made because an earlier one was slow ("coordinated
 * omission"): its latencies are those of callers who wait, not of arrivals at a fixed rate.
 */
import { Histogram } from "./histogram.ts";

export interface Measured {
  readonly operations: number;
  readonly seconds: number;
  readonly operationsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  /** Processors that this process kept busy meanwhile: near 1 (or above), the load itself may have been the limit. */
  readonly loadCpu: number;
}

export interface LoopOptions {
  readonly concurrency: number;
  readonly seconds: number;
  /** The `index`-th operation, from 0; must throw if its result is wrong. */
  readonly operation: (index: number) => Promise<unknown>;
}

/** Callers that make enough calls for everything to be compiled soon, and overload nothing. */
export const warmConcurrency = 64;

/**
 * Runs operations for about `seconds` and resolves when all of them are answered. Rejects with the first operation's error.
 * At least one operation is run by each caller.
 */
export async function closedLoop({ concurrency, seconds, operation }: LoopOptions): Promise<Measured> {
  const histogram = new Histogram();
  let started = 0;
  let failed = false;
  const cpuBefore = process.cpuUsage();
  const beganMs = performance.now();
  const untilMs = beganMs + seconds * 1000;
  const caller = async (): Promise<void> => {
    let startMs = performance.now();
    do {
      await operation(started++);
      const endMs = performance.now();
      histogram.record(endMs - startMs);
      startMs = endMs;
    } while (startMs < untilMs && !failed);
  };
  try {
    await Promise.all(Array.from({ length: concurrency }, caller));
  } catch (error) {
    failed = true;
    throw error;
  }
  const tookSeconds = (performance.now() - beganMs) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  return {
    operations: histogram.count,
    seconds: tookSeconds,
    operationsPerSecond: histogram.count / tookSeconds,
    p50Ms: histogram.percentileMs(0.5),
    p99Ms: histogram.percentileMs(0.99),
    p999Ms: histogram.percentileMs(0.999),
    loadCpu: (cpu.user + cpu.system) / 1e6 / tookSeconds,
  };
}

/** Runs `run` for 0 up to `count`, so many at a time as fill a pipeline and overload nothing. */
export async function inPortions(count: number, run: (index: number) => Promise<unknown>): Promise<void> {
  const atOnce = 256;
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await run(next++);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
}

/** The sum of `read` for 0 up to `count`. */
export async function sum(count: number, read: (index: number) => Promise<number>): Promise<number> {
  let total = 0;
  await inPortions(count, async (index) => {
    const value = await read(index);
    total += value;
  });
  return total;
}
