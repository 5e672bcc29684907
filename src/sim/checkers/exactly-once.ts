/**
 * Exactly once: what each request was told, against how often it took hold in the end.
 *
 * EO1  An acknowledged request took hold once: neither `lost` nor `repeated`.
 * EO2  A request of unknown outcome took hold once or never: never `repeated`.
 * EO3  A request that certainly failed never took hold: else `refused-took-hold`.
 * EO4  Nothing took hold that nobody asked for: else `unasked`.
 * EO5  Where only a total is known, it is the acknowledged amounts plus those of some unknown requests: else `wrong-total`.
 */
import { assert } from "../../base/assert.ts";
import { type Finding, type History, placeOf } from "./history.ts";

export interface TaggedInput {
  readonly key: string;
  /** Names the request, for good: no two of one key have the same. */
  readonly id: string;
}

/** One taking hold, as the state at the end of the run remembers it. */
export interface Applied extends TaggedInput {}

/** EO1 to EO4, for state that remembers which requests it took in. */
export function checkExactlyOnce(
  history: History<TaggedInput, unknown>,
  applied: Iterable<Applied>,
): readonly Finding[] {
  const counts = new Map<string, { readonly applied: Applied; count: number }>();
  for (const each of applied) {
    const name = nameOf(each);
    const entry = counts.get(name);
    if (entry === undefined) counts.set(name, { applied: each, count: 1 });
    else entry.count++;
  }
  const findings: Finding[] = [];
  const asked = new Set<string>();
  for (const operation of history) {
    const { input, outcome } = operation;
    const name = nameOf(input);
    assert(!asked.has(name), `request ${input.id} of ${input.key} stands twice in the history`);
    asked.add(name);
    const count = counts.get(name)?.count ?? 0;
    const what = `request ${input.id} of ${input.key} by ${placeOf(operation)}`;
    if (outcome.kind === "fail" && count > 0) {
      findings.push({
        anomaly: "refused-took-hold",
        explanation: `${what} was refused, and took hold ${times(count)}.`,
      });
    } else if (count > 1) {
      findings.push({ anomaly: "repeated", explanation: `${what} is ${outcome.kind}, and took hold ${times(count)}.` });
    } else if (outcome.kind === "ok" && count === 0) {
      findings.push({ anomaly: "lost", explanation: `${what} was acknowledged, and has not taken hold.` });
    }
  }
  for (const [name, { applied: each, count }] of counts) {
    if (asked.has(name)) continue;
    const explanation = `${each.id} took hold ${times(count)} on ${each.key}, and nobody asked for it.`;
    findings.push({ anomaly: "unasked", explanation });
  }
  return findings;
}

export interface Increment {
  readonly key: string;
  readonly by: number;
}

/** Sums that are told apart for one key; beyond it only their bounds are checked. */
const sumsMax = 100_000;

/** EO5, for counters. `totals`: what each key counts at the end, 0 for one that is absent. Amounts are whole. */
export function checkTotals(
  history: History<Increment, unknown>,
  totals: ReadonlyMap<string, number>,
): readonly Finding[] {
  const byKey = new Map<string, { acknowledged: number; readonly unknown: number[] }>();
  for (const key of totals.keys()) byKey.set(key, { acknowledged: 0, unknown: [] });
  for (const { input, outcome } of history) {
    assert(Number.isSafeInteger(input.by), "amounts are whole");
    const entry = byKey.get(input.key) ?? { acknowledged: 0, unknown: [] };
    byKey.set(input.key, entry);
    if (outcome.kind === "ok") entry.acknowledged += input.by;
    if (outcome.kind === "unknown") entry.unknown.push(input.by);
  }
  const findings: Finding[] = [];
  for (const [key, { acknowledged, unknown }] of byKey) {
    const total = totals.get(key) ?? 0;
    if (isSumOfSome(total - acknowledged, unknown)) continue;
    const explanation = `${key} counts ${total}: ${acknowledged} is acknowledged, and ${total - acknowledged} is no sum of some of the ${unknown.length} amounts of unknown outcome.`;
    findings.push({ anomaly: "wrong-total", explanation });
  }
  return findings;
}

/** Exact as long as there are few different sums; then only between which sums the wanted one must be. */
function isSumOfSome(wanted: number, amounts: readonly number[]): boolean {
  let sums = new Set([0]);
  let [lowest, highest] = [0, 0];
  for (const amount of amounts) {
    lowest += Math.min(0, amount);
    highest += Math.max(0, amount);
    if (sums.size <= sumsMax) sums = new Set([...sums, ...[...sums].map((sum) => sum + amount)]);
  }
  return sums.size <= sumsMax ? sums.has(wanted) : lowest <= wanted && wanted <= highest;
}

function nameOf({ key, id }: TaggedInput): string {
  return JSON.stringify([key, id]);
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}
