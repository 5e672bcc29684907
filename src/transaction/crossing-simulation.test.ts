import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { assertSerializable, type Happened } from "./append-history.fixture.ts";
import { type RunSummary, runCrossing } from "./crossing-run.fixture.ts";

const seeds = 240;

describe("transactions over shards whose owners die and whose requests are lost", () => {
  test(`keep every promise over ${seeds} random programs, and come to rest when all is healed`, async () => {
    const sums = { moved: 0, audits: 0, crashes: 0, aborts: 0, commits: 0 };
    for (let seed = 0; seed < seeds; seed++) {
      const summary = await runCrossing(`crossing-${seed}`);
      for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += summary[name];
    }
    // So that it is known what was seen.
    assert.ok(sums.moved > 3 * seeds && sums.audits > 2 * seeds, JSON.stringify(sums));
    assert.ok(sums.crashes > seeds && sums.aborts > seeds / 2 && sums.commits > 3 * seeds, JSON.stringify(sums));
  });

  test("happen the same way for the same seed", async () => {
    const runs: RunSummary[] = [];
    for (let i = 0; i < 2; i++) runs.push(await runCrossing("twice"));
    assert.deepEqual(runs[0], runs[1]);
  });
});

describe("the checker of histories", () => {
  const happened = (name: string, appended: readonly string[], read: Record<string, readonly string[]>): Happened => ({
    name,
    beganMs: 0,
    endedMs: 10,
    appended,
    read: new Map(Object.entries(read)),
  });

  test("finds half of a transaction that was seen", () => {
    const final = new Map([
      ["x", ["t"]],
      ["y", ["t"]],
    ]);
    const history = [happened("t", ["x", "y"], {}), happened("reader", [], { x: ["t"], y: [] })];
    assert.throws(() => assertSerializable(history, final), /not serializable/);
  });

  test("finds what was read from before, after it had been answered", () => {
    const final = new Map([["x", ["t"]]]);
    const late = { ...happened("reader", [], { x: [] }), beganMs: 20, endedMs: 30 };
    assert.throws(() => assertSerializable([happened("t", ["x"], {}), late], final), /not serializable/);
  });
});
