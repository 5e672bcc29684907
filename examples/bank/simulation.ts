/** What `onefold sim examples/bank` does to the bank, and what must hold of it meanwhile. See docs/testing.md. */
import assert from "node:assert/strict";
import type { Simulation } from "onefold/sim";
import type { bank } from "./bank.ts";

const purses = ["purse-0", "purse-1", "purse-2", "purse-3"];
const boxes = ["box-0", "box-1"];
const firstCents = 1000;

/**
 * Each workload fills a purse and pays from it into boxes that all share. Money goes one way only, so what is read later has less in
 * the purses and more in the boxes: without a transaction over all of them, that bounds the sum from both sides.
 */
export const simulation: Simulation<typeof bank> = {
  workloads: purses.length,
  workload: async ({ client, index, random, sleep }) => {
    const purse = purses[index]!;
    await client.account(purse).deposit({ cents: firstCents });
    for (let count = 0; count < 30; count++) {
      await client.transfer({ from: purse, to: random.pick(boxes), cents: random.between(1, 30) });
      await sleep(random.between(0, 100));
    }
  },
  invariants: {
    "no cent is lost": async (client) => {
      let cents = 0;
      for (const id of purses) {
        const left = await client.account(id).balance();
        // It has not been filled yet: it can't be emptied by thirty payments.
        if (left === 0) return;
        cents += left;
      }
      for (const id of boxes) cents += await client.account(id).balance();
      assert.ok(cents >= purses.length * firstCents, `${cents} cents of ${purses.length * firstCents} are left`);
    },
    "no cent is made": async (client) => {
      let cents = 0;
      for (const id of [...boxes, ...purses]) cents += await client.account(id).balance();
      assert.ok(cents <= purses.length * firstCents, `${cents} cents have come of ${purses.length * firstCents}`);
    },
  },
};
