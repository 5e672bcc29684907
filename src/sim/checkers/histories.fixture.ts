/** Histories for tests: hand-written ones in one line an operation, and those of a correct system with concurrent clients. */
import { SeededRandom } from "../../base/random.ts";
import type { History, Operation, Outcome } from "./history.ts";
import { HistoryRecorder, type Invocation } from "./history-recorder.ts";

/** An operation that ended well. */
export function ok<Input, Output>(
  process: string,
  [invoked, completed]: readonly [number, number],
  input: Input,
  output: Output,
): Operation<Input, Output> {
  return { process, invoked, completed, input, outcome: { kind: "ok", output } };
}

export function failed<Input, Output>(
  process: string,
  [invoked, completed]: readonly [number, number],
  input: Input,
): Operation<Input, Output> {
  return { process, invoked, completed, input, outcome: { kind: "fail" } };
}

export function unknown<Input, Output>(process: string, invoked: number, input: Input): Operation<Input, Output> {
  return { process, invoked, completed: null, input, outcome: { kind: "unknown" } };
}

export interface Simulation<Input, Output> {
  readonly seed: number | string;
  readonly clients: number;
  readonly operations: number;
  readonly failProbability?: number;
  readonly unknownProbability?: number;
  /** The next input of a client. */
  readonly draw: (random: SeededRandom, index: number) => Input;
  /** Runs one operation on the system's state, atomically. */
  readonly perform: (input: Input) => Output;
}

/**
 * The history of a right system: every operation takes hold at one moment between its invocation and its completion, a failed one
 * never, and an unknown one never or at some moment, perhaps long after its client went on.
 */
export function simulateHistory<Input, Output>(simulation: Simulation<Input, Output>): History<Input, Output> {
  const { clients, operations, failProbability = 0, unknownProbability = 0, draw, perform } = simulation;
  const random = new SeededRandom(simulation.seed);
  const recorder = new HistoryRecorder<Input, Output>();
  const free = Array.from({ length: clients }, (_, index) => `c${index}`);
  const underWay: { process: string; input: Input; invocation: Invocation<Output>; outcome?: Outcome<Output> }[] = [];
  const late: Input[] = [];
  let started = 0;
  while (started < operations || underWay.length > 0) {
    const begins = started < operations && free.length > 0 && (underWay.length === 0 || random.chance(0.5));
    if (late.length > 0 && random.chance(0.2)) perform(late.splice(random.integer(late.length), 1)[0]!);
    if (begins) {
      const process = free.splice(random.integer(free.length), 1)[0]!;
      const input = draw(random, started++);
      underWay.push({ process, input, invocation: recorder.invoke(process, input) });
      continue;
    }
    const at = random.integer(underWay.length);
    const work = underWay[at]!;
    if (work.outcome === undefined) {
      if (random.chance(failProbability)) work.outcome = { kind: "fail" };
      else if (random.chance(unknownProbability)) {
        work.outcome = { kind: "unknown" };
        if (random.chance(0.6)) late.push(work.input);
      } else work.outcome = { kind: "ok", output: perform(work.input) };
      continue;
    }
    underWay.splice(at, 1);
    free.push(work.process);
    work.invocation.complete(work.outcome);
  }
  return recorder.history();
}

/** The history with one ok operation's output changed. */
export function withOutput<Input, Output>(
  history: History<Input, Output>,
  index: number,
  output: Output,
): History<Input, Output> {
  return history.map((operation, at) => (at === index ? { ...operation, outcome: { kind: "ok", output } } : operation));
}

/** All orders of some of the operations that contain every `ok` one, keep real time and leave out every failed one. */
export function* ordersOf<Input, Output>(
  history: History<Input, Output>,
): Iterable<readonly Operation<Input, Output>[]> {
  yield* extended(
    [],
    history.filter(({ outcome }) => outcome.kind !== "fail"),
  );
}

function* extended<Input, Output>(
  order: readonly Operation<Input, Output>[],
  left: History<Input, Output>,
): Iterable<readonly Operation<Input, Output>[]> {
  if (left.every(({ outcome }) => outcome.kind === "unknown")) yield order;
  for (const next of left) {
    const others = left.filter((each) => each !== next);
    const isMinimal = others.every(
      ({ outcome, completed }) => outcome.kind !== "ok" || completed === null || completed >= next.invoked,
    );
    if (isMinimal) yield* extended([...order, next], others);
  }
}
