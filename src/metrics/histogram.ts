/** Counts values by size, in fixed memory. An observation costs a few comparisons and allocates nothing. */

/** From a tenth of a millisecond, less than a synced write takes, to the default deadline. */
export const secondsBounds: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

/** From one sector to the largest batch and beyond. */
export const bytesBounds: readonly number[] = [512, 2048, 8192, 32_768, 131_072, 524_288, 2_097_152];

export class Histogram {
  /** Ascending; a value counts in the first bucket whose bound it does not exceed. */
  readonly bounds: readonly number[];
  /** One more than bounds: the last one holds what exceeds them all. */
  readonly #counts: Float64Array;
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const { bounds } = this;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
    this.#counts[bucket]!++;
    this.#sum += value;
  }

  get sum(): number {
    return this.#sum;
  }

  get count(): number {
    return this.#counts.reduce((total, count) => total + count, 0);
  }

  /** How many values did not exceed each bound, in the order of the bounds. */
  get cumulative(): readonly number[] {
    let total = 0;
    return this.bounds.map((_bound, bucket) => {
      total += this.#counts[bucket]!;
      return total;
    });
  }
}
