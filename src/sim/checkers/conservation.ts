/**
 * Conservation: transfers move money and make none.
 *
 * CO1  Every snapshot that was read sums up to the same total: else `not-conserved`.
 * CO2  A snapshot holds every account: one that misses some, or has others, is `incomplete-snapshot`.
 */
import { assert } from "../../base/assert.ts";
import { type Finding, type History, placeOf } from "./history.ts";

export interface Conserved {
  readonly total: number;
  readonly accounts: ReadonlySet<string>;
}

/** Balances by account; whole numbers, so that sums are exact. */
export type Balances = Readonly<Record<string, number>>;

/** `history`: reads of all accounts at once; those that are not `ok` saw nothing. */
export function checkConservation(
  history: History<unknown, Balances>,
  { total, accounts }: Conserved,
): readonly Finding[] {
  const findings: Finding[] = [];
  for (const operation of history) {
    if (operation.outcome.kind !== "ok") continue;
    const balances = operation.outcome.output;
    const missing = [...accounts].filter((account) => !Object.hasOwn(balances, account));
    const strange = Object.keys(balances).filter((account) => !accounts.has(account));
    if (missing.length + strange.length > 0) {
      const explanation = `the snapshot of ${placeOf(operation)} misses [${missing}] and has [${strange}], which are no accounts.`;
      findings.push({ anomaly: "incomplete-snapshot", explanation });
      continue;
    }
    let sum = 0;
    for (const balance of Object.values(balances)) sum += balance;
    assert(Number.isSafeInteger(sum), "balances are whole, and so is their sum");
    if (sum === total) continue;
    const difference = sum > total ? `${sum - total} too much` : `${total - sum} too little`;
    const shown = Object.entries(balances).map(([account, balance]) => `${account} ${balance}`);
    const explanation = `the snapshot of ${placeOf(operation)} sums up to ${sum}, ${difference}: ${shown.join(", ")}.`;
    findings.push({ anomaly: "not-conserved", explanation });
  }
  return findings;
}
