/** A bank, for the client's tests. */
import { z } from "zod";
import { entity } from "../entity/define.ts";
import { system, transaction } from "../entity/define-system.ts";
import { Refused } from "../base/errors.ts";

const cents = z.object({ cents: z.number().int().positive() });

export const account = entity("account")
  .state(z.object({ balanceCents: z.number().int().nonnegative() }), () => ({ balanceCents: 0 }))
  .command("deposit", cents, (state, input) => {
    state.balanceCents += input.cents;
    return state.balanceCents;
  })
  .command("withdraw", cents, (state, input) => {
    if (state.balanceCents < input.cents) {
      throw new Refused("insufficient-funds", { balanceCents: state.balanceCents });
    }
    state.balanceCents -= input.cents;
    return state.balanceCents;
  })
  .command("touch", () => undefined)
  .command("echo", z.object({ value: z.unknown() }), (_state, { value }) => ({ value }))
  .command("loop", () => {
    for (;;);
  })
  .command("break", (): string => {
    throw new TypeError("a bug of the user's");
  })
  .query("balance", (state) => state.balanceCents)
  .query("atLeast", cents, (state, input) => state.balanceCents >= input.cents)
  .query("large", (state) => `${state.balanceCents} ${"x".repeat(200_000)}`);

export const transfer = transaction(
  "transfer",
  z.object({ from: z.string(), to: z.string(), cents: z.number().int().positive() }),
)
  .at(({ from }) => account(from))
  .run(async (tx, { from, to, cents: amount }) => {
    await tx(account, from).withdraw({ cents: amount });
    return tx(account, to).deposit({ cents: amount });
  });

/** Takes its time. */
export const pause = transaction("pause", z.object({ forMs: z.number() })).run(async (_tx, { forMs }) => {
  await new Promise((resolve) => setTimeout(resolve, forMs));
  return forMs;
});

export const bank = system("bank", { account, transfer, pause });
