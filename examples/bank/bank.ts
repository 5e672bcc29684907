import { entity, Refused, system, transaction } from "onefold";
import { z } from "zod";

const balanceCents = z.number().int().nonnegative();
const refusals = { "insufficient-funds": z.object({ balanceCents }) };

// What stands behind a function is for /openapi.json: what it gives, and how it may refuse.
const account = entity("account")
  .state(z.object({ balanceCents }), () => ({ balanceCents: 0 }))
  .command(
    "deposit",
    z.object({ cents: z.number().int().positive() }),
    (state, { cents }) => {
      state.balanceCents += cents;
      return state.balanceCents;
    },
    { description: "Puts money into the account; gives its new balance.", output: balanceCents },
  )
  .command(
    "withdraw",
    z.object({ cents: z.number().int().positive() }),
    (state, { cents }) => {
      if (state.balanceCents < cents) throw new Refused("insufficient-funds", { balanceCents: state.balanceCents });
      state.balanceCents -= cents;
      return state.balanceCents;
    },
    { description: "Takes money out of the account; gives its new balance.", output: balanceCents, refusals },
  )
  .query("balance", (state) => state.balanceCents, { output: balanceCents });

const transfer = transaction(
  "transfer",
  z.object({ from: z.string(), to: z.string(), cents: z.number().int().positive() }),
)
  .at(({ from }) => account(from))
  .run(
    async (tx, { from, to, cents }) => {
      await tx(account, from).withdraw({ cents });
      await tx(account, to).deposit({ cents });
    },
    { description: "Moves money from one account to another, whole or not at all.", refusals },
  );

export const bank = system("bank", { account, transfer });
