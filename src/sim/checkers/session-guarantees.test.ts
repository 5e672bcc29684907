import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ok, simulateHistory, unknown, withOutput } from "./histories.fixture.ts";
import type { History } from "./history.ts";
import { checkSessions, type VersionedInput, type VersionedOperation } from "./session-guarantees.ts";

type Times = readonly [number, number];
const read = (process: string, times: Times, version: number) =>
  ok<VersionedInput, number>(process, times, { type: "read", key: "x" }, version);
const write = (process: string, times: Times, version: number) =>
  ok<VersionedInput, number>(process, times, { type: "write", key: "x" }, version);

function anomalies(...history: readonly VersionedOperation[]): readonly string[] {
  return checkSessions(history).map(({ anomaly }) => anomaly);
}

/** Every pair of one session on one key, by the definition. */
function naive(history: History<VersionedInput, number>): ReadonlySet<string> {
  const broken = new Set<string>();
  for (const before of history) {
    for (const after of history) {
      if (before.outcome.kind !== "ok" || after.outcome.kind !== "ok") continue;
      if (before.process !== after.process || before.input.key !== after.input.key) continue;
      if (before.completed! >= after.invoked) continue;
      const [old, fresh] = [before.outcome.output, after.outcome.output];
      const isKept = after.input.type === "read" ? fresh >= old : fresh > old;
      if (!isKept) broken.add(`${before.input.type} then ${after.input.type} at ${after.invoked}`);
    }
  }
  return broken;
}

describe("session guarantees", () => {
  test("each that is broken is named", () => {
    assert.deepEqual(anomalies(write("a", [0, 1], 5), read("a", [2, 3], 4)), ["read-your-writes"]);
    assert.deepEqual(anomalies(read("a", [0, 1], 5), read("a", [2, 3], 4)), ["monotonic-reads"]);
    assert.deepEqual(anomalies(write("a", [0, 1], 5), write("a", [2, 3], 5)), ["monotonic-writes"]);
    assert.deepEqual(anomalies(read("a", [0, 1], 5), write("a", [2, 3], 5)), ["writes-follow-reads"]);
    assert.equal(
      checkSessions([write("a", [0, 1], 5), read("a", [2, 3], 4)])[0]?.explanation,
      "a [2, 3] read version 4 of x, after its session had written version 5 at [0, 1].",
    );
  });

  test("nothing is owed to other sessions, to operations that overlap, and to those of unknown outcome", () => {
    assert.deepEqual(anomalies(write("a", [0, 1], 5), read("b", [2, 3], 4)), []);
    assert.deepEqual(anomalies(write("a", [0, 2], 5), read("a", [2, 3], 4)), []);
    assert.deepEqual(anomalies(unknown("a", 0, { type: "write", key: "x" }), read("a", [2, 3], 0)), []);
    assert.deepEqual(anomalies(write("a", [0, 1], 5), read("a", [2, 3], 5), write("a", [4, 5], 6)), []);
  });

  test("a right system is never called wrong, and with any version changed the answer is that of comparing all pairs", () => {
    fc.assert(
      fc.property(fc.integer(), fc.nat(29), fc.nat(12), (seed, index, version) => {
        const versions = new Map<string, number>();
        const history = simulateHistory<VersionedInput, number>({
          seed,
          clients: 3,
          operations: 30,
          unknownProbability: 0.1,
          draw: (random) => ({ type: random.pick(["read", "write"] as const), key: `k${random.integer(2)}` }),
          perform: ({ type, key }) => {
            if (type === "write") versions.set(key, (versions.get(key) ?? 0) + 1);
            return versions.get(key) ?? 0;
          },
        });
        assert.deepEqual(checkSessions(history), []);
        const mutated = withOutput(history, index, version);
        assert.equal(checkSessions(mutated).length, naive(mutated).size);
      }),
    );
  });
});
