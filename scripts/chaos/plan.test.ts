/** Plans: what a seed gives. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../../src/base/random.ts";
import { allFaultKinds, makePlan, type Plan, parsePlan, waysOf } from "./plan.ts";

const [nodes, servers] = [
  ["n1", "n2", "n3"],
  ["e1", "e2", "e3"],
];

function plan(seed: number, durationMs: number): Plan {
  const random = new SeededRandom(seed);
  return makePlan({ random, durationMs, kinds: allFaultKinds, nodes, servers, fullDiskServer: "e3" });
}

describe("a plan of faults", () => {
  test("is the same for the same seed, and can be kept", () => {
    assert.deepEqual(plan(7, 200_000), plan(7, 200_000));
    assert.notDeepEqual(plan(7, 200_000), plan(8, 200_000));
    assert.deepEqual(parsePlan(JSON.stringify(plan(7, 200_000))), plan(7, 200_000));
    assert.throws(() => parsePlan('{"seed":"x","durationMs":1,"strikes":[{"kind":"earthquake"}]}'), /kind/);
  });

  test("has every kind before it has any twice (PL1), and ends in time", () => {
    for (let seed = 0; seed < 50; seed++) {
      const { strikes } = plan(seed, 400_000);
      const kinds = strikes.map(({ kind }) => kind);
      assert.deepEqual(kinds.slice(0, allFaultKinds.length).sort(), [...allFaultKinds].sort(), `seed ${seed}`);
      assert.deepEqual(
        strikes.filter(({ atMs, forMs }) => atMs + forMs > 400_000),
        [],
      );
    }
  });

  test("strikes nothing twice at once, and at most two things (PL2)", () => {
    for (let seed = 0; seed < 50; seed++) {
      const { strikes } = plan(seed, 400_000);
      for (const strike of strikes) {
        const joined = strikes.filter(
          (other) => other !== strike && other.atMs >= strike.atMs && other.atMs < strike.atMs + strike.forMs,
        );
        assert.ok(joined.length <= 1, `seed ${seed}: ${JSON.stringify([strike, ...joined])}`);
        const twice = joined.flatMap(({ targets }) => targets).filter((target) => strike.targets.includes(target));
        assert.deepEqual(twice, [], `seed ${seed}`);
      }
    }
  });

  test("cuts the ways that its kind says, and no others", () => {
    const text = (kind: Plan["strikes"][number]["kind"], targets: string[]): string =>
      waysOf({ kind, atMs: 0, forMs: 1, targets }, ["n1", "n2", "e1"])
        .map(({ from, to }) => `${from}>${to}`)
        .sort()
        .join(" ");
    assert.equal(text("one-way", ["n1"]), "n1>e1 n1>n2");
    assert.equal(text("cut-server", ["e1"]), "e1>n1 e1>n2 n1>e1 n2>e1");
    assert.equal(text("cut-node", ["n1"]), "clients>n1 e1>n1 n1>clients n1>e1 n1>n2 n2>n1");
    assert.equal(text("split", ["n1", "e1"]), "e1>n2 n1>n2 n2>e1 n2>n1");
  });
});
