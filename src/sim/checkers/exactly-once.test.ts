import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { SeededRandom } from "../../base/random.ts";
import { checkExactlyOnce, checkTotals, type Increment, type TaggedInput } from "./exactly-once.ts";
import { failed, ok, simulateHistory, unknown } from "./histories.fixture.ts";
import type { Finding, History } from "./history.ts";

const request = (id: string): TaggedInput => ({ key: "x", id });
const told = (findings: readonly Finding[]): readonly string[] =>
  findings.map(({ anomaly, explanation }) => `${anomaly}: ${explanation}`);

const history = [
  ok("a", [0, 1], request("one"), null),
  unknown<TaggedInput, null>("b", 2, request("two")),
  failed<TaggedInput, null>("c", [3, 4], request("three")),
];

describe("exactly once", () => {
  test("an acknowledged request counts once, an unknown one at most once, a refused one never", () => {
    assert.deepEqual(checkExactlyOnce(history, [request("one")]), []);
    assert.deepEqual(checkExactlyOnce(history, [request("two"), request("one")]), []);
  });

  test("everything else is found", () => {
    assert.deepEqual(told(checkExactlyOnce(history, [])), [
      "lost: request one of x by a [0, 1] was acknowledged, and has not taken hold.",
    ]);
    const applied = ["one", "one", "two", "two", "three", "four"].map(request);
    assert.deepEqual(told(checkExactlyOnce(history, applied)), [
      "repeated: request one of x by a [0, 1] is ok, and took hold 2 times.",
      "repeated: request two of x by b [2, ?] is unknown, and took hold 2 times.",
      "refused-took-hold: request three of x by c [3, 4] was refused, and took hold once.",
      "unasked: four took hold once on x, and nobody asked for it.",
    ]);
  });

  test("a total is what was acknowledged and some of what is unknown", () => {
    const adds: History<Increment, null> = [
      ok("a", [0, 1], { key: "x", by: 10 }, null),
      unknown("b", 2, { key: "x", by: 3 }),
      unknown("b", 3, { key: "x", by: -5 }),
      failed("c", [4, 5], { key: "x", by: 100 }),
    ];
    for (let total = 0; total < 20; total++) {
      const isRight = [10, 13, 5, 8].includes(total);
      assert.equal(checkTotals(adds, new Map([["x", total]])).length, isRight ? 0 : 1, `${total}`);
    }
    assert.deepEqual(told(checkTotals([], new Map([["y", 1]]))), [
      "wrong-total: y counts 1: 0 is acknowledged, and 1 is no sum of some of the 0 amounts of unknown outcome.",
    ]);
    assert.equal(checkTotals(adds, new Map()).length, 1, "a key that is absent counts 0");
  });

  test("a right system is never called wrong, and one more or one fewer always is", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const applied: TaggedInput[] = [];
        const made = simulateHistory({
          seed,
          clients: 5,
          operations: 60,
          failProbability: 0.1,
          unknownProbability: 0.2,
          draw: (random, index) => ({ key: `k${random.integer(3)}`, id: `r${index}`, by: 1 }),
          perform: (input) => {
            applied.push(input);
            return null;
          },
        });
        const totals = new Map<string, number>(["k0", "k1", "k2"].map((key) => [key, 0]));
        for (const { key } of applied) totals.set(key, totals.get(key)! + 1);
        assert.deepEqual(checkExactlyOnce(made, applied), []);
        assert.deepEqual(checkTotals(made, totals), []);
        const random = new SeededRandom(seed);
        const twice = random.pick(applied);
        assert.deepEqual(
          checkExactlyOnce(made, [...applied, twice]).map(({ anomaly }) => anomaly),
          ["repeated"],
        );
        const lost = random.pick(made.filter(({ outcome }) => outcome.kind === "ok")).input;
        assert.deepEqual(
          checkExactlyOnce(
            made,
            applied.filter(({ id }) => id !== lost.id),
          ).map(({ anomaly }) => anomaly),
          ["lost"],
        );
        const unknowns = made.filter(
          ({ input, outcome }) => outcome.kind === "unknown" && input.key === lost.key,
        ).length;
        const known = made.filter(({ input, outcome }) => outcome.kind === "ok" && input.key === lost.key).length;
        for (const wrong of [known - 1, known + unknowns + 1])
          assert.equal(checkTotals(made, new Map([...totals, [lost.key, wrong]])).length, 1);
      }),
    );
  });
});
