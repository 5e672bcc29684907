/** One measurement after another: prepare, warm up, measure, check, and find out what the limit was. */
import { closedLoop, type Measured, warmConcurrency } from "./load/closed-loop.ts";
import type { Limit, Subject } from "./subject/subject.ts";
import type { Workload } from "./workload/workload.ts";

/** What was measured of one workload at one concurrency. */
export interface Measurement {
  readonly workload: string;
  readonly concurrency: number;
  readonly measured: Measured;
  /** Of the bare loop in this same run; absent for what is held against nothing. */
  readonly limit: Limit | undefined;
}

export interface MeasurementOptions {
  readonly concurrencies: readonly number[];
  /** Of each measurement; a third as long before it to warm up. */
  readonly seconds: number;
  /**
   * Of a workload's first loop, with many callers whatever is measured: one caller alone would be done long before all processes have
   * compiled what they do again and again.
   */
  readonly firstWarmSeconds: number;
  /** Of each loop that finds out a limit. Zero: no limits. */
  readonly limitSeconds: number;
  /** Told before each measurement. */
  readonly onBegin: (what: { readonly workload: string; readonly concurrency: number }) => void;
}

/**
 * Measures the workloads on the subject, in order, each at all concurrencies. Rejects with the first operation that failed or whose result was
 * wrong, and with the first check that did not hold.
 */
export async function* measurements(
  subject: Subject,
  workloads: readonly Workload[],
  options: MeasurementOptions,
): AsyncGenerator<Measurement> {
  const { concurrencies, seconds, firstWarmSeconds, limitSeconds, onBegin } = options;
  const { operations } = subject;
  for (const workload of workloads) {
    let isWarm = false;
    for (const concurrency of concurrencies) {
      onBegin({ workload: workload.name, concurrency });
      await workload.prepare(operations);
      // One series of indexes over all loops, so that the check knows how many there were.
      let done = 0;
      const loop = async (options: { readonly concurrency: number; readonly seconds: number }) => {
        const before = done;
        const measured = await closedLoop({
          ...options,
          operation: (index) => workload.operation(operations, before + index),
        });
        done += measured.operations;
        return measured;
      };
      if (!isWarm) await loop({ concurrency: warmConcurrency, seconds: firstWarmSeconds });
      isWarm = true;
      await loop({ concurrency, seconds: seconds / 3 });
      const meter = subject.mark();
      const measured = await loop({ concurrency, seconds });
      await workload.check(operations, done);
      const limit = limitSeconds > 0 ? await meter({ concurrency, seconds: limitSeconds, workload }) : undefined;
      yield { workload: workload.name, concurrency, measured, limit };
    }
  }
}
