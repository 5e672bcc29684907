/**
 * What of the typed client must compile and what must not: checked by the compiler (`npm run types`), never run. Each
 * `@ts-expect-error` is a mistake that a user can make; if it stops being an error, the compiler reports the comment.
 */
import { z } from "zod";
import { entity, system, transaction } from "../index.ts";
import { connect, type EntityState, type HistoryPage, type RemoteClient } from "./index.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function expectTrue<_ extends true>(): void;

const account = entity("account")
  .state(z.object({ balanceCents: z.number() }), () => ({ balanceCents: 0 }))
  .command("deposit", z.object({ cents: z.number().default(1) }), (state, { cents }) => {
    state.balanceCents += cents;
    return state.balanceCents;
  })
  .command("optional", z.string().optional(), () => "x" as const)
  .command("close", (_state, _input, context) => context.delete())
  .query("balance", (state) => state.balanceCents)
  .query("atLeast", z.object({ cents: z.number() }), (state, { cents }) => state.balanceCents >= cents);

const transfer = transaction("transfer", z.object({ from: z.string(), to: z.string() })).run(async () => 7);
const sweep = transaction("sweep").run(async () => ({ count: 1n }));
const rename = transaction("rename", z.string()).run(async () => true);

const bank = system("bank", { account, transfer, sweep, rename });

export async function right(): Promise<void> {
  const client = connect<typeof bank>("http://127.0.0.1:7400", { system: "bank", token: async () => "t" });
  expectTrue<Equal<typeof client, RemoteClient<typeof bank>>>();
  const alice = client.account("alice");
  const balance = await alice.deposit({ cents: 5 });
  expectTrue<Equal<typeof balance, number>>();
  // What the schema fills in need not be given.
  await alice.deposit({});
  await alice.deposit({}, { deadlineMs: 100, idempotencyKey: "k", signal: new AbortController().signal });
  expectTrue<Equal<Awaited<ReturnType<typeof alice.optional>>, "x">>();
  await alice.optional();
  await alice.optional(undefined, { deadlineMs: 5 });
  await alice.close();
  await alice.balance(undefined, { read: "eventual" });
  const isRich: boolean = await alice.atLeast({ cents: 5 });
  expectTrue<Equal<typeof isRich, boolean>>();
  const moved = await client.transfer({ from: "a", to: "b" });
  expectTrue<Equal<typeof moved, number>>();
  const swept = await client.sweep();
  expectTrue<Equal<typeof swept, { count: bigint }>>();
  const renamed = await client.$transaction("rename", "text");
  expectTrue<Equal<typeof renamed, boolean>>();
  for await (const value of alice.$watch("balance")) expectTrue<Equal<typeof value, number>>();
  for await (const value of alice.$watch("atLeast", { cents: 5 }, { seen: { log: "", sequence: 1 } })) {
    expectTrue<Equal<typeof value, boolean>>();
  }
  for await (const change of alice.$watch("balance").changes) {
    expectTrue<Equal<typeof change.value, number>>();
    expectTrue<Equal<typeof change.sequence, number>>();
  }
  for await (const state of alice.$watchState()) {
    expectTrue<Equal<typeof state, EntityState<{ balanceCents: number }> | undefined>>();
  }
  const history = await alice.$history({ limit: 5 });
  expectTrue<Equal<typeof history, HistoryPage<{ balanceCents: number }>>>();
  const { ids } = await client.$list("account", { prefix: "a" });
  expectTrue<Equal<typeof ids, readonly string[]>>();
  client.$close();
}

export async function wrong(): Promise<void> {
  const client = connect<typeof bank>("http://127.0.0.1:7400");
  const alice = client.account("alice");
  // @ts-expect-error: no such kind
  client.acount("alice");
  // @ts-expect-error: an id is text
  client.account(5);
  // @ts-expect-error: no such command
  alice.depozit({ cents: 5 });
  // @ts-expect-error: not the command's input
  alice.deposit({ cents: "5" });
  // @ts-expect-error: the input is missing
  alice.deposit();
  // @ts-expect-error: the command takes no input
  alice.close({ cents: 5 });
  // @ts-expect-error: no such option
  alice.deposit({ cents: 5 }, { deadline: 5 });
  // @ts-expect-error: not the output
  const _text: string = await alice.balance();
  // @ts-expect-error: a command can't be watched
  alice.$watch("deposit");
  // @ts-expect-error: the query's input is missing
  alice.$watch("atLeast");
  // @ts-expect-error: not the transaction's input
  client.transfer({ from: "a" });
  // @ts-expect-error: a transaction whose input is text is run by $transaction
  client.rename("text");
  // @ts-expect-error: no such transaction
  client.$transaction("transfers", { from: "a", to: "b" });
  // @ts-expect-error: a transaction is no kind
  client.$list("transfer");
  // @ts-expect-error: not a system
  connect<typeof account>("http://127.0.0.1:7400").account("alice");
}
