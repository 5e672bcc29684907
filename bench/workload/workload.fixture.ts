/** Runs workloads as the benchmark does, but for a moment and on little. */
import assert from "node:assert/strict";
import { type Measurement, measurements } from "../measurement.ts";
import type { Subject } from "../subject/subject.ts";
import type { Operations } from "./operations.ts";
import { type Sizes, workloadFamilies } from "./workload.ts";

/** As little as shows whether it works. */
const sizes: Sizes = { counters: 20, accounts: 20, bookItems: 2000, rows: 200, customers: 50, hotCustomers: 5 };

export interface MomentOptions {
  readonly seconds: number;
  readonly limitSeconds: number;
  readonly concurrencies: readonly number[];
  /** All if absent. */
  readonly only?: string;
}

/** Measures the workloads; rejects where a check does not hold. */
export async function measureMoment(subject: Subject, options: MomentOptions): Promise<readonly Measurement[]> {
  const { seconds, limitSeconds, concurrencies, only } = options;
  const workloads = workloadFamilies(sizes)
    .flatMap((family) => family.workloads)
    .filter(({ name }) => only === undefined || name === only);
  assert.ok(workloads.length > 0, `there is a workload ${only}`);
  const results: Measurement[] = [];
  for await (const result of measurements(subject, workloads, {
    concurrencies,
    seconds,
    firstWarmSeconds: 0.01,
    limitSeconds,
    onBegin: () => undefined,
  })) {
    results.push(result);
  }
  assert.equal(results.length, workloads.length * concurrencies.length);
  return results;
}

/** A subject of these operations alone. */
export function subjectOf(operations: Operations): Subject {
  return { operations, mark: () => async () => undefined, close: async () => undefined };
}
