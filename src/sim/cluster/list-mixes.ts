/** Transactions on lists in different shards, for the checker of strict serializability: each item is appended once. */
import type { SeededRandom } from "../../base/random.ts";
import type { Finding } from "../checkers/history.ts";
import { HistoryRecorder } from "../checkers/history-recorder.ts";
import { checkListAppend } from "../checkers/list-append.ts";
import type { ListStep, ListTransaction } from "../checkers/transaction-steps.ts";
import { type ClusterClient, driller } from "./cluster-client.ts";
import type { DrillOperation, DrillPart, LastWord } from "./drill-part.ts";

const lists = ["l0", "l1", "l2", "l3", "l4"];
const stepsMin = 2;
const stepsMax = 4;

type Steps = readonly ListStep[];
type Reads = readonly (readonly number[] | null)[];

export class ListMixes implements DrillPart {
  readonly operations: readonly DrillOperation[] = [(client, random) => this.#mix(client, random)];
  readonly #recorder = new HistoryRecorder<Steps, Reads>();
  #lastItem = 0;

  async #mix(client: ClusterClient, random: SeededRandom): Promise<void> {
    const readsOnly = random.chance(0.2);
    const steps = Array.from({ length: random.between(stepsMin, stepsMax) }, (): ListStep => {
      const key = random.pick(lists);
      if (readsOnly || random.chance(0.4)) return { type: "read", key };
      return { type: "append", key, value: ++this.#lastItem };
    });
    const invocation = this.#recorder.invoke(client.name, steps);
    const outcome = await client.write((service, options) => service.transaction("mix", inputOf(steps), options));
    if (outcome.kind === "ok") invocation.complete({ kind: "ok", output: outcome.output as Reads });
    else if (outcome.kind === "fail") invocation.complete({ kind: "fail" });
  }

  async judge(ask: LastWord): Promise<readonly Finding[]> {
    const steps = lists.map((key): ListStep => ({ type: "read", key }));
    const invocation = this.#recorder.invoke("judge", steps);
    const output = await ask((service) =>
      service.transaction("mix", inputOf(steps), { principal: driller, deadlineMs: 10_000 }),
    );
    invocation.complete({ kind: "ok", output: output as Reads });
    return checkListAppend(this.#recorder.history() as readonly ListTransaction[]);
  }
}

function inputOf(steps: Steps): { readonly home: string; readonly steps: readonly object[] } {
  return {
    home: steps[0]!.key,
    steps: steps.map((step) =>
      step.type === "read" ? { type: "read", id: step.key } : { type: "append", id: step.key, item: step.value },
    ),
  };
}
