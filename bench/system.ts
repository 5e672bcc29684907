/** The system that the benchmark's workloads run on. */
import { entity, system, transaction } from "../src/index.ts";
import { z } from "zod";

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
  .command("place", z.object({ price: z.string(), order }), (state, input, { collections }) => {
    collections.orders.set(input.price, input.order);
    state.placed += 1;
  })
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

/** About 100 bytes of state. */
const record = entity("record")
  .state(z.object({ text: z.string() }), () => ({ text: "" }))
  .command("write", z.object({ text: z.string() }), (state, { text }) => {
    state.text = text;
  })
  .query("read", (state) => state.text);

export const benchSystem = system("bench", { counter, account, transfer, book, record });
