/** Draws from a Zipfian distribution: item of rank r as often as 1 / r^theta. The skew of YCSB (Cooper et al., SoCC 2010). */
import type { SeededRandom } from "../../src/base/random.ts";

/**
 * `length` draws of items 0 to `items` - 1. Which item has which rank is random, so that popular ones don't stand side by side.
 * Exact, by search in the cumulated weights, so made beforehand: a load that draws while it runs would measure its dice.
 */
export function zipfianDraws(options: {
  readonly items: number;
  readonly theta: number;
  readonly length: number;
  readonly random: SeededRandom;
}): Uint32Array {
  const { items, theta, length, random } = options;
  const cumulated = new Float64Array(items);
  let total = 0;
  for (let rank = 0; rank < items; rank++) {
    total += 1 / (rank + 1) ** theta;
    cumulated[rank] = total;
  }
  const itemOfRank = random.shuffle(Array.from({ length: items }, (_, item) => item));
  const draws = new Uint32Array(length);
  for (let i = 0; i < length; i++) draws[i] = itemOfRank[rankOf(cumulated, random.next() * total)]!;
  return draws;
}

/** The first rank whose cumulated weight is above `weight`. */
function rankOf(cumulated: Float64Array, weight: number): number {
  let low = 0;
  let high = cumulated.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (cumulated[middle]! > weight) high = middle;
    else low = middle + 1;
  }
  return low;
}
