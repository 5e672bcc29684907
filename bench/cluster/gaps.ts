/** What a disturbance did to a shard's writes, from what was answered when. Pure. */
import type { Answer } from "./light-load.ts";

/**
 * The longest time without an acknowledgement of the shard that ended after `fromMs`; undefined where none came after it. Reaches back to the
 * last one before.
 */
export function longestGapMs(answers: readonly Answer[], fromMs: number): number | undefined {
  const acknowledged = answers.filter(({ error }) => error === undefined);
  let longestMs: number | undefined;
  for (const [index, { endedMs }] of acknowledged.entries()) {
    if (endedMs <= fromMs) continue;
    const beforeMs = acknowledged[index - 1]?.endedMs ?? fromMs;
    longestMs = Math.max(longestMs ?? 0, endedMs - beforeMs);
  }
  return longestMs;
}

/** Of the writes that were under way at some moment from `fromMs` on, the slowest; undefined where there are none. */
export function slowestMs(answers: readonly Answer[], fromMs: number): number | undefined {
  const times = answers.filter(({ endedMs }) => endedMs > fromMs).map(({ beganMs, endedMs }) => endedMs - beganMs);
  return times.length === 0 ? undefined : Math.max(...times);
}

export interface Spread {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** The smallest value that so many of all are not above. Null for nothing. */
export function spread(values: readonly number[]): Spread | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number): number => Math.round(sorted[Math.ceil(part * sorted.length) - 1]! * 10) / 10;
  return { count: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}
