import assert from "node:assert/strict";
import { test } from "node:test";
import { FoldPace } from "./fold-pace.ts";

/** Followers that always have something to fold, on one disk; returns how often each of them folded in ten seconds, and the longest pause. */
async function foldsOf(followers: number, tookMs: number): Promise<{ counts: number[]; pauseMsMax: number }> {
  let nowMs = 0;
  const pace = new FoldPace({ monotonicMs: () => nowMs });
  const foldedAtMs = new Array<number>(followers).fill(0);
  const counts = new Array<number>(followers).fill(0);
  let pauseMsMax = 0;
  const dueMs = foldedAtMs.map((atMs) => pace.next(atMs));
  for (; nowMs < 10_000; nowMs++) {
    for (let i = 0; i < followers; i++) {
      if (dueMs[i]! > nowMs) continue;
      pauseMsMax = Math.max(pauseMsMax, nowMs - foldedAtMs[i]!);
      await pace.run(async () => {
        nowMs += tookMs;
      });
      foldedAtMs[i] = nowMs;
      dueMs[i] = pace.next(nowMs);
      counts[i]!++;
    }
  }
  return { counts, pauseMsMax };
}

test("one follower whose folds cost little folds every 50 ms", async () => {
  const { counts, pauseMsMax } = await foldsOf(1, 1);
  assert.equal(pauseMsMax, 50);
  assert.deepEqual(counts, [196]);
});

test("FP1: the folds of many followers take a tenth of the time together, and each has its share", async () => {
  const { counts } = await foldsOf(10, 2);
  const all = counts.reduce((sum, count) => sum + count, 0);
  assert.equal(all * 2 <= 1_000 + 100, true, `${all} folds of 2 ms in 10 s`);
  assert.equal(Math.min(...counts) * 10 >= all * 0.8, true, `the folds are ${counts}`);
});

test("FP2: nobody waits longer than 250 ms, however slow the disk is, but for folds that are under way", async () => {
  const { pauseMsMax } = await foldsOf(10, 20);
  assert.equal(pauseMsMax <= 250 + 10 * 20, true, `a pause of ${pauseMsMax} ms`);
});

test("a fold that fails is told to whoever ran it", async () => {
  const pace = new FoldPace({ monotonicMs: () => 0 });
  await assert.rejects(
    pace.run(() => Promise.reject(new Error("no disk"))),
    { message: "no disk" },
  );
});
