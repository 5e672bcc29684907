import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { SeededRandom } from "../../base/random.ts";
import { ok, ordersOf, failed, simulateHistory, unknown, withOutput } from "./histories.fixture.ts";
import type { History } from "./history.ts";
import { checkLinearizability } from "./linearizability.ts";
import {
  account,
  type AccountInput,
  type AccountOutput,
  type CounterInput,
  counter,
  type CounterOutput,
  impossible,
  type RegisterInput,
  type RegisterOutput,
  register,
  type SequentialModel,
  unknownOutput,
} from "./sequential-model.ts";

const read = { type: "read", key: "x" } as const;
const write = (value: number): RegisterInput => ({ type: "write", key: "x", value });
const add = (by: number): CounterInput => ({ type: "add", key: "x", by });

/** The names of what is found in a history of one register. */
function anomalies(history: History<RegisterInput, RegisterOutput>): readonly string[] {
  return checkLinearizability(register, history).map(({ anomaly }) => anomaly);
}

describe("linearizability of hand-made histories", () => {
  test("nothing is found in an empty history and in overlapping operations that have an order", () => {
    assert.deepEqual(anomalies([]), []);
    assert.deepEqual(
      anomalies([ok("a", [0, 5], write(1), null), ok("b", [1, 2], read, 1), ok("c", [3, 4], read, 1)]),
      [],
    );
  });

  test("a stale read is found and explained by the order that was possible and what fits nowhere", () => {
    const [finding, ...others] = checkLinearizability(register, [
      ok("a", [0, 1], write(1), null),
      ok("a", [2, 3], write(2), null),
      ok("b", [4, 7], read, 1),
      unknown("c", 5, write(9)),
    ]);
    assert.deepEqual(others, []);
    assert.equal(finding?.anomaly, "non-linearizable");
    assert.equal(
      finding?.explanation,
      [
        "key x: 2 of 4 operations can be put in order, and then the one marked ! fits nowhere.",
        "Numbers: the longest order. Marked ?: under way meanwhile, not placed.",
        '  1 a [0, 1] write {"value":1} -> null     ||',
        '  2 a [2, 3] write {"value":2} -> null       ||',
        "  ! b [4, 7] read -> 1                         |-|",
        '  ? c [5, ?] write {"value":9} -> unknown       |-->',
      ].join("\n"),
    );
  });

  test("two reads that see two writes in two orders are found", () => {
    const writes = [ok("a", [0, 9], write(1), null), ok("b", [0, 9], write(2), null)];
    assert.deepEqual(anomalies([...writes, ok("c", [1, 2], read, 1), ok("c", [3, 4], read, 2)]), []);
    assert.deepEqual(
      anomalies([...writes, ok("c", [1, 2], read, 1), ok("c", [3, 4], read, 2), ok("c", [5, 6], read, 1)]),
      ["non-linearizable"],
    );
  });

  test("a write of unknown outcome may take hold late, once, or never", () => {
    const early = [unknown<RegisterInput, RegisterOutput>("a", 0, write(1)), ok("b", [1, 2], write(2), null)];
    assert.deepEqual(anomalies([...early, ok("b", [3, 4], read, 2), ok("b", [5, 6], read, 1)]), []);
    assert.deepEqual(
      anomalies([...early, ok("b", [3, 4], read, 1), ok("b", [5, 6], write(3), null), ok("b", [7, 8], read, 1)]),
      ["non-linearizable"],
    );
    assert.deepEqual(anomalies([ok("b", [0, 1], read, 1), unknown("a", 2, write(1))]), ["non-linearizable"]);
  });

  test("a failed write that is read is found", () => {
    assert.deepEqual(anomalies([failed("a", [0, 1], write(1)), ok("b", [2, 3], read, 1)]), ["non-linearizable"]);
  });

  test("two compare-and-sets that both took hold from one value are found", () => {
    const cas = (to: number): RegisterInput => ({ type: "cas", key: "x", from: null, to });
    assert.deepEqual(anomalies([ok("a", [0, 5], cas(1), true), ok("b", [1, 6], cas(2), false)]), []);
    assert.deepEqual(anomalies([ok("a", [0, 5], cas(1), true), ok("b", [1, 6], cas(2), true)]), ["non-linearizable"]);
  });

  test("a counter that lost an addition, and an account that was overdrawn, are found", () => {
    const lost: History<CounterInput, CounterOutput> = [ok("a", [0, 5], add(1), 1), ok("b", [1, 6], add(1), 1)];
    assert.equal(checkLinearizability(counter, lost).length, 1);
    const input: AccountInput = { type: "withdraw", key: "x", cents: 5 };
    assert.equal(checkLinearizability(account, [ok("a", [0, 1], input, -5)]).length, 1);
    assert.equal(checkLinearizability(account, [ok("a", [0, 1], input, "insufficient" as AccountOutput)]).length, 0);
  });

  test("each bad key has its finding, and good ones none", () => {
    const on = (key: string, value: number) => ok("a", [0, 1], { type: "read", key } as RegisterInput, value);
    const good = ok("a", [0, 1], { type: "read", key: "z" } as RegisterInput, null);
    const found = checkLinearizability(register, [on("x", 1), on("y", 1), good]);
    assert.deepEqual(
      found.map(({ explanation }) => explanation.slice(0, 5)),
      ["key x", "key y"],
    );
  });
});

describe("linearizability, bounded", () => {
  test("the answer at the bound is undecided, never silence", () => {
    const history: History<CounterInput, CounterOutput> = [
      ...Array.from({ length: 24 }, (_, i) => unknown<CounterInput, CounterOutput>(`u${i}`, i, add(2 ** (i + 1)))),
      ok("a", [30, 31], { type: "read", key: "x" }, 3),
    ];
    const [finding] = checkLinearizability(counter, history, { configurationsMax: 1000 });
    assert.equal(finding?.anomaly, "undecided");
  });

  test("hundreds of unknown writes cost a configuration each, not their subsets, even where the history is wrong", () => {
    const history: History<RegisterInput, RegisterOutput> = [
      ...Array.from({ length: 300 }, (_, i) => unknown<RegisterInput, RegisterOutput>(`u${i}`, i, write(i))),
      ok("a", [1000, 1001], read, 7),
      ok("a", [1002, 1003], read, 8),
      ok("a", [1004, 1005], read, 7),
    ];
    assert.equal(checkLinearizability(register, history, { configurationsMax: 2000 })[0]?.anomaly, "non-linearizable");
    assert.deepEqual(checkLinearizability(register, history.slice(0, -1), { configurationsMax: 2000 }), []);
  });

  test("unknown additions of one amount are counted, not told apart", () => {
    const unknowns = Array.from({ length: 300 }, (_, i) => unknown<CounterInput, CounterOutput>(`u${i}`, i, add(1)));
    const bound = { configurationsMax: 1000 };
    const reads = (value: number) => [
      ...unknowns,
      ok("a", [500, 501], { type: "read", key: "x" } as CounterInput, value),
    ];
    assert.deepEqual(checkLinearizability(counter, reads(250), bound), []);
    assert.equal(checkLinearizability(counter, reads(301), bound)[0]?.anomaly, "non-linearizable");
  });

  test("a right history of one hot key takes about a configuration an operation", () => {
    const history = registerHistory(1, { clients: 16, operations: 3000, keys: 1 });
    assert.deepEqual(checkLinearizability(register, history, { configurationsMax: 12_000 }), []);
  });
});

interface Size {
  readonly clients: number;
  readonly operations: number;
  readonly keys: number;
}

function runOn<State, Input, Output>(
  model: SequentialModel<State, Input, Output>,
  outputOf: (before: State, after: State, input: Input) => Output,
): (input: Input) => Output {
  const states = new Map<string, State>();
  return (input) => {
    const before = states.get(model.key(input)) ?? model.init;
    const after = model.step(before, input, unknownOutput);
    assert.ok(after !== impossible);
    states.set(model.key(input), after);
    return outputOf(before, after, input);
  };
}

const chances = { failProbability: 0.05, unknownProbability: 0.1 };

function registerHistory(seed: number, { clients, operations, keys }: Size): History<RegisterInput, RegisterOutput> {
  return simulateHistory<RegisterInput, RegisterOutput>({
    seed,
    clients,
    operations,
    ...chances,
    draw: (random) => {
      const key = `k${random.integer(keys)}`;
      const type = random.pick(["read", "write", "cas"] as const);
      if (type === "read") return { type, key };
      return type === "write"
        ? { type, key, value: random.integer(3) }
        : { type, key, from: random.integer(3), to: random.integer(3) };
    },
    perform: runOn(register, (before, _after, input) =>
      input.type === "read" ? before : input.type === "cas" ? before === input.from : null,
    ),
  });
}

function accountHistory(seed: number, { clients, operations, keys }: Size): History<AccountInput, AccountOutput> {
  return simulateHistory<AccountInput, AccountOutput>({
    seed,
    clients,
    operations,
    ...chances,
    draw: (random) => {
      const key = `k${random.integer(keys)}`;
      const type = random.pick(["balance", "deposit", "withdraw"] as const);
      return type === "balance" ? { type, key } : { type, key, cents: 1 + random.integer(3) };
    },
    perform: runOn(account, (before, after, input) =>
      input.type === "withdraw" && input.cents > before ? "insufficient" : after,
    ),
  });
}

/** By trying every order of every subset. */
function hasOrder<State, Input, Output>(
  model: SequentialModel<State, Input, Output>,
  history: History<Input, Output>,
): boolean {
  for (const order of ordersOf(history)) {
    const states = new Map<string, State>();
    const fits = order.every(({ input, outcome }) => {
      const key = model.key(input);
      const before = states.has(key) ? states.get(key)! : model.init;
      const after = model.step(before, input, outcome.kind === "ok" ? outcome.output : unknownOutput);
      if (after === impossible) return false;
      states.set(key, after);
      return true;
    });
    if (fits) return true;
  }
  return false;
}

describe("linearizability, by properties", () => {
  const seeds = fc.integer({ min: 0, max: 1_000_000 });

  test("what a right system did is never called wrong", () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 8 }), (seed, clients) => {
        const size = { clients, operations: 120, keys: 2 };
        assert.deepEqual(checkLinearizability(register, registerHistory(seed, size)), []);
        assert.deepEqual(checkLinearizability(account, accountHistory(seed, size)), []);
      }),
      { numRuns: 100 },
    );
  });

  test("a read of what nobody ever wrote is caught wherever it is", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const history = registerHistory(seed, { clients: 5, operations: 80, keys: 2 });
        const reads = [...history.keys()].filter(
          (index) => history[index]!.input.type === "read" && history[index]!.outcome.kind === "ok",
        );
        fc.pre(reads.length > 0);
        const index = new SeededRandom(seed).pick(reads);
        const found = checkLinearizability(register, withOutput(history, index, 99));
        assert.equal(found[0]?.anomaly, "non-linearizable");
        assert.match(found[0].explanation, /read -> 99/);
      }),
      { numRuns: 60 },
    );
  });

  test("on small histories the answer is that of trying every order", () => {
    let [right, wrong] = [0, 0];
    const compare = <State, Input, Output>(
      model: SequentialModel<State, Input, Output>,
      history: History<Input, Output>,
    ): void => {
      const expected = hasOrder(model, history);
      assert.equal(checkLinearizability(model, history).length === 0, expected, JSON.stringify(history));
      if (expected) right++;
      else wrong++;
    };
    fc.assert(
      fc.property(seeds, (seed) => {
        const random = new SeededRandom(`mutation ${seed}`);
        const size = { clients: 4, operations: 6, keys: 1 };
        const registers = registerHistory(seed, size);
        const mutated = withOutput(registers, random.integer(6), random.pick([0, 1, 2, null, true, false]));
        compare(register, mutated);
        compare(account, withOutput(accountHistory(seed, size), random.integer(6), random.integer(6)));
      }),
      { numRuns: 500 },
    );
    assert.ok(right > 100 && wrong > 100, `${right} right and ${wrong} wrong histories are no comparison`);
  });
});
