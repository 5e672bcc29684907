/**
 * A closed loop of callers: each makes its next call when it has the answer to the last one. It measures what so many callers get,
 * not what happens when calls arrive faster than they are answered.
 */
import { Refused } from "../../base/errors.ts";
import { Latencies } from "./latencies.ts";

export interface LoopOptions {
  /** Makes the `index`-th call, from 0. */
  readonly call: (index: number) => Promise<unknown>;
  readonly concurrency: number;
  readonly durationMs: number;
  /** Called about ten times a second with the part of the time that has passed. */
  readonly onProgress: (fraction: number) => void;
}

export interface LoopResult {
  readonly seconds: number;
  /** Answered calls, refusals among them. */
  readonly count: number;
  /** Calls that the system has refused: answers like others. */
  readonly refusedCount: number;
  readonly latencies: Latencies;
}

const progressMs = 100;

/** Rejects with the first failure that is not a refusal, after all callers have stopped. */
export async function runLoop(options: LoopOptions): Promise<LoopResult> {
  const { call, concurrency, durationMs, onProgress } = options;
  const latencies = new Latencies();
  const beganMs = performance.now();
  const endMs = beganMs + durationMs;
  let nextIndex = 0;
  let refusedCount = 0;
  let hasFailed = false;
  const caller = async (): Promise<void> => {
    while (!hasFailed && performance.now() < endMs) {
      const calledMs = performance.now();
      try {
        await call(nextIndex++);
      } catch (error) {
        if (!(error instanceof Refused)) {
          hasFailed = true;
          throw error;
        }
        refusedCount++;
      }
      latencies.add(performance.now() - calledMs);
    }
  };
  const timer = setInterval(() => onProgress(Math.min(1, (performance.now() - beganMs) / durationMs)), progressMs);
  try {
    const ends = await Promise.allSettled(Array.from({ length: concurrency }, caller));
    const failure = ends.find((end) => end.status === "rejected");
    if (failure !== undefined) throw failure.reason;
  } finally {
    clearInterval(timer);
  }
  return { seconds: (performance.now() - beganMs) / 1000, count: latencies.count, refusedCount, latencies };
}
