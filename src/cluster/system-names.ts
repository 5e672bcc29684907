/**
 * The cluster's system logs: `system`, and after each repair its successor, `system-1`, `system-2`, … The newest that has a record is the
 * one that counts.
 *
 * Each has a range of sequences of its own, which its name gives. So whoever begins a successor begins it at the same sequence, however
 * far its copy of the old log reaches, and the first append decides; and of any two records the later one has the higher sequence.
 */
import { assert } from "../base/assert.ts";
import type { EngineLog, LogEngine } from "../log/engine-log.ts";

/** Of each system log: at a thousand a second, 34 years. */
const recordsMax = 2 ** 40;
/** All sequences are below 2^53. */
export const successorsMax = 2 ** 13 - 1;

export interface SystemLogPlace {
  /** 0 for `system`, which was founded; then one more for each successor. */
  readonly index: number;
  readonly log: EngineLog;
}

export function systemLogName(index: number): string {
  assert(index <= successorsMax, "a system log was repaired more often than sequences allow");
  return index === 0 ? "system" : `system-${index}`;
}

/** Undefined for what is no system log's name. */
export function indexOfName(name: string): number | undefined {
  const match = /^system(?:-([1-9]\d{0,3}))?$/.exec(name);
  return match === null ? undefined : Number(match[1] ?? 0);
}

/** The sequence of the log's first record. */
export function firstSequenceOf(index: number): number {
  return index * recordsMax + 1;
}

/** Which log the record of this sequence is in. */
export function indexOfSequence(sequence: number): number {
  return Math.floor((sequence - 1) / recordsMax);
}

/** The newest system log from `index` on that has, or had, a record; undefined where there is none. Throws `unavailable` (retry safe). */
export async function newestSystemLog(engine: LogEngine, from: number): Promise<SystemLogPlace | undefined> {
  let newest: SystemLogPlace | undefined;
  for (let index = from; index <= successorsMax; index++) {
    const log = await engine.open(systemLogName(index));
    if (log === undefined) break;
    const { first, last } = await log.bounds();
    if (last >= first || first > firstSequenceOf(index)) newest = { index, log };
  }
  return newest;
}
