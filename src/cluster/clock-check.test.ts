import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { clockOffsetMs, hasSoundClock } from "./clock-check.ts";
import { founding, joining, stateAfter } from "./system.fixture.ts";

const of = (...wallMs: readonly number[]) =>
  stateAfter([founding(), ...wallMs.map((each, index) => joining(String(index), undefined, 100_000 + each))]);

describe("the clock check", () => {
  for (const [what, walls, sound] of [
    ["one member", [0], [true]],
    ["some seconds of difference", [0, 10_000, 3000], [true, true, true]],
    ["one far ahead of two", [0, 60_000, 400], [true, false, true]],
    ["one far behind", [0, 300, -60_000], [true, true, false]],
    ["two that differ: the one that is behind does no harm (CK1)", [0, 60_000], [true, false]],
    ["two against two: the earlier ones", [0, 10, 60_000, 60_010], [true, true, false, false]],
    ["just at the limit, and beyond", [0, 0, 10_000, 10_001], [true, true, true, false]],
  ] as const) {
    test(`finds out about ${what}`, () => {
      const state = of(...walls);
      assert.deepEqual(
        walls.map((_, index) => hasSoundClock(state, String(index))),
        sound,
      );
    });
  }

  test("leaves out who has gone, and follows renewals", () => {
    const state = of(0, 60_000, 60_100);
    assert.equal(clockOffsetMs(state, "0"), -60_000);
    assert.equal(hasSoundClock(stateAfter([{ type: "left", member: "2" }], state), "0"), true);
    const mended = stateAfter([{ type: "renewed", member: "0", wallMs: 160_000 }], state);
    assert.equal(clockOffsetMs(mended, "0"), 0);
    assert.equal(clockOffsetMs(state, "stranger"), 0);
  });
});
