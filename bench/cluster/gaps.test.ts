import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { longestGapMs, slowestMs, spread } from "./gaps.ts";
import type { Answer } from "./light-load.ts";

const answer = (beganMs: number, endedMs: number, error?: string): Answer => ({ beganMs, endedMs, error });

describe("gaps of a shard's writes", () => {
  const answers = [
    answer(0, 10),
    answer(20, 30),
    answer(40, 900, "unavailable"),
    answer(910, 1000),
    answer(1010, 1020),
  ];

  test("reach from the last acknowledgement before the disturbance to the first behind it; failures are none", () => {
    assert.equal(longestGapMs(answers, 35), 970);
    assert.equal(longestGapMs(answers, 1005), 20);
    assert.equal(longestGapMs(answers, 1020), undefined);
    assert.equal(longestGapMs([answer(40, 50)], 35), 15);
  });

  test("the slowest write counts if it was still under way", () => {
    assert.equal(slowestMs(answers, 35), 860);
    assert.equal(slowestMs(answers, 950), 90);
    assert.equal(slowestMs(answers, 2000), undefined);
  });

  test("are summed up by their ranks", () => {
    assert.deepEqual(spread([3, 1, 2]), { count: 3, p50Ms: 2, p99Ms: 3, maxMs: 3 });
    assert.equal(spread([]), null);
  });
});
