import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Refused } from "../../base/errors.ts";
import { runLoop } from "./closed-loop.ts";
import { Latencies } from "./latencies.ts";

describe("latencies", () => {
  test("give quantiles to within 2 %, of whatever is added", () => {
    const latencies = new Latencies();
    assert.equal(latencies.quantileMs(0.5), undefined);
    const values = Array.from({ length: 1000 }, (_, i) => 0.01 * 1.01 ** i);
    for (const value of values) latencies.add(value);
    for (const quantile of [0.001, 0.5, 0.9, 0.99, 0.999, 1]) {
      const exact = values[Math.ceil(quantile * values.length) - 1]!;
      const found = latencies.quantileMs(quantile)!;
      assert.ok(found >= exact * 0.999 && found <= exact * 1.021, `${quantile}: ${found} for ${exact}`);
    }
    assert.equal(latencies.count, 1000);
    latencies.add(0);
    latencies.add(1e9);
    assert.ok(latencies.quantileMs(0)! <= 0.00102);
    assert.ok(latencies.quantileMs(1)! >= 600_000 * 0.98);
  });
});

describe("a closed loop", () => {
  const still = { durationMs: 50, onProgress: () => undefined };

  test("has as many calls under way as there are callers, and counts refusals as answers", async () => {
    let open = 0;
    let openMax = 0;
    const { count, refusedCount, seconds } = await runLoop({
      ...still,
      concurrency: 3,
      call: async (index) => {
        open++;
        openMax = Math.max(openMax, open);
        await new Promise((resolve) => setImmediate(resolve));
        open--;
        if (index % 2 === 1) throw new Refused("odd");
      },
    });
    assert.equal(openMax, 3);
    assert.ok(count > 6 && seconds >= 0.05);
    assert.ok(Math.abs(refusedCount - count / 2) <= 2);
  });

  test("ends all callers at the first failure, and fails with it", async () => {
    let calls = 0;
    const failing = runLoop({
      concurrency: 4,
      durationMs: 60_000,
      onProgress: () => undefined,
      call: async (index) => {
        calls++;
        await new Promise((resolve) => setImmediate(resolve));
        if (index === 9) throw new Error("the tenth");
      },
    });
    await assert.rejects(failing, /the tenth/);
    assert.ok(calls <= 9 + 4);
  });
});
