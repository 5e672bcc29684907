/** A run in numbers: what the report's tables and the result's JSON hold. Times in ms. */
import { longestPauseMs, quantile, type Sample } from "./meter.ts";
import { type FaultKind, faultKinds } from "./plan.ts";
import type { RunResult } from "./run.ts";
import type { Struck } from "./striker.ts";

export interface WorkloadTally {
  readonly workload: string;
  readonly calls: number;
  readonly ok: number;
  readonly refused: number;
  /** Gave up though nothing had happened, and without knowing whether something had. */
  readonly failed: number;
  readonly unknown: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly slowestMs: number;
  /** The longest time without any answer. */
  readonly pauseMs: number;
}

export interface FaultTally {
  readonly kind: FaultKind;
  readonly what: string;
  readonly count: number;
  readonly pauseMs: number;
  /** Of the calls that were under way while it lasted, or began soon after. */
  readonly slowestMs: number;
}

const slowestShownMax = 8;
/** Slower than what a busy machine explains. */
const slowMs = 5000;

/** The slowest calls, of those that were slow at all, in the order in which they were made. */
export function slowestCalls({ samples }: RunResult): readonly Sample[] {
  return samples
    .filter(({ tookMs }) => tookMs >= slowMs)
    .sort((a, b) => b.tookMs - a.tookMs)
    .slice(0, slowestShownMax)
    .sort((a, b) => a.atMs - b.atMs);
}

/** What a fault does may show after its end, until the next one begins, and so long at most. */
const wakeMs = 10_000;

export function workloadTallies({ workloads, samples, facedMs }: RunResult): readonly WorkloadTally[] {
  return workloads.map(({ name }) => {
    const own = samples.filter(({ workload, atMs }) => workload === name && atMs < facedMs);
    const sorted = own.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
    const count = (kind: Sample["kind"]): number => own.filter((sample) => sample.kind === kind).length;
    return {
      workload: name,
      calls: own.length,
      ok: count("ok"),
      refused: count("refused"),
      failed: count("fail"),
      unknown: count("unknown"),
      perSecond: Math.round((own.length / facedMs) * 10_000) / 10,
      p50Ms: round(quantile(sorted, 0.5)),
      p99Ms: round(quantile(sorted, 0.99)),
      slowestMs: round(sorted.at(-1) ?? 0),
      pauseMs: round(longestPauseMs(own, 0, facedMs)),
    };
  });
}

export function faultTallies(result: RunResult): readonly FaultTally[] {
  const byKind = new Map<FaultKind, Struck[]>();
  for (const each of result.struck) byKind.set(each.strike.kind, [...(byKind.get(each.strike.kind) ?? []), each]);
  return [...byKind].map(([kind, strikes]) => {
    const spans = strikes.map((each) => [each.fromMs, wakeEnd(each, result)] as const);
    const slowest = result.samples
      .filter(({ atMs, tookMs }) => spans.some(([from, to]) => atMs < to && atMs + tookMs > from))
      .reduce((most, { tookMs }) => Math.max(most, tookMs), 0);
    return {
      kind,
      what: faultKinds[kind],
      count: strikes.length,
      pauseMs: round(Math.max(...spans.map(([from, to]) => longestPauseMs(result.samples, from, to)))),
      slowestMs: round(slowest),
    };
  });
}

function wakeEnd({ toMs }: Struck, { struck, facedMs }: RunResult): number {
  const next = struck.map(({ fromMs }) => fromMs).filter((fromMs) => fromMs >= toMs);
  return Math.min(toMs + wakeMs, facedMs, ...next);
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
