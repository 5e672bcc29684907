/** The system under chaos: each kind of entity tells by its answers, or by what it holds at the end, whether a guarantee was kept. */
import { entity, Refused, system, transaction } from "onefold";
import { z } from "zod";

/** What each account begins with. */
export const startCents = 1000;

const id = z.string();

/** Conservation: money moves, and none comes or goes. */
const account = entity("account")
  .state(z.object({ cents: z.number().int().nonnegative() }), () => ({ cents: startCents }))
  .command("take", z.object({ cents: z.number().int().positive() }), (state, { cents }) => {
    if (state.cents < cents) throw new Refused("too-little", { cents: state.cents });
    state.cents -= cents;
  })
  .command("put", z.object({ cents: z.number().int().positive() }), (state, { cents }) => {
    state.cents += cents;
  })
  .query("cents", (state) => state.cents);

const transfer = transaction("transfer", z.object({ from: id, to: id, cents: z.number().int().positive() }))
  .at(({ from }) => account(from))
  .run(async (tx, { from, to, cents }) => {
    await tx(account, from).take({ cents });
    await tx(account, to).put({ cents });
  });

const audit = transaction("audit", z.object({ accounts: z.array(id).min(1) }))
  .at(({ accounts }) => account(accounts[0]!))
  .run(async (tx, { accounts }) => {
    const cents: number[] = [];
    for (const each of accounts) cents.push(await tx(account, each).cents());
    return cents;
  });

/** Exactly once: each addition has a token of its own, and how often each took hold is kept. */
const counter = entity("counter")
  .state(z.object({ count: z.number().int() }), () => ({ count: 0 }))
  .collection("tokens", z.number().int())
  .command("add", z.object({ token: z.string() }), (state, { token }, { collections }) => {
    collections.tokens.set(token, (collections.tokens.get(token) ?? 0) + 1);
    state.count += 1;
    return state.count;
  })
  .query("count", (state) => state.count)
  .query(
    "tokens",
    z.object({ from: z.string(), limit: z.number().int().max(1000) }),
    (_state, page, { collections }) => [...collections.tokens.range(page)],
  );

/** Strictly serializable: lists that transactions append to and read. */
const list = entity("list")
  .state(z.object({ items: z.array(z.number().int()) }), () => ({ items: [] as number[] }))
  .command("append", z.object({ item: z.number().int() }), (state, { item }) => {
    state.items.push(item);
  })
  .query("items", (state) => [...state.items]);

const listStep = z.union([
  z.object({ type: z.literal("append"), id, item: z.number().int() }),
  z.object({ type: z.literal("read"), id }),
]);

const mix = transaction("mix", z.object({ home: id, steps: z.array(listStep) }))
  .at(({ home }) => list(home))
  .run(async (tx, { steps }) => {
    const reads: (number[] | null)[] = [];
    for (const step of steps) {
      if (step.type === "append") {
        await tx(list, step.id).append({ item: step.item });
        reads.push(null);
      } else reads.push(await tx(list, step.id).items());
    }
    return reads;
  });

/** Linearizable: a register. */
const register = entity("register")
  .state(z.object({ value: z.string().nullable() }), () => ({ value: null as string | null }))
  .command("write", z.object({ value: z.string() }), (state, { value }) => {
    state.value = value;
  })
  .command("replace", z.object({ from: z.string().nullable(), to: z.string() }), (state, { from, to }) => {
    const takesHold = state.value === from;
    if (takesHold) state.value = to;
    return takesHold;
  })
  .query("value", (state) => state.value);

/** Everybody may do everything: nothing but the run reaches it, also where its addresses are not loopback's. */
export const chaos = system(
  "chaos",
  { account, transfer, audit, counter, list, mix, register },
  { authenticate: () => ({ tenant: "default", subject: "chaos", scopes: ["*"] }) },
);
