import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError, Refused } from "../base/errors.ts";
import { CallMeter, callMetrics } from "./call-meters.ts";

describe("a call's meter", () => {
  const labels = { action: "command", kind: "account", operation: "withdraw" };

  test("tells done, refused and each error apart, and a stranger's error as internal", () => {
    const meter = new CallMeter(labels);
    meter.done(1);
    meter.done(2);
    meter.failed(new Refused("insufficient-funds"), 3);
    meter.failed(new Refused("another"), 3);
    meter.failed(new OnefoldError("overloaded", "no"), 4);
    meter.failed(new TypeError("bug"), 5);
    assert.deepEqual(
      meter.results().map(({ labels, value }) => [labels!.result, value]),
      [
        ["done", 2],
        ["refused", 2],
        ["overloaded", 1],
        ["internal", 1],
      ],
    );
    assert.equal(meter.duration.count, 6);
    assert.ok(Math.abs(meter.duration.sum - 0.018) < 1e-9);
  });

  test("shows its count from the start, its durations from the first call on", () => {
    const meter = new CallMeter(labels);
    const [calls, durations] = callMetrics([meter]);
    assert.deepEqual(calls!.read(), [{ labels: { ...labels, result: "done" }, value: 0 }]);
    assert.deepEqual(durations!.read(), []);
    meter.done(1);
    assert.equal((durations!.read() as readonly unknown[]).length, 1);
  });
});
