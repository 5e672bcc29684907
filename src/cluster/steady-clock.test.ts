import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { steadyClock } from "./steady-clock.ts";

function rig() {
  const time = { wallMs: 1_000_000, monotonicMs: 50 };
  const pass = (ms: number): void => {
    time.wallMs += ms;
    time.monotonicMs += ms;
  };
  const others = { offsetMs: 0 };
  const wall = { wallMs: () => time.wallMs, monotonicMs: () => time.monotonicMs };
  return { time, pass, others, clock: steadyClock(wall, () => others.offsetMs) };
}

describe("a steady clock", () => {
  test("shows the wall while that goes on as time does", () => {
    const { pass, clock } = rig();
    pass(12_345);
    assert.equal(clock.wallMs(), 1_012_345);
  });

  test("follows small steps, in both directions", () => {
    const { time, clock } = rig();
    time.wallMs += 900;
    assert.equal(clock.wallMs(), 1_000_900);
    time.wallMs -= 700;
    assert.equal(clock.wallMs(), 1_000_200);
  });

  test("does not follow a jump, and goes on from what it showed; back in place, the wall counts again", () => {
    const { time, pass, clock } = rig();
    time.wallMs += 3_600_000;
    assert.equal(clock.wallMs(), 1_000_000);
    pass(500);
    assert.equal(clock.wallMs(), 1_000_500);
    time.wallMs -= 3_600_000;
    time.wallMs += 100;
    assert.equal(clock.wallMs(), 1_000_600);
  });

  test("follows a far step that brings it back to the others, and none else (ST1)", () => {
    const { time, pass, others, clock } = rig();
    // It began half an hour behind.
    others.offsetMs = -1_800_000;
    time.wallMs += 900_000;
    assert.equal(clock.wallMs(), 1_000_000, "that would still be too far");
    time.wallMs += 905_000;
    assert.equal(clock.wallMs(), 2_805_000);
    others.offsetMs = 5000;
    pass(100);
    time.wallMs -= 5000;
    assert.equal(clock.wallMs(), 2_805_100, "it is near enough");
  });
});
