/**
 * How fast the checkers of `src/sim/checkers` are: `node --import tsx scripts/check-speed.ts [operations]`, 100,000 if absent.
 *
 * Each line is one check of one generated history: of a right system (16 clients, 1 in 100 outcomes unknown, as many failed), and of the
 * same with one output changed, so that the search has to give up. Not measured: generating, and reading a history from a file.
 */
import { performance } from "node:perf_hooks";
import { SeededRandom } from "../src/base/random.ts";
import { simulateHistory, withOutput } from "../src/sim/checkers/histories.fixture.ts";
import {
  checkLinearizability,
  checkListAppend,
  checkRegisterTransactions,
  checkSessions,
  counter,
  type CounterInput,
  type CounterOutput,
  type Finding,
  type History,
  type ListStep,
  type ListTransaction,
  type RegisterInput,
  type RegisterOutput,
  type RegisterStep,
  type RegisterTransaction,
  register,
  type VersionedInput,
} from "../src/sim/checkers/index.ts";

const operations = Number(process.argv[2] ?? 100_000);
const clients = 16;
const chances = { failProbability: 0.01, unknownProbability: 0.01 };

interface Size {
  readonly keys: number;
  readonly count: number;
}

function registers({ keys, count }: Size): History<RegisterInput, RegisterOutput> {
  const values = new Map<string, RegisterOutput>();
  return simulateHistory<RegisterInput, RegisterOutput>({
    seed: keys,
    clients,
    operations: count,
    ...chances,
    draw: (random, index) => {
      const key = `k${random.integer(keys)}`;
      return random.chance(0.5) ? { type: "read", key } : { type: "write", key, value: index };
    },
    perform: (input) => {
      if (input.type === "write") values.set(input.key, input.value);
      return input.type === "write" ? null : (values.get(input.key) ?? null);
    },
  });
}

function counters({ keys, count }: Size): History<CounterInput, CounterOutput> {
  const counts = new Map<string, number>();
  return simulateHistory<CounterInput, CounterOutput>({
    seed: keys,
    clients,
    operations: count,
    ...chances,
    draw: (random) => {
      const key = `k${random.integer(keys)}`;
      return random.chance(0.3) ? { type: "read", key } : { type: "add", key, by: 1 };
    },
    perform: (input) => {
      const count = (counts.get(input.key) ?? 0) + (input.type === "add" ? input.by : 0);
      counts.set(input.key, count);
      return count;
    },
  });
}

function versions(keys: number): History<VersionedInput, number> {
  const latest = new Map<string, number>();
  return simulateHistory<VersionedInput, number>({
    seed: keys,
    clients,
    operations,
    ...chances,
    draw: (random) => ({ type: random.pick(["read", "write"] as const), key: `k${random.integer(keys)}` }),
    perform: ({ type, key }) => {
      if (type === "write") latest.set(key, (latest.get(key) ?? 0) + 1);
      return latest.get(key) ?? 0;
    },
  });
}

interface TransactionSize {
  readonly keys: number;
  /** How likely a read doesn't see the last write. */
  readonly staleProbability: number;
}

const stepsMax = 4;

/** Steps of one transaction; every value is written once. */
function drawSteps<Write>(keys: number, write: (key: string, value: number) => Write) {
  return (random: SeededRandom, index: number): (Write | { readonly type: "read"; readonly key: string })[] =>
    Array.from({ length: 1 + random.integer(stepsMax) }, (_, at) => {
      const key = `k${random.integer(keys)}`;
      return random.chance(0.5) ? { type: "read" as const, key } : write(key, index * stepsMax + at);
    });
}

function listTransactions({ keys, staleProbability }: TransactionSize): readonly ListTransaction[] {
  const lists = new Map<string, number[]>();
  const random = new SeededRandom(`stale ${keys}`);
  return simulateHistory<readonly ListStep[], readonly (readonly number[] | null)[]>({
    seed: keys,
    clients,
    operations,
    ...chances,
    draw: drawSteps(keys, (key, value): ListStep => ({ type: "append", key, value })),
    perform: (steps) =>
      steps.map((step) => {
        const list = lists.get(step.key) ?? [];
        if (step.type === "read") return list.slice(0, random.chance(staleProbability) ? -1 : list.length);
        lists.set(step.key, list);
        list.push(step.value as number);
        return null;
      }),
  });
}

function registerTransactions({ keys, staleProbability }: TransactionSize): readonly RegisterTransaction[] {
  const values = new Map<string, readonly [latest: number, before: number | null]>();
  const random = new SeededRandom(`stale ${keys}`);
  return simulateHistory<readonly RegisterStep[], readonly (number | null)[]>({
    seed: keys,
    clients,
    operations,
    ...chances,
    draw: drawSteps(keys, (key, value): RegisterStep => ({ type: "write", key, value })),
    perform: (steps) =>
      steps.map((step) => {
        const [latest, before] = values.get(step.key) ?? [null, null];
        if (step.type === "read") return random.chance(staleProbability) ? before : latest;
        values.set(step.key, [step.value as number, latest]);
        return null;
      }),
  });
}

/** The history with a read in its last tenth that returns what its key can't have had then. */
function spoiled<Input extends { readonly type: string }, Output>(
  history: History<Input, Output>,
  output: Output,
): History<Input, Output> {
  const from = Math.floor(history.length * 0.9);
  const at = history.findIndex(
    ({ input, outcome }, index) => index >= from && input.type === "read" && outcome.kind === "ok",
  );
  return withOutput(history, at, output);
}

function measure(name: string, check: () => readonly Finding[]): void {
  globalThis.gc?.();
  const [startedMs, cpu] = [performance.now(), process.cpuUsage()];
  const findings = check();
  const tookMs = performance.now() - startedMs;
  // On a busy machine the time on the clock says little.
  const { user, system } = process.cpuUsage(cpu);
  const names = new Map<string, number>();
  for (const { anomaly } of findings) names.set(anomaly, (names.get(anomaly) ?? 0) + 1);
  const found = [...names].map(([anomaly, count]) => `${count} ${anomaly}`).join(", ");
  const heapMiB = Math.round(process.memoryUsage().heapUsed / 2 ** 20);
  console.log(
    `${name.padEnd(58)} ${`${(tookMs / 1000).toFixed(2)} s`.padStart(9)} ${`${((user + system) / 1e6).toFixed(2)} s CPU`.padStart(12)} ${`${heapMiB} MiB`.padStart(9)}  ${found || "nothing found"}`,
  );
}

console.log(
  `${operations} operations of ${clients} clients, Node ${process.version}, ${process.platform} ${process.arch}`,
);

// All clients on one key are what the search is worst at, so there are fewer operations.
for (const size of [
  { keys: 1000, count: operations },
  { keys: 10, count: Math.ceil(operations / 5) },
  { keys: 1, count: Math.ceil(operations / 50) },
]) {
  const what = `${size.count} operations, keys: ${size.keys}`;
  const [writes, adds] = [registers(size), counters(size)];
  measure(`linearizability, registers, ${what}`, () => checkLinearizability(register, writes));
  measure("  and one read wrong", () => checkLinearizability(register, spoiled(writes, -1)));
  measure(`linearizability, counters, ${what}`, () => checkLinearizability(counter, adds));
  measure("  and one read wrong", () => checkLinearizability(counter, spoiled(adds, -1)));
}

for (const [keys, staleProbability] of [
  [10_000, 0],
  [1000, 0],
  [1000, 0.0001],
  [1000, 0.2],
] as const) {
  const what = `${operations} transactions, keys: ${keys}${staleProbability > 0 ? `, ${staleProbability * 100} % of reads stale` : ""}`;
  const lists = listTransactions({ keys, staleProbability });
  measure(`serializability, lists, ${what}`, () => checkListAppend(lists));
  const values = registerTransactions({ keys, staleProbability });
  measure(`serializability, registers, ${what}`, () => checkRegisterTransactions(values));
}

const sessions = versions(1000);
measure("session guarantees, 1000 keys", () => checkSessions(sessions));
