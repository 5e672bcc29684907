/** The system that simulated clusters are drilled with: each kind of operation tells by its answers whether a guarantee was kept. */
import { z } from "zod";
import { assert } from "../../base/assert.ts";
import { Refused } from "../../base/errors.ts";
import { entity } from "../../entity/define.ts";
import { system, transaction } from "../../entity/define-system.ts";

const id = z.string();

/** Exactly once: each addition is of a token of its own, and all that took hold are there, in order. */
const tally = entity("tally")
  .state(z.object({ tokens: z.array(z.string()) }), () => ({ tokens: [] as string[] }))
  .command("add", z.object({ token: z.string() }), (state, { token }) => {
    state.tokens.push(token);
    return state.tokens.length;
  })
  .query("all", (state) => [...state.tokens]);

/** The same in newer code, whose states older code can't read. */
const countedTally = entity("tally")
  .state(z.object({ tokens: z.array(z.string()), count: z.number() }), () => ({ tokens: [] as string[], count: 0 }), {
    version: 2,
    migrations: [(state: { tokens: string[] }) => ({ ...state, count: state.tokens.length })],
  })
  .command("add", z.object({ token: z.string() }), (state, { token }) => {
    assert(state.count === state.tokens.length, "a state is migrated as a whole");
    state.tokens.push(token);
    return ++state.count;
  })
  .query("all", (state) => [...state.tokens]);

/** Linearizable: a register. */
const register = entity("register")
  .state(z.object({ value: z.string().nullable() }), () => ({ value: null as string | null }))
  .command("write", z.object({ value: z.string() }), (state, { value }) => {
    state.value = value;
  })
  .command("replace", z.object({ from: z.string().nullable(), to: z.string() }), (state, { from, to }) => {
    if (state.value !== from) throw new Refused("differs", { value: state.value });
    state.value = to;
  })
  .query("read", (state) => state.value);

/** Strictly serializable: lists that transactions append to and read. */
const list = entity("list")
  .state(z.object({ items: z.array(z.number()) }), () => ({ items: [] as number[] }))
  .command("append", z.object({ item: z.number() }), (state, { item }) => {
    state.items.push(item);
  })
  .query("read", (state) => [...state.items]);

const step = z.union([
  z.object({ type: z.literal("append"), id, item: z.number() }),
  z.object({ type: z.literal("read"), id }),
]);

const mix = transaction("mix", z.object({ home: id, steps: z.array(step) }))
  .at(({ home }) => list(home))
  .run(async (tx, { steps }) => {
    const reads: (number[] | null)[] = [];
    for (const each of steps) {
      if (each.type === "append") {
        await tx(list, each.id).append({ item: each.item });
        reads.push(null);
      } else reads.push(await tx(list, each.id).read());
    }
    return reads;
  });

/** Conservation: money moves, and none comes or goes. */
const purse = entity("purse")
  .state(z.object({ cents: z.number() }), () => ({ cents: 1000 }))
  .command("take", z.object({ cents: z.number() }), (state, { cents }) => {
    if (state.cents < cents) throw new Refused("too-little", { cents: state.cents });
    state.cents -= cents;
  })
  .command("put", z.object({ cents: z.number() }), (state, { cents }) => {
    state.cents += cents;
  })
  .query("cents", (state) => state.cents);

const pay = transaction("pay", z.object({ from: id, to: id, cents: z.number() }))
  .at(({ from }) => purse(from))
  .run(async (tx, { from, to, cents }) => {
    await tx(purse, from).take({ cents });
    await tx(purse, to).put({ cents });
  });

const audit = transaction("audit", z.object({ purses: z.array(id) }))
  .at(({ purses }) => purse(purses[0]!))
  .run(async (tx, { purses }) => {
    const cents: number[] = [];
    for (const each of purses) cents.push(await tx(purse, each).cents());
    return cents;
  });

/** Messages, once and in order, and timers, once: what a post sends arrives at a box. */
const box = entity("box")
  .state(z.object({ got: z.array(z.string()), fired: z.array(z.string()) }), () => ({
    got: [] as string[],
    fired: [] as string[],
  }))
  .command("take", z.object({ letter: z.string() }), (state, { letter }) => {
    state.got.push(letter);
  })
  .command("ring", z.object({ name: z.string() }), (state, { name }) => {
    state.fired.push(name);
  })
  .command("wind", z.object({ name: z.string(), afterMs: z.number() }), (_state, { name, afterMs }, context) => {
    context.after(afterMs, "ring", { name }, { key: name });
  })
  .query("all", (state) => ({ got: [...state.got], fired: [...state.fired] }));

const post = entity("post")
  .state(z.object({ sent: z.number() }), () => ({ sent: 0 }))
  .command("send", z.object({ to: id, letters: z.array(z.string()) }), (state, { to, letters }, context) => {
    for (const letter of letters) context.send(box, to, "take", { letter });
    state.sent += letters.length;
    return state.sent;
  });

const others = { register, list, mix, purse, pay, audit, box, post };

export const drill = system("drill", { tally, ...others });

/** What nodes are upgraded to. */
export const newerDrill = system("drill", { tally: countedTally, ...others });
