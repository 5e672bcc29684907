/**
 * The bank: transfers between a few accounts, which are in different shards, and audits of all of them at once.
 *
 * BA1 Every audit, and the accounts at the end, sum up to what there was at the start.
 * BA2 Each account ends with what its acknowledged transfers say, give or take those of unknown outcome.
 */
import type { SeededRandom } from "../../src/base/random.ts";
import {
  type Balances,
  checkConservation,
  checkTotals,
  type Finding,
  HistoryRecorder,
  type Increment,
} from "../../src/sim/checkers/index.ts";
import type { Caller } from "./caller.ts";
import { startCents } from "./system.ts";
import { outcomeOf, type Workload } from "./workload.ts";

const accounts = Array.from({ length: 8 }, (_, index) => `a${index}`);
const auditShare = 0.2;

export class Bank implements Workload {
  readonly name = "bank";
  readonly promise = "conserved money, strictly serializable transfers";
  readonly #audits = new HistoryRecorder<null, Balances>();
  readonly #changes = new HistoryRecorder<Increment, null>();

  async operate(caller: Caller, random: SeededRandom): Promise<void> {
    if (random.chance(auditShare)) return this.#audit(caller);
    const [from, to] = random.shuffle(accounts) as [string, string];
    const cents = random.between(1, 300);
    const taken = this.#changes.invoke(caller.name, { key: from, by: -cents });
    const put = this.#changes.invoke(caller.name, { key: to, by: cents });
    const result = await caller.call((client) => client.transfer({ from, to, cents }));
    for (const each of [taken, put]) each.complete(outcomeOf(result, () => null));
  }

  async #audit(caller: Caller): Promise<void> {
    const invocation = this.#audits.invoke(caller.name, null);
    const result = await caller.call((client) => client.audit({ accounts }));
    invocation.complete(outcomeOf(result, balancesOf));
  }

  async judge(judge: Caller): Promise<readonly Finding[]> {
    const invocation = this.#audits.invoke(judge.name, null);
    const balances = balancesOf(await judge.ask((client) => client.audit({ accounts })));
    invocation.complete({ kind: "ok", output: balances });
    const changes = new Map(accounts.map((account) => [account, balances[account]! - startCents]));
    return [
      ...checkConservation(this.#audits.history(), {
        total: accounts.length * startCents,
        accounts: new Set(accounts),
      }),
      ...checkTotals(this.#changes.history(), changes),
    ];
  }

  queries(): ReturnType<Workload["queries"]> {
    return accounts.map((id) => ({ kind: "account", id, query: "cents" }));
  }
}

function balancesOf(cents: readonly number[]): Balances {
  return Object.fromEntries(accounts.map((account, index) => [account, cents[index]!]));
}
