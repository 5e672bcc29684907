import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../../src/base/random.ts";
import { Histogram } from "./histogram.ts";

describe("the histogram of latencies", () => {
  test("tells each percentile to within one part in 1,024 and never too low, against the sorted list", () => {
    const random = new SeededRandom("histogram");
    const histogram = new Histogram();
    const latencies: number[] = [];
    for (let i = 0; i < 20_000; i++) {
      // From a tenth of a microsecond to a hundred seconds, as many in each power of ten.
      const ms = 10 ** (random.next() * 9 - 4);
      latencies.push(ms);
      histogram.record(ms);
    }
    latencies.sort((a, b) => a - b);
    for (const share of [0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1]) {
      const exact = latencies[Math.max(0, Math.ceil(share * latencies.length) - 1)]!;
      const told = histogram.percentileMs(share);
      // Half a tick is lost to rounding.
      assert.ok(told >= exact - 0.00005, `${share}: ${told} is below ${exact}`);
      assert.ok(told <= exact * (1 + 1 / 1024) + 0.0001, `${share}: ${told} is too far above ${exact}`);
    }
  });

  test("counts everything, also what is too long for it", () => {
    const histogram = new Histogram();
    for (const ms of [0, -1, 0.00001, 1, 1e9]) histogram.record(ms);
    assert.equal(histogram.count, 5);
    assert.equal(histogram.percentileMs(0), 0);
    assert.ok(histogram.percentileMs(1) > 200_000);
  });

  test("knows no percentile of nothing", () => {
    assert.ok(Number.isNaN(new Histogram().percentileMs(0.5)));
  });
});
