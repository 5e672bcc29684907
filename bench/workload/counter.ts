/** Increments of counters, spread over many or all on one. Every one must be counted once. */
import assert from "node:assert/strict";
import { inPortions, sum } from "../load/closed-loop.ts";
import type { Operations } from "./operations.ts";
import type { Workload } from "./workload.ts";

/** `count` counters; one is as contended as can be. */
export function counterWorkload(name: string, count: number): Workload {
  let before = 0;
  const total = (operations: Operations) => sum(count, (i) => operations.counterValue(`${name}-${i}`));
  return {
    name,
    description: count === 1 ? "one counter that everybody increments" : `increments over ${count} counters`,
    readsPerOperation: 0,
    writesPerOperation: 1,
    async prepare(operations) {
      await inPortions(count, (i) => operations.increment(`${name}-${i}`));
      before = await total(operations);
    },
    operation: (operations, index) => operations.increment(`${name}-${(index * 7919) % count}`),
    async check(operations, done) {
      assert.equal((await total(operations)) - before, done, `${name}: every increment is counted once`);
    },
  };
}
