import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import { shrink } from "./shrink.ts";

const range = (count: number) => Array.from({ length: count }, (_, index) => index);

describe("shrinking a failing list of events", () => {
  test("finds the few that matter among many, in their order", async () => {
    for (let seed = 0; seed < 50; seed++) {
      const random = new SeededRandom(seed);
      const events = range(random.between(1, 200));
      const needed = events.filter(() => random.chance(0.02));
      const fails = async (some: readonly number[]) => needed.every((event) => some.includes(event));
      const report = await shrink(events, { fails, attemptsMax: 5000 });
      assert.deepEqual(report.events, needed);
      assert.deepEqual([report.isReproduced, report.isMinimal], [true, true]);
    }
  });

  test("asks much less often than there are events", async () => {
    const fails = async (some: readonly number[]) => some.includes(17) && some.includes(777);
    const { events, attemptCount } = await shrink(range(1000), { fails, attemptsMax: 1000 });
    assert.deepEqual(events, [17, 777]);
    assert.ok(attemptCount < 200, `${attemptCount} attempts`);
  });

  test("leaves a list of which no single event can be left out, where failures aren't monotone", async () => {
    // Fails with an odd number of events that include 5.
    const fails = async (some: readonly number[]) => some.includes(5) && some.length % 2 === 1;
    const { events } = await shrink(range(31), { fails, attemptsMax: 5000 });
    for (const left of events) assert.equal(await fails(events.filter((event) => event !== left)), false);
    assert.ok(await fails(events));
  });

  test("makes what is left simpler, and leaves out what that makes needless", async () => {
    // 40 is needed beside 60 only while 60 is that large.
    const fails = async (some: readonly number[]) => {
      const sum = some.reduce((total, each) => total + each, 0);
      return some.some((each) => each >= 7) && (sum >= 100 || some.every((each) => each < 30));
    };
    const halved = (value: number) => [1, Math.floor(value / 2), value - 1].filter((each) => each >= 1 && each < value);
    const report = await shrink([3, 40, 2, 60], { fails, attemptsMax: 1000, simpler: halved });
    assert.ok(await fails(report.events));
    for (const choice of halved(report.events[0]!)) assert.equal(await fails(report.events.with(0, choice)), false);
    assert.equal(report.isMinimal, true);
  });

  test("keeps to its attempts, and then has the smallest list that failed so far", async () => {
    for (const attemptsMax of range(30).map((each) => each + 1)) {
      let attemptCount = 0;
      let smallest = 100;
      const fails = async (some: readonly number[]) => {
        attemptCount++;
        const isFailing = some.includes(3) && some.includes(90);
        if (isFailing) smallest = Math.min(smallest, some.length);
        return isFailing;
      };
      const report = await shrink(range(100), { fails, attemptsMax });
      assert.ok(attemptCount <= attemptsMax);
      assert.equal(report.attemptCount, attemptCount);
      assert.equal(report.events.length, smallest);
      assert.equal(report.isMinimal, attemptCount < attemptsMax);
    }
  });

  test("gives back what doesn't fail, and says so; of what always fails, nothing is left", async () => {
    const passing = await shrink([1, 2], { fails: async () => false, attemptsMax: 10 });
    assert.deepEqual(passing, { events: [1, 2], isReproduced: false, isMinimal: false, attemptCount: 1 });
    const failing = await shrink([1, 2], { fails: async () => true, attemptsMax: 10 });
    assert.deepEqual(failing.events, []);
  });
});
