import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { checkAcknowledged, type HeldEntry } from "./acknowledged.ts";
import { failed, ok, simulateHistory, unknown } from "./histories.fixture.ts";

const entry = (id: string): { readonly key: string; readonly id: string } => ({ key: "log", id });
const held = (id: string, place: number | null): HeldEntry => ({ ...entry(id), place });

describe("no acknowledged loss", () => {
  const history = [
    ok("a", [0, 1], entry("one"), 5 as number | null),
    ok("a", [2, 3], entry("two"), null),
    unknown<ReturnType<typeof entry>, number | null>("b", 4, entry("three")),
    failed<ReturnType<typeof entry>, number | null>("b", [5, 6], entry("four")),
  ];

  test("what was acknowledged is there, where it was acknowledged; the rest may be", () => {
    assert.deepEqual(checkAcknowledged(history, [held("one", 5), held("two", 6)]), []);
    assert.deepEqual(checkAcknowledged(history, [held("one", null), held("two", 6), held("three", 7)]), []);
    assert.deepEqual(checkAcknowledged(history, [held("one", 5), held("two", 5)], { sharesPlaces: true }), []);
  });

  test("what is lost, moved or shares a place is found", () => {
    assert.deepEqual(checkAcknowledged(history, [held("one", 6), held("three", 6)]), [
      { anomaly: "shared-place", explanation: "one and three both stand at 6 of log." },
      { anomaly: "moved", explanation: "one of log was acknowledged to a [0, 1] at 5, and stands at 6." },
      { anomaly: "lost", explanation: "two of log was acknowledged to a [2, 3], and is not there." },
    ]);
  });

  test("a log that keeps what it acknowledged is never called wrong, and one that lost its tail always is", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const log: HeldEntry[] = [];
        const made = simulateHistory<{ readonly key: string; readonly id: string }, number | null>({
          seed,
          clients: 4,
          operations: 40,
          unknownProbability: 0.2,
          draw: (_random, index) => entry(`e${index}`),
          perform: ({ id }) => {
            log.push(held(id, log.length + 1));
            return log.length;
          },
        });
        assert.deepEqual(checkAcknowledged(made, log), []);
        const acknowledged = made.filter(({ outcome }) => outcome.kind === "ok");
        const last = Math.max(...acknowledged.map(({ outcome }) => (outcome.kind === "ok" ? outcome.output! : 0)));
        assert.deepEqual(
          checkAcknowledged(made, log.slice(0, last - 1)).map(({ anomaly }) => anomaly),
          ["lost"],
        );
      }),
    );
  });
});
