/** The types of the system whose source `cluster-quarantine.test.ts` writes for real nodes. */
import { z } from "zod";
import { entity, system } from "../../src/index.ts";

const guest = entity("guest")
  .state(z.object({ count: z.number() }), () => ({ count: 0 }))
  .command("greet", (state) => ++state.count)
  .command("eat", (state) => ++state.count);

export const guests = system("guests", { guest });
