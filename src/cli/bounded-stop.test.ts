import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { boundedStop } from "./bounded-stop.ts";

describe("a stop", () => {
  test("that ends in time is given up by nobody, and passes on what it throws", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    let isGivenUp = false;
    const options = {
      withinMs: 1000,
      giveUp: () => {
        isGivenUp = true;
      },
    };
    await boundedStop(Promise.resolve(), options);
    await assert.rejects(boundedStop(Promise.reject(new Error("the disk")), options), /the disk/);
    t.mock.timers.tick(5000);
    assert.equal(isGivenUp, false);
  });

  test("that never ends is given up once its time is over", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    let count = 0;
    void boundedStop(new Promise(() => undefined), { withinMs: 1000, giveUp: () => void count++ });
    t.mock.timers.tick(999);
    assert.equal(count, 0);
    t.mock.timers.tick(1);
    assert.equal(count, 1);
  });
});
