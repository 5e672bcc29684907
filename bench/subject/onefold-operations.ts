/** The operations as calls of the benchmark's system, through whichever client. */
import { type Client, Refused } from "../../src/index.ts";
import { inPortions } from "../load/closed-loop.ts";
import type { benchSystem } from "../system.ts";
import type { Operations } from "../workload/operations.ts";

export type BenchClient = Client<typeof benchSystem>;

/** The one book that orders are traded in. */
const bookId = "xyz";

/** Adds as little as can be: each operation is the client's own promise where nothing has to be made of its result. */
export function onefoldOperations(client: BenchClient): Operations {
  const ownBook = client.book(bookId);
  return {
    increment: (id) => client.counter(id).increment(),
    counterValue: (id) => client.counter(id).value(),

    deposit: (id, cents) => client.account(id).deposit({ cents }),
    transfer: (payment) => client.transfer(payment),
    balance: (id) => client.account(id).balance(),

    fillBook: (range) => ownBook.fill(range),
    trade: (price, order) => ownBook.trade({ price, order }),
    openOrders: () => ownBook.open(),

    insertRows: (rows) => inPortions(rows.length, (i) => client.row(rows[i]!.id).insert(rows[i]!.fields)),
    readRow: (id) => client.row(id).read(),
    updateRow: (id, change) => client.row(id).update(change),

    openCustomers: (ids, cents) =>
      inPortions(ids.length, async (i) => {
        await client.savings(ids[i]!).add({ cents });
        await client.checking(ids[i]!).add({ cents });
      }),
    customerBalance: (customer) => client.customerBalance({ customer }),
    depositChecking: (customer, cents) =>
      client
        .checking(customer)
        .add({ cents })
        .then(() => cents),
    transactSavings: (customer, cents) =>
      client
        .savings(customer)
        .adjust({ cents })
        .then(() => cents, unlessRefused),
    amalgamate: (customers) => client.amalgamate(customers),
    writeCheck: (customer, check) => client.writeCheck({ customer, ...check }).then((taken) => -taken),
    sendPayment: (payment) => client.sendPayment(payment).catch(unlessRefused),
  };
}

/** A refusal for want of money is an answer that SmallBank expects: nothing has changed. Everything else is a failure. */
function unlessRefused(error: unknown): number {
  if (error instanceof Refused && error.code === "insufficient-funds") return 0;
  throw error;
}
