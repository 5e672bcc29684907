/** Registers: reads, writes and compare-and-set on a few keys. RG1 Each key is linearizable. */
import type { SeededRandom } from "../../src/base/random.ts";
import {
  checkLinearizability,
  type Finding,
  HistoryRecorder,
  type RegisterInput,
  type RegisterOutput,
  register,
} from "../../src/sim/checkers/index.ts";
import type { Caller } from "./caller.ts";
import { outcomeOf, type Workload } from "./workload.ts";

const registers = Array.from({ length: 6 }, (_, index) => `r${index}`);

export class Registers implements Workload {
  readonly name = "registers";
  readonly promise = "linearizable reads, writes and compare-and-set";
  readonly #recorder = new HistoryRecorder<RegisterInput, RegisterOutput>();
  /** What was seen of each key last, by whomever: what a compare-and-set compares with, so that some take hold. */
  readonly #seen = new Map<string, string | null>();
  #lastValue = 0;

  async operate(caller: Caller, random: SeededRandom): Promise<void> {
    const key = random.pick(registers);
    const choice = random.next();
    if (choice < 0.4) {
      const invocation = this.#recorder.invoke(caller.name, { type: "read", key });
      const result = await caller.call((client) => client.register(key).value());
      invocation.complete(outcomeOf(result, (value) => value));
      if (result.kind === "ok") this.#seen.set(key, result.output);
      return;
    }
    const value = `v${++this.#lastValue}`;
    if (choice < 0.7) {
      const invocation = this.#recorder.invoke(caller.name, { type: "write", key, value });
      const result = await caller.call((client) => client.register(key).write({ value }));
      invocation.complete(outcomeOf(result, () => null));
      if (result.kind === "ok") this.#seen.set(key, value);
      return;
    }
    const from = this.#seen.get(key) ?? null;
    const invocation = this.#recorder.invoke(caller.name, { type: "cas", key, from, to: value });
    const result = await caller.call((client) => client.register(key).replace({ from, to: value }));
    invocation.complete(outcomeOf(result, (tookHold) => tookHold));
    if (result.kind === "ok" && result.output) this.#seen.set(key, value);
  }

  async judge(judge: Caller): Promise<readonly Finding[]> {
    for (const key of registers) {
      const invocation = this.#recorder.invoke(judge.name, { type: "read", key });
      invocation.complete({ kind: "ok", output: await judge.ask((client) => client.register(key).value()) });
    }
    return checkLinearizability(register, this.#recorder.history());
  }

  queries(): ReturnType<Workload["queries"]> {
    return registers.map((id) => ({ kind: "register", id, query: "value" }));
  }
}
