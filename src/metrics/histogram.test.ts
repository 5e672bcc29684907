import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { bytesBounds, Histogram, secondsBounds } from "./histogram.ts";

describe("a histogram", () => {
  test("counts as sorting the values would, for any values", () => {
    const values = fc.array(fc.oneof(fc.double({ min: 0, max: 100, noNaN: true }), fc.constantFrom(...secondsBounds)));
    fc.assert(
      fc.property(values, (observed) => {
        const histogram = new Histogram(secondsBounds);
        for (const value of observed) histogram.observe(value);
        assert.deepEqual(
          histogram.cumulative,
          secondsBounds.map((bound) => observed.filter((value) => value <= bound).length),
        );
        assert.equal(histogram.count, observed.length);
        const sum = observed.reduce((total, value) => total + value, 0);
        assert.equal(histogram.sum, sum);
      }),
    );
  });

  test("has bounds that ascend", () => {
    for (const bounds of [secondsBounds, bytesBounds]) {
      assert.deepEqual(
        bounds,
        [...bounds].sort((a, b) => a - b),
      );
    }
  });
});
