/** Accounts: transfers between two of them, which must conserve the money, and strong reads, which must find what was paid in. */
import assert from "node:assert/strict";
import { inPortions, sum } from "../load/closed-loop.ts";
import type { Operations } from "./operations.ts";
import type { Sizes, Workload } from "./workload.ts";

const openingCents = 1_000_000;

export function accountWorkloads({ accounts }: Sizes): { readonly transfer: Workload; readonly read: Workload } {
  return { transfer: transferWorkload(accounts), read: readWorkload(accounts) };
}

function transferWorkload(accounts: number): Workload {
  const id = (i: number) => `holder-${i % accounts}`;
  const balances = async (operations: Operations) => {
    const found = new Array<number>(accounts).fill(0);
    await inPortions(accounts, async (i) => {
      found[i] = await operations.balance(id(i));
    });
    return found;
  };
  const route = (index: number) => routeOf(index, accounts);
  let before: readonly number[] = [];
  return {
    name: "transfer",
    description: `one cent from one of ${accounts} accounts to another, if it is there`,
    readsPerOperation: 0,
    writesPerOperation: 1,
    async prepare(operations) {
      await inPortions(accounts, (i) => operations.deposit(id(i), openingCents));
      before = await balances(operations);
    },
    operation: (operations, index) => {
      const { from, to } = route(index);
      return operations.transfer({ from: id(from), to: id(to), cents: 1 });
    },
    /** Not only the sum: each account has what its own transfers left. */
    async check(operations, done) {
      const expected = [...before];
      for (let index = 0; index < done; index++) {
        const { from, to } = route(index);
        expected[from]! -= 1;
        expected[to]! += 1;
      }
      assert.deepEqual(await balances(operations), expected, "every transfer took hold once");
    },
  };
}

/**
 * Between which two accounts the transfer of that number goes; never one account twice. The second is mixed out of the number: a
 * linear rule such as the first one's has few values over many transfers in a row (25 of 1,000 it once had), and then all wait for those.
 */
export function routeOf(index: number, accounts: number): { readonly from: number; readonly to: number } {
  const from = (index * 7919) % accounts;
  return { from, to: (from + 1 + (mixed(index) % (accounts - 1))) % accounts };
}

/** The finalizer of MurmurHash3 (Appleby, public domain). */
function mixed(index: number): number {
  let hash = index;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function readWorkload(accounts: number): Workload {
  const id = (i: number) => `read-${i % accounts}`;
  const expected = (i: number) => (i % accounts) + 1;
  let isPrepared = false;
  return {
    name: "read",
    description: `strong reads of ${accounts} accounts`,
    readsPerOperation: 1,
    writesPerOperation: 0,
    async prepare(operations) {
      if (isPrepared) return;
      await inPortions(accounts, (i) => operations.deposit(id(i), expected(i)));
      isPrepared = true;
    },
    async operation(operations, index) {
      const balance = await operations.balance(id(index));
      if (balance !== expected(index)) throw new Error(`${id(index)} has ${balance} instead of ${expected(index)}`);
    },
    async check(operations) {
      const all = (accounts * (accounts + 1)) / 2;
      assert.equal(await sum(accounts, (i) => operations.balance(id(i))), all, "reading changes nothing");
    },
  };
}
