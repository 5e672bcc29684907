/** An oracle of the bank: random operations on a few hot accounts, and what must be there after what was answered to them. */
import assert from "node:assert/strict";
import type { SeededRandom } from "../../src/base/random.ts";
import type { Answer } from "./bank-process.fixture.ts";

export const accounts = ["a", "b", "c", "d", "e"];
/** Calls to it carry no idempotency key, so that of those in doubt nobody ever learns. */
export const unkeyed = "unkeyed";

export interface Operation {
  readonly key: string | undefined;
  readonly path: string;
  readonly input: { readonly cents: number; readonly from?: string; readonly to?: string };
  readonly account: string;
}

/** What the bank must hold, as its answers say. */
export class Oracle {
  readonly balances = new Map<string, number>(accounts.map((id) => [id, 0]));
  readonly inDoubt: Operation[] = [];
  acknowledged = 0;
  refused = 0;
  unknown = 0;
  retried = 0;
  unkeyedAcknowledgedCents = 0;
  unkeyedInDoubtCents = 0;

  /** Takes in what became of it; undefined: nobody knows. Throws where the answer is none that the bank may give. */
  settle(operation: Operation, answer: Answer | undefined): void {
    const { input, account } = operation;
    if (answer === undefined || (answer.body as { retry?: string } | null)?.retry === "unknown") {
      this.unknown++;
      if (operation.key !== undefined) this.inDoubt.push(operation);
      else this.unkeyedInDoubtCents += input.cents;
      return;
    }
    if (answer.status === 200) {
      this.acknowledged++;
      if (operation.key === undefined) this.unkeyedAcknowledgedCents += input.cents;
      else if (input.to === undefined) this.#add(account, input.cents);
      else {
        this.#add(account, -input.cents);
        this.#add(input.to, input.cents);
      }
      return;
    }
    const { code } = answer.body as { code: string };
    // Refused for good; or certainly not done, because the node was not ready.
    assert.ok(code === "insufficient-funds" || answer.status === 503, JSON.stringify(answer));
    this.refused++;
  }

  #add(id: string, cents: number): void {
    this.balances.set(id, this.balances.get(id)! + cents);
  }
}

/** Mostly transfers; some deposits; a tenth of them without a key. */
export function nextOperation(random: SeededRandom, number: number): Operation {
  const [from, to] = random.shuffle(accounts) as [string, string];
  const cents = 1 + random.integer(100);
  const key = `operation-${number}`;
  const kind = random.integer(10);
  if (kind < 6) return { key, path: "/v1/transactions/transfer", input: { from, to, cents }, account: from };
  if (kind < 9) return { key, path: `/v1/entities/account/${from}/deposit`, input: { cents }, account: from };
  return { key: undefined, path: `/v1/entities/account/${unkeyed}/deposit`, input: { cents }, account: unkeyed };
}
