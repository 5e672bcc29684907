import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { runSeeds, SeedCrash } from "./seed-pool.ts";

interface Result {
  readonly seed: string;
  readonly task: string;
  readonly isGuarded: boolean;
  readonly isLast: boolean;
}

function run(seeds: readonly string[], jobs: number, done: string[] = []): Promise<readonly Result[]> {
  return runSeeds<Result>({
    entry: new URL("seed-pool.child", import.meta.url),
    task: "the task",
    seeds,
    jobs,
    isLast: ({ isLast }) => isLast,
    onDone: ({ seed }) => done.push(seed),
    silentSecondsMax: 3,
  });
}

describe("a pool of processes for seeds", { timeout: 120_000 }, () => {
  test("gives results in the seeds' order, whichever was done first (PO1)", async () => {
    const seeds = ["late:700", "1", "2", "late:50", "4"];
    const done: string[] = [];
    const results = await run(seeds, 2, done);
    assert.deepEqual(
      results.map(({ seed }) => seed),
      seeds,
    );
    assert.deepEqual([...done].sort(), [...seeds].sort());
    assert.equal(done.at(-1), "late:700");
    assert.deepEqual(results[0], { seed: "late:700", task: "the task", isGuarded: false, isLast: false });
  });

  test("ends with the first seed in order that ends it, though a later one did so before (PO1)", async () => {
    const seeds = ["0", "late:end", "end", "3", "4", "5"];
    for (const jobs of [1, 3]) {
      const results = await run(seeds, jobs);
      assert.deepEqual(
        results.map(({ seed }) => seed),
        ["0", "late:end"],
      );
    }
  });

  test("says which seed's process has ended by itself, and how (PO2)", async () => {
    await assert.rejects(run(["0", "exit:3", "2"], 2), (error) => {
      assert.ok(error instanceof SeedCrash);
      assert.equal(error.seed, "exit:3");
      assert.match(
        error.message,
        /^The process that simulated seed exit:3 has ended by itself, with the exit code 3: /,
      );
      return true;
    });
  });

  test("runs a seed that is silent again, guarded; and gives up where that is silent too (PO2)", async () => {
    const results = await run(["hang:once", "1"], 2);
    assert.deepEqual(
      results.map(({ seed, isGuarded }) => [seed, isGuarded]),
      [
        ["hang:once", true],
        ["1", false],
      ],
    );
    await assert.rejects(run(["0", "hang:always"], 1), /^SeedCrash: Seed hang:always comes to no end: /);
  });

  test("throws what a child threw that is no result", async () => {
    await assert.rejects(run(["0", "refuse:1"], 1), { code: "invalid-configuration", message: "refused by refuse:1" });
  });
});
