/**
 * Latencies by count: a histogram whose buckets grow with what they hold, as HdrHistogram's do (Gil Tene). Memory is fixed
 * whatever is recorded, and a percentile is right to within one part in 1,024.
 *
 * H1  What was recorded is counted once, in the bucket that holds it; nothing is sampled or dropped.
 * H2  A percentile is never told too low: it is the upper end of its bucket.
 */

/** The unit of the buckets: 0.1 µs, about what a clock of the platform tells apart. */
const ticksPerMs = 10_000;
/** Buckets between two powers of two; below twice as many ticks each has a bucket of its own. */
const stepBits = 10;
const steps = 1 << stepBits;
/** About 214 s; what takes longer is counted there. */
const ticksMax = 2 ** 31 - 1;

export class Histogram {
  readonly #counts = new Float64Array(indexOf(ticksMax) + 1);
  #count = 0;

  /** How many were recorded. */
  get count(): number {
    return this.#count;
  }

  /** Counts one latency; less than nothing counts as nothing. */
  record(ms: number): void {
    const ticks = Math.min(ticksMax, Math.max(0, Math.round(ms * ticksPerMs)));
    this.#counts[indexOf(ticks)]!++;
    this.#count++;
  }

  /** The latency in ms that this share (0 to 1) of all does not exceed; NaN where nothing was recorded. */
  percentileMs(share: number): number {
    if (this.#count === 0) return Number.NaN;
    const rank = Math.max(1, Math.ceil(share * this.#count));
    let seen = 0;
    for (let index = 0; index < this.#counts.length; index++) {
      seen += this.#counts[index]!;
      if (seen >= rank) return upperTicks(index) / ticksPerMs;
    }
    return ticksMax / ticksPerMs;
  }
}

/** Which bucket holds `ticks`: the highest bits of a number, and how many others it has. */
function indexOf(ticks: number): number {
  const shift = Math.max(0, 31 - stepBits - Math.clz32(ticks));
  return (shift << stepBits) + (ticks >>> shift);
}

/** The largest number of ticks in a bucket. */
function upperTicks(index: number): number {
  if (index < 2 * steps) return index;
  const shift = (index >>> stepBits) - 1;
  const lowest = (index - (shift << stepBits)) * 2 ** shift;
  return lowest + 2 ** shift - 1;
}
