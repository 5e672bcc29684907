/**
 * Counters: each addition is of a token of its own, which the counter keeps.
 *
 * CO1 At the end a counter has each acknowledged token once, none twice, and none that nobody added.
 * CO2 Additions answer with the count that they left, and reads with the count: the counters are linearizable.
 */
import type { SeededRandom } from "../../src/base/random.ts";
import {
  type Applied,
  checkExactlyOnce,
  checkLinearizability,
  type CounterInput,
  type CounterOutput,
  counter,
  type Finding,
  HistoryRecorder,
  type TaggedInput,
} from "../../src/sim/checkers/index.ts";
import type { Caller } from "./caller.ts";
import { outcomeOf, type Workload } from "./workload.ts";

const counters = Array.from({ length: 6 }, (_, index) => `c${index}`);
const pageLength = 1000;

export class Counters implements Workload {
  readonly name = "counters";
  readonly promise = "exactly once, linearizable";
  readonly #tokens = new HistoryRecorder<TaggedInput, null>();
  readonly #counts = new HistoryRecorder<CounterInput, CounterOutput>();
  #lastToken = 0;

  async operate(caller: Caller, random: SeededRandom): Promise<void> {
    const key = random.pick(counters);
    if (random.chance(0.2)) {
      const invocation = this.#counts.invoke(caller.name, { type: "read", key });
      const result = await caller.call((client) => client.counter(key).count());
      invocation.complete(outcomeOf(result, (count) => count));
      return;
    }
    const token = String(++this.#lastToken).padStart(8, "0");
    const tagged = this.#tokens.invoke(caller.name, { key, id: token });
    const counted = this.#counts.invoke(caller.name, { type: "add", key, by: 1 });
    const result = await caller.call((client) => client.counter(key).add({ token }));
    tagged.complete(outcomeOf(result, () => null));
    counted.complete(outcomeOf(result, (count) => count));
  }

  async judge(judge: Caller): Promise<readonly Finding[]> {
    const applied: Applied[] = [];
    for (const key of counters) {
      const invocation = this.#counts.invoke(judge.name, { type: "read", key });
      invocation.complete({ kind: "ok", output: await judge.ask((client) => client.counter(key).count()) });
      for (let from = ""; ; ) {
        const page = await judge.ask((client) => client.counter(key).tokens({ from, limit: pageLength }));
        for (const [id, count] of page) for (let each = 0; each < count; each++) applied.push({ key, id });
        if (page.length < pageLength) break;
        // The next key in order behind the last one.
        from = `${page.at(-1)![0]}\u0000`;
      }
    }
    return [
      ...checkExactlyOnce(this.#tokens.history(), applied),
      ...checkLinearizability(counter, this.#counts.history()),
    ];
  }

  queries(): ReturnType<Workload["queries"]> {
    return counters.map((id) => ({ kind: "counter", id, query: "count" }));
  }
}
