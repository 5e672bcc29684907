import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { AppendOutcome, Log } from "../log/log.ts";
import type { DistributionSample, Sample } from "../metrics/metric.ts";
import { LogMeter, MeteredLog } from "./metered-log.ts";

describe("a measured log", () => {
  test("counts appends by outcome, their time and the bytes that became durable", async () => {
    let nowMs = 0;
    const outcomes: AppendOutcome[] = [
      { kind: "appended" },
      { kind: "full", cause: "no room" },
      { kind: "appended" },
      { kind: "failed", cause: "broken" },
    ];
    const given: Uint8Array[] = [];
    const log = {
      append: async (bytes: Uint8Array) => {
        given.push(bytes);
        nowMs += 5;
        return outcomes.shift()!;
      },
    } as unknown as Log;
    const meter = new LogMeter();
    const measured = new MeteredLog(log, meter, { wallMs: () => nowMs, monotonicMs: () => nowMs });
    const kinds: string[] = [];
    for (const size of [10, 20, 30, 40]) kinds.push((await measured.append(new Uint8Array(size))).kind);
    assert.deepEqual(kinds, ["appended", "full", "appended", "failed"]);
    assert.deepEqual(
      given.map(({ length }) => length),
      [10, 20, 30, 40],
    );
    const [appends, durations, sizes] = meter.metrics;
    assert.deepEqual(
      ((await appends!.read()) as readonly Sample[]).map(({ labels, value }) => [labels!.outcome, value]),
      [
        ["appended", 2],
        ["full", 1],
        ["failed", 1],
      ],
    );
    const [time] = durations!.read() as readonly DistributionSample[];
    assert.ok(Math.abs(time!.histogram.sum - 0.02) < 1e-9);
    const [size] = sizes!.read() as readonly DistributionSample[];
    assert.deepEqual([size!.histogram.count, size!.histogram.sum], [2, 40]);
  });
});
