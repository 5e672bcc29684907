import { entity, Refused, system, transaction } from "onefold";
import { z } from "zod";

const account = entity("account")
  .state(z.object({ balanceCents: z.number().int().nonnegative() }), () => ({ balanceCents: 0 }))
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

export const bank = system("bank", { account, transfer });
