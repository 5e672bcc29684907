/** One entity with very many items: each trade takes the best order and places another one behind all others. */
import assert from "node:assert/strict";
import type { Sizes, Workload } from "./workload.ts";

/** Orders that are placed at once while the book is filled. */
const fillCount = 1000;

export function orderBookWorkload({ bookItems }: Sizes): Workload {
  let next = 0;
  return {
    name: "book",
    description: `trades in an order book of ${bookItems} orders: takes the best, places another`,
    readsPerOperation: 0,
    writesPerOperation: 1,
    async prepare(operations) {
      if (next > 0) return;
      for (; next < bookItems; next += fillCount) {
        await operations.fillBook({ from: next, count: Math.min(fillCount, bookItems - next) });
      }
      next = bookItems;
    },
    async operation(operations, index) {
      const price = String(next + index).padStart(9, "0");
      const open = await operations.trade(price, { quantity: 3, owner: "somebody" });
      if (open !== bookItems) throw new Error(`${open} open orders instead of ${bookItems}`);
    },
    async check(operations, done) {
      next += done;
      assert.equal(await operations.openOrders(), bookItems, "as many orders were placed as taken");
    },
  };
}
