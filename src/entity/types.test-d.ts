/**
 * What must compile and what must not: checked by the compiler (`npm run types`), never run. Each `@ts-expect-error` is a
 * mistake that a user can make; if it stops being an error, the compiler reports the comment.
 */
import { z } from "zod";
import { type Client, entity, Refused, system, transaction } from "../index.ts";
import type { DeepReadonly, TypesOf } from "./definition-types.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function expectTrue<_ extends true>(): void;

// ------------------------------------------------------------------------------------------------------- what is right

/** An interface, which has no index signature, is as good as a type alias. */
interface Receipt {
  readonly number: number;
  readonly at: Date;
}

interface Tree {
  children: Tree[];
}

const account = entity("account")
  .state(z.object({ balanceCents: z.number(), owner: z.string().optional() }), () => ({ balanceCents: 0 }))
  .collection("entries", z.object({ cents: z.number(), at: z.date() }))
  .command("deposit", z.object({ cents: z.number().default(1) }), (state, input, context) => {
    expectTrue<Equal<typeof state, { balanceCents: number; owner?: string | undefined }>>();
    // The body receives what the schema made of the input: the default is filled in.
    expectTrue<Equal<typeof input, { cents: number }>>();
    context.collections.entries.set("k", { cents: input.cents, at: new Date(context.now) });
    const entry = context.collections.entries.get("k");
    expectTrue<Equal<typeof entry, { cents: number; at: Date } | undefined>>();
    context.after(1000, "deposit", { cents: 5 }, { key: "again" });
    context.after(1000, "deposit", {});
    context.after(1000, "definedLater", { any: "thing" });
    // @ts-expect-error: the input of a command that is known already is checked
    context.after(1000, "deposit", { cents: "5" });
    // @ts-expect-error: not an item of the collection
    context.collections.entries.set("k", { cents: 1 });
    // @ts-expect-error: no such collection
    context.collections.entriez;
    // @ts-expect-error: no such field of the state
    state.balance;
    // @ts-expect-error: not this field's type
    state.balanceCents = "1";
    return state.balanceCents;
  })
  .command("close", (state, input, context) => {
    expectTrue<Equal<typeof input, undefined>>();
    if (state.balanceCents !== 0) throw new Refused("not-empty");
    context.delete();
  })
  .command("definedLater", z.object({ any: z.string() }), () => undefined)
  .command("receipt", (): Receipt => ({ number: 1, at: new Date(0) }))
  .command("tree", (): Tree => ({ children: [] }))
  .command("bytes", z.instanceof(Uint8Array<ArrayBuffer>), (_state, bytes) => ({ bytes, count: 1n, nothing: null }))
  .command("optional", z.string().optional(), () => "x" as const)
  .query("balance", (state) => state.balanceCents)
  .query("whole", (state) => state)
  .query("entry", z.string(), (state, key, context) => {
    // @ts-expect-error: a query's state can't be changed
    state.balanceCents = 1;
    // @ts-expect-error: nor its collections
    context.collections.entries.set("k", { cents: 1, at: new Date(0) });
    // @ts-expect-error: nor can it send
    context.send;
    return context.collections.entries.get(key)?.cents;
  });

const transfer = transaction("transfer", z.object({ from: z.string(), to: z.string(), cents: z.number() }))
  .at(({ from }) => account(from))
  .run(async (tx, { from, to, cents }) => {
    const left = await tx(account, from).deposit({ cents: -cents });
    expectTrue<Equal<typeof left, number>>();
    await tx(account, to).deposit({ cents });
    const balance = await tx(account, to).balance();
    expectTrue<Equal<typeof balance, number>>();
    // @ts-expect-error: no such command
    tx(account, from).depozit;
    // @ts-expect-error: not this command's input
    await tx(account, from).deposit({ cents: "1" });
    // @ts-expect-error: ids are text
    await tx(account, 5).close();
  });

const audit = transaction("audit").run(async (tx) => ({ total: await tx(account, "alice").balance() }));

const bank = system("bank", { account, transfer, audit });

export async function rightCalls(client: Client<typeof bank>): Promise<void> {
  const alice = client.account("alice");
  expectTrue<Equal<ReturnType<typeof alice.deposit>, Promise<number>>>();
  expectTrue<Equal<Parameters<typeof alice.deposit>, [input: { cents?: number | undefined }]>>();
  expectTrue<Equal<ReturnType<typeof alice.close>, Promise<void>>>();
  expectTrue<Equal<ReturnType<typeof alice.receipt>, Promise<Receipt>>>();
  expectTrue<Equal<ReturnType<typeof alice.tree>, Promise<Tree>>>();
  expectTrue<Equal<ReturnType<typeof alice.entry>, Promise<number | undefined>>>();
  expectTrue<Equal<ReturnType<typeof client.transfer>, Promise<void>>>();
  expectTrue<Equal<ReturnType<typeof client.audit>, Promise<{ total: number }>>>();
  expectTrue<
    Equal<Awaited<ReturnType<typeof alice.whole>>, DeepReadonly<{ balanceCents: number; owner?: string | undefined }>>
  >();
  await alice.deposit({});
  await alice.optional();
  await alice.optional("x");
  await alice.entry("k");
}

// ------------------------------------------------------------------------------------------------------- wrong calls

export async function wrongCalls(client: Client<typeof bank>): Promise<void> {
  // @ts-expect-error: no such kind
  client.acount("alice");
  // @ts-expect-error: no such command
  await client.account("alice").depozit({ cents: 5 });
  // @ts-expect-error: not this command's input
  await client.account("alice").deposit({ cents: "5" });
  // @ts-expect-error: no such field in the input
  await client.account("alice").deposit({ dollars: 5 });
  // @ts-expect-error: the input is missing
  await client.account("alice").deposit();
  // @ts-expect-error: this command takes none
  await client.account("alice").close({ why: "x" });
  // @ts-expect-error: the result is a number
  const text: string = await client.account("alice").deposit({ cents: 5 });
  // @ts-expect-error: the id is missing
  client.account();
  // @ts-expect-error: a field of the input is missing
  await client.transfer({ from: "alice", to: "bob" });
  // @ts-expect-error: no such transaction
  await client.transferr({});
  // @ts-expect-error: an entity is not a transaction
  client.transfer("alice").deposit;
  return void text;
}

// -------------------------------------------------------------------------------------------------- wrong definitions

const state = z.object({ count: z.number() });
const initial = () => ({ count: 0 });
const counter = entity("counter")
  .state(state, initial)
  .command("add", z.object({ by: z.number() }), () => 1);

// @ts-expect-error: a command is synchronous
counter.command("later", async () => 1);
// @ts-expect-error: a command is synchronous, with input too
counter.command("later", z.object({ by: z.number() }), async (_state, { by }) => by);
// @ts-expect-error: a query is synchronous
counter.query("later", async (state) => state.count);
// @ts-expect-error: a function is not a value
counter.command("give", () => () => 1);
// @ts-expect-error: nor is one inside an object
counter.command("give", () => ({ deep: { run: () => 1 } }));
// @ts-expect-error: a Map is not a value
counter.command("give", () => new Map([["a", 1]]));
// @ts-expect-error: a symbol is not a value
counter.command("give", () => Symbol.iterator as symbol);
// @ts-expect-error: an input must be a value too
counter.command("take", z.map(z.string(), z.number()), () => 1);
// @ts-expect-error: the entity has a command of this name
counter.command("add", () => 1);
// @ts-expect-error: commands and queries share their names
counter.query("add", () => 1);
// @ts-expect-error: a schema is needed, not a type's name
counter.command("take", "string", () => 1);
// @ts-expect-error: the initial state does not match the schema
entity("counter").state(state, () => ({ count: "0" }));
// @ts-expect-error: a root state is an object
entity("counter").state(z.number(), () => 0);
// @ts-expect-error: an array is not an object with named fields
entity("counter").state(z.array(z.number()), () => []);
// @ts-expect-error: a state is made of values
entity("counter").state(z.object({ seen: z.set(z.string()) }), () => ({ seen: new Set<string>() }));
// @ts-expect-error: an entity without a state has no commands
entity("counter").command("add", () => 1);
// @ts-expect-error: the key is not the entity's name
system("counters", { counting: counter });
// @ts-expect-error: an entity without a state is not a part of a system
system("counters", { counter: entity("counter") });
// @ts-expect-error: a transaction without a body is not a part of a system
system("counters", { all: transaction("all") });
// @ts-expect-error: a home is an entity
transaction("move", z.object({ from: z.string() })).at(({ from }) => from);
// @ts-expect-error: a transaction is asynchronous
transaction("move").run(() => 1);
// @ts-expect-error: its result is a value
transaction("move").run(async () => new Map());

// ------------------------------------------------------------------------------------------------------- documentation

const documented = counter
  .command("documented", () => ({ count: 1, tags: ["a"] as readonly string[] }), {
    description: "Gives what it says.",
    output: z.object({ count: z.number(), tags: z.array(z.string()), more: z.string().optional() }),
    refusals: { "not-now": z.object({ at: z.date() }), never: null },
  })
  .command("narrow", z.object({ by: z.number() }), (_state, { by }) => (by > 0 ? ("up" as const) : ("down" as const)), {
    output: z.enum(["up", "down", "same"]),
  })
  .query("documentedQuery", (state) => state.count, { output: z.number() });
transaction("documentedTransaction").run(async () => 1, { output: z.number(), refusals: {} });
expectTrue<Equal<TypesOf<typeof documented>["commands"]["narrow"]["output"], "up" | "down">>();

// @ts-expect-error: the output is a number
counter.command("wrong", () => 1, { output: z.string() });
const two = z.object({ a: z.number(), b: z.number() });
// @ts-expect-error: the output lacks a field
counter.command("wrong", z.object({ by: z.number() }), () => ({ a: 1 }), { output: two });
// @ts-expect-error: the query's output is a number
counter.query("wrong", (state) => state.count, { output: z.boolean() });
// @ts-expect-error: the transaction's output is a number
transaction("wrong").run(async () => 1, { output: z.string() });
// @ts-expect-error: a refusal has a schema or null
counter.command("wrong", () => 1, { refusals: { "not-now": "text" } });
// @ts-expect-error: no such documentation
counter.command("wrong", () => 1, { outputs: z.number() });

// ------------------------------------------------------------------------------------------------------------- sending

entity("sender")
  .state(state, initial)
  .command("send", (_state, _input, context) => {
    context.send(counter, "a", "add", { by: 1 });
    // @ts-expect-error: no such command of the target
    context.send(counter, "a", "ad", { by: 1 });
    // @ts-expect-error: not the target command's input
    context.send(counter, "a", "add", { by: "1" });
    // @ts-expect-error: the input is missing
    context.send(counter, "a", "add");
  });

// A command may send to entities of its own kind, which its definition's own name refers to.
const node = entity("node")
  .state(state, initial)
  .command("pass", z.object({ hops: z.number() }), (_state, { hops }, context) => {
    if (hops > 0) context.send(node, "next", "pass", { hops: hops - 1 });
  });
expectTrue<Equal<TypesOf<typeof node>["name"], "node">>();

// ---------------------------------------------------------------------------------------------------------- migrations

const person = z.object({ first: z.string(), last: z.string(), age: z.number() });
const noone = () => ({ first: "", last: "", age: 0 });

entity("person").state(person, noone, {
  version: 3,
  migrations: [
    (old: { name: string }) => ({ first: old.name, last: "" }),
    (old: { first: string; last: string }) => ({ ...old, age: 0 }),
  ],
});
entity("person").state(person, noone, {
  version: 2,
  // @ts-expect-error: the last migration does not give a state
  migrations: [(old: { name: string }) => ({ first: old.name })],
});
entity("person").state(person, noone, {
  version: 3,
  // @ts-expect-error: the first does not give what the second takes
  migrations: [
    (old: { name: string }) => ({ first: old.name }),
    (old: { first: string; last: string }) => ({ ...old, age: 0 }),
  ],
});
