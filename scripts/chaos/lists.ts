/**
 * Lists: transactions that append to several lists and read them, in several shards.
 *
 * LS1 The history is strictly serializable (`checkListAppend`).
 * LS2 A list is left for a new one once it is long: reads cost what they read, and a run may last.
 */
import type { SeededRandom } from "../../src/base/random.ts";
import {
  checkListAppend,
  type Finding,
  HistoryRecorder,
  type ListStep,
  type ListTransaction,
} from "../../src/sim/checkers/index.ts";
import type { Caller } from "./caller.ts";
import { outcomeOf, type Workload } from "./workload.ts";

const listsAtOnce = 5;
const appendsMax = 60;
const [stepsMin, stepsMax] = [2, 4];
/** Of one transaction in which the judge reads. */
const judgedAtOnce = 5;

type Steps = readonly ListStep[];
type Reads = readonly (readonly number[] | null)[];

export class Lists implements Workload {
  readonly name = "lists";
  readonly promise = "strictly serializable transactions";
  readonly #recorder = new HistoryRecorder<Steps, Reads>();
  readonly #appendCounts = new Map<string, number>();
  readonly #keys = Array.from({ length: listsAtOnce }, (_, index) => `l${index}`);
  readonly #allKeys = new Set(this.#keys);
  #lastItem = 0;

  async operate(caller: Caller, random: SeededRandom): Promise<void> {
    const readsOnly = random.chance(0.2);
    const steps = Array.from({ length: random.between(stepsMin, stepsMax) }, (): ListStep => {
      const index = random.integer(listsAtOnce);
      const key = this.#keys[index]!;
      if (readsOnly || random.chance(0.4)) return { type: "read", key };
      this.#appended(index, key);
      return { type: "append", key, value: ++this.#lastItem };
    });
    const invocation = this.#recorder.invoke(caller.name, steps);
    const result = await caller.call((client) => client.mix(inputOf(steps)));
    invocation.complete(outcomeOf(result, (reads) => reads));
  }

  /** LS2. */
  #appended(index: number, key: string): void {
    const count = (this.#appendCounts.get(key) ?? 0) + 1;
    this.#appendCounts.set(key, count);
    if (count < appendsMax) return;
    const next = `l${this.#allKeys.size}`;
    this.#keys[index] = next;
    this.#allKeys.add(next);
  }

  async judge(judge: Caller): Promise<readonly Finding[]> {
    const keys = [...this.#allKeys];
    for (let from = 0; from < keys.length; from += judgedAtOnce) {
      const steps = keys.slice(from, from + judgedAtOnce).map((key): ListStep => ({ type: "read", key }));
      const invocation = this.#recorder.invoke(judge.name, steps);
      invocation.complete({ kind: "ok", output: await judge.ask((client) => client.mix(inputOf(steps))) });
    }
    return checkListAppend(this.#recorder.history() as readonly ListTransaction[]);
  }

  queries(): ReturnType<Workload["queries"]> {
    return [...this.#allKeys].slice(-10).map((id) => ({ kind: "list", id, query: "items" }));
  }
}

function inputOf(steps: Steps): {
  home: string;
  steps: ({ type: "read"; id: string } | { type: "append"; id: string; item: number })[];
} {
  return {
    home: steps[0]!.key,
    steps: steps.map((step) =>
      step.type === "read"
        ? { type: "read", id: step.key }
        : { type: "append", id: step.key, item: step.value as number },
    ),
  };
}
