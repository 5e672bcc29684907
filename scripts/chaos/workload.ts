/** What clients do during a run, and the judgement over what they were told once all is healed. */
import type { SeededRandom } from "../../src/base/random.ts";
import type { Finding } from "../../src/sim/checkers/index.ts";
import type { Outcome } from "../../src/sim/checkers/index.ts";
import type { Caller, CallResult } from "./caller.ts";

export interface Workload {
  readonly name: string;
  /** What its checkers hold to. */
  readonly promise: string;
  /** One operation of one client. */
  operate(caller: Caller, random: SeededRandom): Promise<void>;
  /** Reads everything, and holds it against what clients were told. Throws what a call does that is not answered. */
  judge(judge: Caller): Promise<readonly Finding[]>;
  /** Queries whose results all copies must come to agree on. */
  queries(): readonly { readonly kind: string; readonly id: string; readonly query: string }[];
}

/** For a call that its system never refuses, and for one whose refusal means that nothing happened. */
export function outcomeOf<T, Output>(result: CallResult<T>, output: (given: T) => Output): Outcome<Output> {
  switch (result.kind) {
    case "ok":
      return { kind: "ok", output: output(result.output) };
    case "refused":
    case "fail":
      return { kind: "fail" };
    case "unknown":
      return { kind: "unknown" };
  }
}
