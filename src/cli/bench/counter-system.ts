/** What `onefold bench` measures where it is given nothing else: as little user code as there can be. */
import { z } from "zod";
import { entity, system } from "../../index.ts";

const counter = entity("counter")
  .state(z.object({ count: z.number().int() }), () => ({ count: 0 }))
  .command("increment", (state) => {
    state.count += 1;
    return state.count;
  })
  .query("count", (state) => state.count);

export const bench = system("bench", { counter });
