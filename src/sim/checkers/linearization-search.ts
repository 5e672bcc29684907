/**
 * The search for one key's linearization: just-in-time linearization as a graph search (Lowe, "Testing for linearizability",
 * Concurrency and Computation 29(4), 2017, sections 4 and 5), after Wing and Gong ("Testing and verifying concurrent objects",
 * JPDC 1993).
 *
 * The history is walked along its completions. A configuration is (the completion that is next, the model's state, the known
 * operations under way that must yet be linearized, those that still can but need not (LS5), the unknown ones that were). At a
 * completion its operation is linearized, if need be after others that are under way.
 *
 * LS1  No configuration is expanded twice: they are memoised, as Lowe does.
 * LS2  Of two configurations that differ only in unknown operations, one with a subset of the other's linearized can do all that the
 *      other can, for an unknown operation need never be linearized (HI3): the other is dropped. So unknown operations cost what
 *      the states cost that they lead to, not all their subsets; a blind write adds one state, however many there are.
 * LS3  Unknown operations with equal inputs are interchangeable: the earliest invoked goes first, so n of them have n + 1 subsets.
 * LS4  An operation that reads only is linearized as soon as it is possible: no order that places it later can do more.
 * LS5  When a state is overwritten, every operation under way that overwrites as well may have been there just before, unseen. So it
 *      need not be linearized any more, though it can until it completes: there is no choice to make which of them were. And where
 *      nothing saw what one overwrote, another doesn't overwrite it at once: that is the same as leaving the first one out.
 * LS6  The configuration that is farthest in the history is expanded first, and it linearizes as little as it can. A history that is
 *      right is found right almost without a choice that is taken back.
 * LS7  What these rules can't tell apart stays exponential (it must: Gibbons and Korach, "Testing shared memories", SIAM J. Comput.
 *      1997; additions of unknown outcome with amounts of their own are a subset-sum problem), so the configurations are bounded. At
 *      the bound the answer is `undecided`.
 */
import { type Effect, impossible, type SequentialModel, type unknownOutput } from "./sequential-model.ts";

export interface Placeable<Input, Output> {
  readonly invoked: number;
  /** Infinite where the outcome is unknown. */
  readonly end: number;
  readonly input: Input;
  readonly output: Output | typeof unknownOutput;
}

export type SearchResult =
  | { readonly kind: "linearizable" }
  | { readonly kind: "undecided" }
  | {
      readonly kind: "impossible";
      /** Indices of the operations of the longest prefix, in the order found. */
      readonly order: readonly number[];
      /** The operation whose completion could not be passed. */
      readonly stuck: number;
      /** Other operations that were under way then and are not in `order`. */
      readonly pending: readonly number[];
    };

interface Configuration<State> {
  readonly completion: number;
  readonly state: State;
  /** Known operations that are under way and must be linearized, ascending. */
  readonly open: readonly number[];
  /** Those that are under way and can be linearized, but need not: they may have been overwritten unseen (LS5). Ascending. */
  readonly spare: readonly number[];
  /** Unknown operations that are linearized, ascending. */
  readonly consumed: readonly number[];
  readonly parent: Configuration<State> | null;
  /** What was linearized on the way from the parent, in order. */
  readonly linearized: readonly number[];
  /**
   * `fresh`: nothing was linearized yet for the next completion. `seen`: something was, and then read, or it changed a state.
   * `unseen`: what was linearized last has overwritten the state, and nothing has read it yet (LS5).
   */
  readonly way: "fresh" | "seen" | "unseen";
}

/** What distinguishes configurations with the same completion and state, for LS2 and LS5. */
type Choices = Pick<Configuration<unknown>, "open" | "spare" | "consumed">;

interface Waiting<State> {
  readonly configuration: Configuration<State>;
  /** False: its completing operation is to be tried. True: that has been done, and others are to go before it. */
  readonly isTried: boolean;
}

/** First in, first out, without moving what waits. */
class Queue<T> {
  readonly #items: T[] = [];
  #next = 0;

  get isEmpty(): boolean {
    return this.#next === this.#items.length;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T {
    return this.#items[this.#next++]!;
  }
}

export class LinearizationSearch<State, Input, Output> {
  readonly #model: SequentialModel<State, Input, Output>;
  readonly #operations: readonly Placeable<Input, Output>[];
  readonly #configurationsMax: number;
  /** Known operations by their ends. */
  readonly #completions: readonly number[];
  /** For each completion, the known operations that were invoked up to it and after the one before. */
  readonly #invocations: readonly (readonly number[])[];
  /** Unknown operations with equal inputs, each class in the order of invocation (LS3). */
  readonly #classes: readonly (readonly number[])[];
  readonly #queues = new Map<number, Queue<Waiting<State>>>();
  /** By completion, state and way: the choices that were seen, none of them able to do all that another can. */
  readonly #seen = new Map<string, Choices[]>();
  #count = 0;
  #deepest: Configuration<State>;

  /** `operations` in the order of their invocation. */
  constructor(
    model: SequentialModel<State, Input, Output>,
    operations: readonly Placeable<Input, Output>[],
    configurationsMax: number,
  ) {
    this.#model = model;
    this.#operations = operations;
    this.#configurationsMax = configurationsMax;
    const indices = [...operations.keys()];
    const isKnown = (index: number): boolean => operations[index]!.end < Number.POSITIVE_INFINITY;
    this.#completions = indices.filter(isKnown).sort((a, b) => operations[a]!.end - operations[b]!.end);
    this.#invocations = this.#invocationsOf(indices.filter(isKnown));
    this.#classes = classesOf(operations, (index) => !isKnown(index));
    this.#deepest = {
      completion: -1,
      state: model.init,
      open: [],
      spare: [],
      consumed: [],
      parent: null,
      linearized: [],
      way: "fresh",
    };
  }

  run(): SearchResult {
    let at = this.#add(this.#deepest);
    while (at >= 0) {
      if (at === this.#completions.length) return { kind: "linearizable" };
      // The bound is what keeps this loop finite in practice (LS7).
      if (this.#count > this.#configurationsMax) return { kind: "undecided" };
      const queue = this.#queues.get(at);
      if (queue === undefined || queue.isEmpty) {
        this.#queues.delete(at);
        at--;
        continue;
      }
      const waiting = queue.shift();
      const next = waiting.isTried ? this.#goAside(waiting.configuration) : this.#goOn(waiting.configuration, queue);
      at = Math.max(at, next);
    }
    return this.#failure();
  }

  #invocationsOf(known: readonly number[]): readonly (readonly number[])[] {
    const invocations: number[][] = [];
    let next = 0;
    for (const completing of this.#completions) {
      const invoked: number[] = [];
      const { end } = this.#operations[completing]!;
      for (; next < known.length && this.#operations[known[next]!]!.invoked <= end; next++) invoked.push(known[next]!);
      invocations.push(invoked);
    }
    return invocations;
  }

  #step(state: State, index: number): State | typeof impossible {
    const { input, output } = this.#operations[index]!;
    return this.#model.step(state, input, output);
  }

  #effect(index: number): Effect {
    const { input, output } = this.#operations[index]!;
    return this.#model.effect(input, output);
  }

  /** Linearizes the operation that completes, or leaves it where it need not be. Returns the completion that it came to. */
  #goOn(configuration: Configuration<State>, queue: Queue<Waiting<State>>): number {
    queue.push({ configuration, isTried: true });
    const completing = this.#completions[configuration.completion]!;
    const { spare, way } = configuration;
    // What was linearized for this completion was so that its operation could follow.
    if (way !== "fresh" || !spare.includes(completing)) return this.#linearize(configuration, completing);
    return this.#add({
      ...configuration,
      spare: spare.filter((index) => index !== completing),
      parent: configuration,
      linearized: [],
    });
  }

  /** Linearizes each other operation that may go before the one that completes. */
  #goAside(configuration: Configuration<State>): number {
    const { completion, open, spare, consumed, way } = configuration;
    const completing = this.#completions[completion]!;
    const { end } = this.#operations[completing]!;
    let farthest = -1;
    const tryNext = (index: number): void => {
      farthest = Math.max(farthest, this.#linearize(configuration, index));
    };
    if (way === "fresh" && spare.includes(completing)) tryNext(completing);
    for (const index of [...open, ...spare]) if (index !== completing) tryNext(index);
    for (const each of this.#classes) {
      const index = each.find((candidate) => !includes(consumed, candidate));
      if (index !== undefined && this.#operations[index]!.invoked <= end) tryNext(index);
    }
    return farthest;
  }

  #linearize(from: Configuration<State>, index: number): number {
    const state = this.#step(from.state, index);
    if (state === impossible) return -1;
    const overwrites = this.#effect(index) === "overwrites";
    if (overwrites && from.way === "unseen") return -1;
    const isUnknown = this.#operations[index]!.end === Number.POSITIVE_INFINITY;
    let open = from.open.filter((each) => each !== index);
    let spare = from.spare.filter((each) => each !== index);
    if (overwrites && open.length > 0) {
      const excused = open.filter((each) => this.#effect(each) === "overwrites");
      if (excused.length > 0) {
        open = open.filter((each) => !excused.includes(each));
        spare = [...spare, ...excused].sort((a, b) => a - b);
      }
    }
    return this.#add({
      completion: from.completion,
      state,
      open,
      spare,
      consumed: isUnknown ? inserted(from.consumed, index) : from.consumed,
      parent: from,
      linearized: [index],
      way: overwrites ? "unseen" : "seen",
    });
  }

  /**
   * Places reads that are possible (LS4), passes completions of what is placed, and queues what is new. Returns the completion
   * that it waits for; -1 for what is not new.
   */
  #add(reached: Configuration<State>): number {
    const { state, spare } = reached;
    const linearized = [...reached.linearized];
    const isPlaceable = (index: number): boolean => {
      if (this.#effect(index) !== "reads" || this.#step(state, index) === impossible) return false;
      linearized.push(index);
      return true;
    };
    let { completion } = reached;
    let open = reached.open.filter((index) => !isPlaceable(index));
    const isSeen = linearized.length > reached.linearized.length;
    while (completion < this.#completions.length) {
      const completing = this.#completions[completion];
      if (completing !== undefined && (open.includes(completing) || spare.includes(completing))) break;
      completion++;
      const invoked = this.#invocations[completion] ?? [];
      if (invoked.length > 0) open = [...open, ...invoked.filter((index) => !isPlaceable(index))];
    }
    const way = completion > reached.completion ? "fresh" : isSeen ? "seen" : reached.way;
    const configuration: Configuration<State> = { ...reached, completion, open, linearized, way };
    if (!this.#isNew(configuration)) return -1;
    this.#count++;
    let queue = this.#queues.get(completion);
    if (queue === undefined) {
      queue = new Queue();
      this.#queues.set(completion, queue);
    }
    queue.push({ configuration, isTried: false });
    if (completion > this.#deepest.completion) this.#deepest = configuration;
    return completion;
  }

  /** LS1, LS2 and LS5. */
  #isNew(configuration: Configuration<State>): boolean {
    const { completion, state, way, open, spare, consumed } = configuration;
    const name = typeof state === "object" ? JSON.stringify(state) : `${typeof state} ${state}`;
    const key = `${completion} ${way} ${name}`;
    const choices = { open, spare, consumed };
    const seen = this.#seen.get(key);
    if (seen === undefined) {
      this.#seen.set(key, [choices]);
      return true;
    }
    if (seen.some((each) => canAllThat(each, choices))) return false;
    const kept = seen.filter((each) => !canAllThat(choices, each));
    kept.push(choices);
    this.#seen.set(key, kept);
    return true;
  }

  #failure(): SearchResult {
    const parts: (readonly number[])[] = [];
    for (let at: Configuration<State> | null = this.#deepest; at !== null; at = at.parent) parts.push(at.linearized);
    const { completion, open, spare, consumed } = this.#deepest;
    const stuck = this.#completions[completion]!;
    const { end } = this.#operations[stuck]!;
    const unknown = this.#classes.flat().filter((index) => !includes(consumed, index));
    return {
      kind: "impossible",
      order: parts.reverse().flat(),
      stuck,
      pending: [
        ...[...open, ...spare].filter((index) => index !== stuck),
        ...unknown.filter((index) => this.#operations[index]!.invoked <= end),
      ],
    };
  }
}

/**
 * Whether a configuration with the choices `a` can go on in every way in which one with `b` can: it must linearize no more, it still
 * can linearize all that the other can, and it has used up no unknown operation that the other has left.
 */
function canAllThat(a: Choices, b: Choices): boolean {
  if (!isWithin(a.open, b.open) || !isWithin(a.consumed, b.consumed)) return false;
  return [...b.open, ...b.spare].every((index) => includes(a.open, index) || includes(a.spare, index));
}

function classesOf<Input>(
  operations: readonly Placeable<Input, unknown>[],
  isIncluded: (index: number) => boolean,
): readonly (readonly number[])[] {
  const classes = new Map<string, number[]>();
  for (const [index, { input }] of operations.entries()) {
    if (!isIncluded(index)) continue;
    const name = JSON.stringify(input);
    const members = classes.get(name);
    if (members === undefined) classes.set(name, [index]);
    else members.push(index);
  }
  return [...classes.values()];
}

/** Whether an ascending list has the number. */
function includes(ascending: readonly number[], wanted: number): boolean {
  let [from, to] = [0, ascending.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (ascending[middle]! < wanted) from = middle + 1;
    else to = middle;
  }
  return ascending[from] === wanted;
}

function inserted(ascending: readonly number[], added: number): readonly number[] {
  const at = ascending.findIndex((each) => each > added);
  return at < 0 ? [...ascending, added] : [...ascending.slice(0, at), added, ...ascending.slice(at)];
}

/** Whether every number of the one ascending list is in the other. */
function isWithin(inner: readonly number[], outer: readonly number[]): boolean {
  if (inner.length > outer.length) return false;
  let at = 0;
  for (const each of inner) {
    while (at < outer.length && outer[at]! < each) at++;
    if (outer[at] !== each) return false;
    at++;
  }
  return true;
}
