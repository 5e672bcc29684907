/** Transactions for tests: short hand-written ones, and those of a system that runs them atomically, or not quite. */
import { SeededRandom } from "../../base/random.ts";
import { ok, ordersOf, simulateHistory, unknown } from "./histories.fixture.ts";
import type { History, Operation } from "./history.ts";
import type { ListStep, ListTransaction, RegisterStep, RegisterTransaction, Scalar } from "./transaction-steps.ts";

type Observed = readonly Scalar[] | null;

/** Steps as text, `r x 1,2` (found these elements; `r x` none) and `a x 3`: an ok transaction at a time. */
export function list(process: string, times: readonly [number, number], ...texts: readonly string[]): ListTransaction {
  const outputs: Observed[] = [];
  const steps = texts.map((text): ListStep => {
    const [type, key = "", rest = ""] = text.split(" ");
    outputs.push(type === "r" ? rest.split(",").filter(Boolean).map(Number) : null);
    return type === "r" ? { type: "read", key } : { type: "append", key, value: Number(rest) };
  });
  return ok(process, times, steps, outputs);
}

/** The same for registers: `r x 1` or `r x` (null), and `w x 3`. */
export function registers(
  process: string,
  times: readonly [number, number],
  ...texts: readonly string[]
): RegisterTransaction {
  const outputs: (Scalar | null)[] = [];
  const steps = texts.map((text): RegisterStep => {
    const [type, key = "", rest] = text.split(" ");
    outputs.push(type === "r" && rest !== undefined ? Number(rest) : null);
    return type === "r" ? { type: "read", key } : { type: "write", key, value: Number(rest) };
  });
  return ok(process, times, steps, outputs);
}

/** The same transaction, aborted or of unknown outcome. */
export function aborted<Input, Output>(operation: Operation<Input, Output>): Operation<Input, Output> {
  return { ...operation, outcome: { kind: "fail" } };
}

export function unanswered<Input, Output>({
  process,
  invoked,
  input,
}: Operation<Input, Output>): Operation<Input, Output> {
  return unknown(process, invoked, input);
}

export interface TransactionPlan {
  readonly seed: number;
  readonly transactions: number;
  readonly clients: number;
  readonly keys: number;
  readonly stepsMax: number;
  /** How likely a transaction reads an old state: 0 for a right system. */
  readonly staleProbability?: number;
  readonly unknownProbability?: number;
}

function drawSteps<Write>(
  { keys, stepsMax }: TransactionPlan,
  write: (key: string, value: number) => Write,
): (random: SeededRandom, index: number) => readonly (Write | { readonly type: "read"; readonly key: string })[] {
  return (random, index) =>
    Array.from({ length: 1 + random.integer(stepsMax) }, (_, at) => {
      const key = `k${random.integer(keys)}`;
      return random.chance(0.5) ? { type: "read" as const, key } : write(key, index * stepsMax + at);
    });
}

function base({ seed, clients, transactions, unknownProbability = 0.05 }: TransactionPlan) {
  return { seed, clients, operations: transactions, failProbability: 0.05, unknownProbability };
}

/** Runs transactions on states that are never changed, so that a stale one is an old reference. */
function performer<Step extends { readonly type: string; readonly key: string }, State, Output>(
  { seed, staleProbability = 0 }: TransactionPlan,
  run: (
    state: ReadonlyMap<string, State>,
    seen: ReadonlyMap<string, State>,
    steps: readonly Step[],
  ) => Ran<State, Output>,
): (steps: readonly Step[]) => readonly Output[] {
  const random = new SeededRandom(`performer ${seed}`);
  const past: ReadonlyMap<string, State>[] = [new Map()];
  return (steps) => {
    const latest = past.at(-1)!;
    const seen = random.chance(staleProbability) ? past[Math.max(0, past.length - 2 - random.integer(3))]! : latest;
    const { state, outputs } = run(latest, seen, steps);
    past.push(state);
    if (past.length > 8) past.shift();
    return outputs;
  };
}

interface Ran<State, Output> {
  readonly state: ReadonlyMap<string, State>;
  readonly outputs: readonly Output[];
}

type Lists = ReadonlyMap<string, readonly Scalar[]>;

/** Reads see `seen` and the transaction's own appends; appends go to `state`. */
export function runLists(state: Lists, seen: Lists, steps: readonly ListStep[]): Ran<readonly Scalar[], Observed> {
  const [next, view] = [new Map(state), new Map(seen)];
  const outputs = steps.map((step): Observed => {
    if (step.type === "read") return view.get(step.key) ?? [];
    for (const lists of [next, view]) lists.set(step.key, [...(lists.get(step.key) ?? []), step.value]);
    return null;
  });
  return { state: next, outputs };
}

export function runRegisters(
  state: ReadonlyMap<string, Scalar>,
  seen: ReadonlyMap<string, Scalar>,
  steps: readonly RegisterStep[],
): Ran<Scalar, Scalar | null> {
  const [next, view] = [new Map(state), new Map(seen)];
  const outputs = steps.map((step): Scalar | null => {
    if (step.type === "read") return view.get(step.key) ?? null;
    for (const values of [next, view]) values.set(step.key, step.value);
    return null;
  });
  return { state: next, outputs };
}

export function listHistory(plan: TransactionPlan): readonly ListTransaction[] {
  const write = (key: string, value: number): ListStep => ({ type: "append", key, value });
  return simulateHistory({ ...base(plan), draw: drawSteps(plan, write), perform: performer(plan, runLists) });
}

export function registerHistory(plan: TransactionPlan): readonly RegisterTransaction[] {
  const write = (key: string, value: number): RegisterStep => ({ type: "write", key, value });
  return simulateHistory({ ...base(plan), draw: drawSteps(plan, write), perform: performer(plan, runRegisters) });
}

/** Whether some order in real time gives every output, by trying them all. */
export function hasSerialOrder<Step, State, Output>(
  history: History<readonly Step[], readonly Output[]>,
  run: (
    state: ReadonlyMap<string, State>,
    seen: ReadonlyMap<string, State>,
    steps: readonly Step[],
  ) => Ran<State, Output>,
): boolean {
  for (const order of ordersOf(history)) {
    let state: ReadonlyMap<string, State> = new Map();
    const fits = order.every(({ input, outcome }) => {
      const ran = run(state, state, input);
      state = ran.state;
      return outcome.kind !== "ok" || JSON.stringify(ran.outputs) === JSON.stringify(outcome.output);
    });
    if (fits) return true;
  }
  return false;
}
