/** A workload's client that ends for ever, before one of its calls or in the middle of it. */
import type { SeededRandom } from "../../base/random.ts";

const clientMoments = ["before", "during"] as const;

/** `call` is counted from 1; it is not sent any more (`before`), or sent and its answer never seen (`during`). */
export interface ClientDeath {
  readonly call: number;
  readonly moment: (typeof clientMoments)[number];
}

/** Short workloads must be hit in their middle, and long ones not always at their beginning. */
export function drawClientDeath(random: SeededRandom): ClientDeath {
  return { call: random.between(1, random.pick([8, 40, 200])), moment: random.pick(clientMoments) };
}
