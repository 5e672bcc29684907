/** When each call of the run began, how long it took and what came of it: what the report draws. Times are ms since the run's start. */

export type CallKind = "ok" | "refused" | "fail" | "unknown";

export interface Sample {
  readonly workload: string;
  readonly atMs: number;
  readonly tookMs: number;
  readonly kind: CallKind;
}

export class Meter {
  readonly samples: Sample[] = [];
  readonly #startMs = performance.now();

  nowMs(): number {
    return performance.now() - this.#startMs;
  }

  note(workload: string, atMs: number, kind: CallKind): void {
    this.samples.push({ workload, atMs, tookMs: this.nowMs() - atMs, kind });
  }
}

/** The longest time within `from` … `to` in which no call was answered. */
export function longestPauseMs(samples: readonly Sample[], from: number, to: number): number {
  const ends = samples
    .filter(({ kind }) => kind === "ok" || kind === "refused")
    .map(({ atMs, tookMs }) => atMs + tookMs)
    .filter((endMs) => endMs > from && endMs < to)
    .sort((a, b) => a - b);
  let longest = 0;
  let last = from;
  for (const endMs of [...ends, to]) {
    longest = Math.max(longest, endMs - last);
    last = endMs;
  }
  return longest;
}

/** The value that this share of the others does not exceed; 0 of none. Sorted ascending. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
