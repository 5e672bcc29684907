/** The bank as the tests of transactions need it: with bodies that the test gives, and hooks in commands. */
import { z } from "zod";
import { Refused } from "../base/errors.ts";
import { entity } from "../entity/define.ts";
import { system, transaction } from "../entity/define-system.ts";
import type { EntityCaller } from "../entity/definition-types.ts";

export type Body = (tx: EntityCaller, input: unknown) => Promise<unknown>;

const cents = z.object({ cents: z.number().int().positive() });

/** A bank of its own for every test: what `script` runs, and what `hook` does, is the test's. */
export function makeBank() {
  const bodies = new Map<string, Body>();
  /** Called by `account.hook` in the middle of a command. */
  const hooks = { inCommand: (): void => undefined };
  const account = entity("account")
    .state(z.object({ balanceCents: z.number().int().nonnegative() }), () => ({ balanceCents: 0 }))
    .collection("entries", z.object({ cents: z.number() }))
    .command("deposit", cents, (state, input, context) => {
      state.balanceCents += input.cents;
      context.collections.entries.set(`in-${state.balanceCents}`, { cents: input.cents });
      return state.balanceCents;
    })
    .command("withdraw", cents, (state, input) => {
      if (state.balanceCents < input.cents) {
        throw new Refused("insufficient-funds", { balanceCents: state.balanceCents });
      }
      state.balanceCents -= input.cents;
      return state.balanceCents;
    })
    .command("spoil", (state) => {
      state.balanceCents = -1;
    })
    .command("hook", (state) => {
      state.balanceCents += 1000;
      hooks.inCommand();
    })
    .command("close", (_state, _input, context) => context.delete())
    .command("tell", z.object({ to: z.string(), cents: z.number() }), (_state, input, context) => {
      context.send(receiver, input.to, "receive", { cents: input.cents });
    })
    .command("remind", z.object({ delayMs: z.number(), key: z.string() }), (_state, { delayMs, key }, context) => {
      context.after(delayMs, "deposit", { cents: 1 }, { key });
    })
    .query("balance", (state) => state.balanceCents)
    .query("keys", (_state, _input, context) => [...context.collections.entries.range()].map(([key]) => key));
  const receiver = entity("receiver")
    .state(z.object({ received: z.array(z.number()) }), () => ({ received: [] as number[] }))
    .command("receive", z.object({ cents: z.number() }), (state, input) => {
      state.received.push(input.cents);
    })
    .query("received", (state) => [...state.received]);
  const transfer = transaction("transfer", z.object({ from: z.string(), to: z.string(), cents: z.number().int() }))
    .at(({ from }) => account(from))
    .run(async (tx, input) => {
      await tx(account, input.from).withdraw({ cents: input.cents });
      await tx(account, input.to).deposit({ cents: input.cents });
    });
  const script = transaction("script", z.object({ name: z.string(), input: z.unknown() })).run(
    async (tx, { name, input }) => (await bodies.get(name)!(tx, input)) as undefined,
  );
  const bank = system("bank", { account, receiver, transfer, script });
  return { bank, account, receiver, bodies, hooks };
}
