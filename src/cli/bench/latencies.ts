/** Durations counted by size, in fixed memory, each to within 2 %: buckets grow by a constant factor. */

const factor = 1.02;
/** What is shorter counts as this. */
const shortestMs = 0.001;
/** Up to ten minutes. */
const bucketCount = Math.ceil(Math.log(600_000 / shortestMs) / Math.log(factor)) + 1;

export class Latencies {
  readonly #counts = new Float64Array(bucketCount);
  #count = 0;

  add(ms: number): void {
    const bucket = Math.ceil(Math.log(Math.max(ms, shortestMs) / shortestMs) / Math.log(factor));
    this.#counts[Math.min(bucket, bucketCount - 1)]!++;
    this.#count++;
  }

  get count(): number {
    return this.#count;
  }

  /** The upper bound of the bucket that holds this quantile (0 to 1); undefined before anything was added. */
  quantileMs(quantile: number): number | undefined {
    if (this.#count === 0) return undefined;
    let left = Math.max(1, Math.ceil(quantile * this.#count));
    let bucket = 0;
    for (; left > this.#counts[bucket]!; bucket++) left -= this.#counts[bucket]!;
    return shortestMs * factor ** bucket;
  }
}
