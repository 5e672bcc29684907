import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededRandom } from "../../src/base/random.ts";
import { zipfianDraws } from "./zipfian.ts";

test("items are drawn as often as their rank says", () => {
  const items = 1000;
  const length = 200_000;
  const theta = 0.99;
  const counts = new Array<number>(items).fill(0);
  for (const item of zipfianDraws({ items, theta, length, random: new SeededRandom("zipfian") })) counts[item]!++;
  counts.sort((a, b) => b - a);
  let weight = 0;
  for (let rank = 1; rank <= items; rank++) weight += 1 / rank ** theta;
  for (const rank of [1, 2, 5, 20, 100]) {
    const expected = length / rank ** theta / weight;
    const drawn = counts[rank - 1]!;
    // Five standard deviations, and what sorting by the outcome adds.
    assert.ok(Math.abs(drawn - expected) < 5 * Math.sqrt(expected) + 0.05 * expected, `rank ${rank}: ${drawn}`);
  }
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    length,
  );
});

test("the same seed gives the same draws, and popular items stand apart", () => {
  const draws = () => zipfianDraws({ items: 100, theta: 0.99, length: 1000, random: new SeededRandom("again") });
  assert.deepEqual(draws(), draws());
  const counts = new Map<number, number>();
  for (const item of draws()) counts.set(item, (counts.get(item) ?? 0) + 1);
  const popular = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 5);
  assert.notDeepEqual(
    popular.map(([item]) => item),
    [0, 1, 2, 3, 4],
  );
});
