/**
 * SmallBank (Alomari, Cahill, Fekete, Röhm, "The cost of serializability on platforms that use snapshot isolation", ICDE 2008):
 * customers with a savings and a checking account each. Five transactions are the paper's; the sixth, SendPayment, is from the version
 * in H-Store, as are the shares and the amounts. Nine of ten times a customer is one of few ("hotspot").
 *
 * The bank must hold what it held at first and what its transactions say they changed.
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../../src/base/random.ts";
import { sum } from "../load/closed-loop.ts";
import type { Operations } from "./operations.ts";
import type { Sizes, Workload } from "./workload.ts";

const openingCents = 1_000_000;
const penaltyCents = 100;
const hotShare = 0.9;
/** Choices that are made beforehand; after so many operations they come again. */
const choiceCount = 2 ** 18;
const openCount = 500;

/** In so many of a hundred operations. */
const shares = {
  amalgamate: 15,
  balance: 15,
  depositChecking: 15,
  sendPayment: 25,
  transactSavings: 15,
  writeCheck: 15,
} as const;
type Transaction = keyof typeof shares;

const transactions = (Object.keys(shares) as Transaction[]).flatMap((name) =>
  new Array<Transaction>(shares[name]).fill(name),
);

export function smallBankWorkload({ customers, hotCustomers }: Sizes): Workload {
  const ids = Array.from({ length: customers }, (_, i) => `customer-${i}`);
  let choices: Choices | undefined;
  let isPrepared = false;
  /** What the bank should hold. */
  let heldCents = 0;

  /** Resolves to the change of what the bank holds. */
  const run = (operations: Operations, index: number): Promise<unknown> => {
    const { chosen, first, second } = choices!;
    const at = index % choiceCount;
    const customer = ids[first[at]!]!;
    const other = ids[second[at]!]!;
    switch (transactions[chosen[at]!]!) {
      case "amalgamate":
        return operations.amalgamate({ from: customer, to: other });
      case "balance":
        return operations.customerBalance(customer);
      case "depositChecking":
        return changing(operations.depositChecking(customer, 130));
      case "sendPayment":
        return operations.sendPayment({ from: customer, to: other, cents: 500 });
      case "transactSavings":
        return changing(operations.transactSavings(customer, index % 2 === 0 ? 2020 : -2020));
      case "writeCheck":
        return changing(operations.writeCheck(customer, { cents: 500, penaltyCents }));
    }
  };
  const changing = async (change: Promise<number>): Promise<void> => {
    const cents = await change;
    heldCents += cents;
  };

  return {
    name: "smallbank",
    description: `six transactions over ${customers} customers, nine of ten among ${hotCustomers}`,
    readsPerOperation: shares.balance / 100,
    writesPerOperation: 1 - shares.balance / 100,
    async prepare(operations) {
      if (isPrepared) return;
      choices = choose({ customers, hotCustomers });
      for (let from = 0; from < customers; from += openCount) {
        await operations.openCustomers(ids.slice(from, from + openCount), openingCents);
      }
      heldCents = 2 * customers * openingCents;
      isPrepared = true;
    },
    operation: run,
    async check(operations) {
      const held = await sum(customers, (i) => operations.customerBalance(ids[i]!));
      assert.equal(held, heldCents, "the bank holds what its transactions left");
    },
  };
}

interface Choices {
  readonly chosen: Uint8Array;
  readonly first: Uint32Array;
  readonly second: Uint32Array;
}

function choose({ customers, hotCustomers }: Pick<Sizes, "customers" | "hotCustomers">): Choices {
  const random = new SeededRandom("smallbank");
  const customer = () => (random.chance(hotShare) ? random.integer(hotCustomers) : random.integer(customers));
  const chosen = new Uint8Array(choiceCount);
  const first = new Uint32Array(choiceCount);
  const second = new Uint32Array(choiceCount);
  for (let i = 0; i < choiceCount; i++) {
    chosen[i] = random.integer(transactions.length);
    first[i] = customer();
    do second[i] = customer();
    while (second[i] === first[i]);
  }
  return { chosen, first, second };
}
