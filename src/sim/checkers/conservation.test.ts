import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Balances, checkConservation } from "./conservation.ts";
import { ok, simulateHistory, unknown, withOutput } from "./histories.fixture.ts";

const bank = { total: 10, accounts: new Set(["a", "b"]) };
const snapshot = (balances: Balances) => ok("c", [0, 1], null, balances);

describe("conservation", () => {
  test("snapshots of the right total are right, and unknown ones saw nothing", () => {
    assert.deepEqual(
      checkConservation([snapshot({ a: 10, b: 0 }), snapshot({ a: 3, b: 7 }), unknown("c", 2, null)], bank),
      [],
    );
  });

  test("money that was made or lost, and accounts that are missing or strange, are found", () => {
    assert.deepEqual(checkConservation([snapshot({ a: 3, b: 8 })], bank), [
      { anomaly: "not-conserved", explanation: "the snapshot of c [0, 1] sums up to 11, 1 too much: a 3, b 8." },
    ]);
    assert.match(checkConservation([snapshot({ a: 3, b: 4 })], bank)[0]!.explanation, /3 too little/);
    assert.deepEqual(checkConservation([snapshot({ a: 3, c: 7 })], bank), [
      {
        anomaly: "incomplete-snapshot",
        explanation: "the snapshot of c [0, 1] misses [b] and has [c], which are no accounts.",
      },
    ]);
  });

  test("a bank that transfers atomically is never called wrong, and one wrong balance always is", () => {
    fc.assert(
      fc.property(fc.integer(), fc.nat(), fc.integer({ min: 1, max: 9 }), (seed, at, difference) => {
        const balances: Record<string, number> = { a: 4, b: 6 };
        const history = simulateHistory<number, Balances>({
          seed,
          clients: 4,
          operations: 30,
          unknownProbability: 0.1,
          draw: (random) => random.integer(9) - 4,
          perform: (amount) => {
            balances.a! -= amount;
            balances.b! += amount;
            return { ...balances };
          },
        });
        assert.deepEqual(checkConservation(history, bank), []);
        const reads = history.flatMap(({ outcome }, index) =>
          outcome.kind === "ok" ? [{ index, balances: outcome.output }] : [],
        );
        const read = reads[at % reads.length]!;
        const wrong = withOutput(history, read.index, {
          ...read.balances,
          a: read.balances.a! + difference,
        });
        assert.equal(checkConservation(wrong, bank)[0]?.anomaly, "not-conserved");
      }),
    );
  });
});
