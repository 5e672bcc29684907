/** The system that the benchmark's workloads run on, written as a user would write it. */
import { z } from "zod";
import { entity, Refused, system, transaction } from "../src/index.ts";
import { rowFieldNames } from "./workload/operations.ts";

const counter = entity("counter")
  .state(z.object({ value: z.number().int() }), () => ({ value: 0 }))
  .command("increment", (state) => {
    state.value += 1;
    return state.value;
  })
  .query("value", (state) => state.value);

const account = entity("account")
  .state(z.object({ balanceCents: z.number().int() }), () => ({ balanceCents: 0 }))
  .command("deposit", z.object({ cents: z.number().int().positive() }), (state, { cents }) => {
    state.balanceCents += cents;
    return state.balanceCents;
  })
  .command("withdraw", z.object({ cents: z.number().int().positive() }), (state, { cents }) => {
    if (state.balanceCents < cents) throw new Refused("insufficient-funds", { balanceCents: state.balanceCents });
    state.balanceCents -= cents;
    return state.balanceCents;
  })
  .query("balance", (state) => state.balanceCents);

const transfer = transaction(
  "transfer",
  z.object({ from: z.string(), to: z.string(), cents: z.number().int().positive() }),
)
  .at(({ from }) => account(from))
  .run(async (tx, { from, to, cents }) => {
    await tx(account, from).withdraw({ cents });
    await tx(account, to).deposit({ cents });
  });

const order = z.object({ quantity: z.number().int(), owner: z.string() });

/** A price is the key of an order, so the best one is the first. */
const book = entity("book")
  .state(z.object({ placed: z.number().int(), taken: z.number().int() }), () => ({ placed: 0, taken: 0 }))
  .collection("orders", order)
  .command("fill", z.object({ from: z.number().int(), count: z.number().int() }), (state, { from, count }, context) => {
    for (let i = 0; i < count; i++) {
      context.collections.orders.set(String(from + i).padStart(9, "0"), { quantity: 1, owner: "market maker" });
    }
    state.placed += count;
  })
  /** Takes the best order and places another one: touches two of the items, whatever the book holds. */
  .command("trade", z.object({ price: z.string(), order }), (state, input, { collections }) => {
    for (const [price] of collections.orders.range({ limit: 1 })) {
      collections.orders.delete(price);
      state.taken += 1;
    }
    collections.orders.set(input.price, input.order);
    state.placed += 1;
    return state.placed - state.taken;
  })
  .query("open", (state) => state.placed - state.taken);

/** About 100 bytes of state; for the measurement of memory. */
const record = entity("record")
  .state(z.object({ text: z.string() }), () => ({ text: "" }))
  .command("write", z.object({ text: z.string() }), (state, { text }) => {
    state.text = text;
  })
  .query("read", (state) => state.text);

const rowFields = z.record(z.enum(rowFieldNames), z.string());

/** YCSB's record: 10 fields of 100 bytes. */
const row = entity("row")
  .state(rowFields, () => Object.fromEntries(rowFieldNames.map((name) => [name, ""])) as z.infer<typeof rowFields>)
  .command("insert", rowFields, (state, fields) => {
    Object.assign(state, fields);
  })
  .command("update", z.object({ field: z.enum(rowFieldNames), value: z.string() }), (state, { field, value }) => {
    state[field] = value;
  })
  .query("read", (state) => state);

const money = z.object({ cents: z.number().int() });

/** SmallBank has a table for each of two kinds of account of a customer. */
function customerAccount<const Kind extends string>(kind: Kind) {
  return (
    entity(kind)
      .state(z.object({ cents: z.number().int() }), () => ({ cents: 0 }))
      .command("add", money, (state, { cents }) => {
        state.cents += cents;
        return state.cents;
      })
      /** Like `add`, but refuses what would leave less than nothing. */
      .command("adjust", money, (state, { cents }) => {
        if (state.cents + cents < 0) throw new Refused("insufficient-funds", { cents: state.cents });
        state.cents += cents;
        return state.cents;
      })
      .command("take", (state) => {
        const { cents } = state;
        state.cents = 0;
        return cents;
      })
      .query("balance", (state) => state.cents)
  );
}

const savings = customerAccount("savings");
const checking = customerAccount("checking");

const customerBalance = transaction("customerBalance", z.object({ customer: z.string() }))
  .at(({ customer }) => checking(customer))
  .run(async (tx, { customer }) => {
    const saved = await tx(savings, customer).balance();
    return saved + (await tx(checking, customer).balance());
  });

const amalgamate = transaction("amalgamate", z.object({ from: z.string(), to: z.string() }))
  .at(({ from }) => checking(from))
  .run(async (tx, { from, to }) => {
    const saved = await tx(savings, from).take();
    const kept = await tx(checking, from).take();
    await tx(checking, to).add({ cents: saved + kept });
  });

/** Gives what was taken from the customer: an overdraft costs `penaltyCents` more. */
const writeCheck = transaction(
  "writeCheck",
  z.object({ customer: z.string(), cents: z.number().int().positive(), penaltyCents: z.number().int() }),
)
  .at(({ customer }) => checking(customer))
  .run(async (tx, { customer, cents, penaltyCents }) => {
    const saved = await tx(savings, customer).balance();
    const all = saved + (await tx(checking, customer).balance());
    const taken = all < cents ? cents + penaltyCents : cents;
    await tx(checking, customer).add({ cents: -taken });
    return taken;
  });

const sendPayment = transaction(
  "sendPayment",
  z.object({ from: z.string(), to: z.string(), cents: z.number().int().positive() }),
)
  .at(({ from }) => checking(from))
  .run(async (tx, { from, to, cents }) => {
    await tx(checking, from).adjust({ cents: -cents });
    await tx(checking, to).add({ cents });
  });

export const benchSystem = system("bench", {
  counter,
  account,
  transfer,
  book,
  record,
  row,
  savings,
  checking,
  customerBalance,
  amalgamate,
  writeCheck,
  sendPayment,
});
