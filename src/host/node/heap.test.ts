import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { heapGrowthPercent } from "./heap.ts";

describe("the growth of a serving program's heap", () => {
  test("is about the same number of bytes for a small heap and a large one, within its bounds", () => {
    const MiB = 1024 * 1024;
    const grown = [4, 25, 40, 80, 130, 1000].map((mib) => [mib, heapGrowthPercent(mib * MiB)]);
    assert.deepEqual(grown, [
      [4, 200],
      [25, 160],
      [40, 100],
      [80, 50],
      [130, 30],
      [1000, 30],
    ]);
  });
});
