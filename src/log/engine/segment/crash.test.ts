import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FaultCounts } from "../../../sim/faults.ts";
import { CrashProgram, noCoverage } from "./crash-program.fixture.ts";

const seedCount = Number(process.env.ONEFOLD_LOG_SEEDS ?? 800);
const only = process.env.ONEFOLD_LOG_SEED;

describe("the segment log under crashes", () => {
  test("keeps everything acknowledged, byte for byte, over crashes, torn and lost writes, failures and full disks", async (t) => {
    const coverage = noCoverage();
    const faults = new FaultCounts();
    const seeds = only === undefined ? Array.from({ length: seedCount }, (_, index) => `log-${index}`) : [only];
    for (const seed of seeds) {
      const program = new CrashProgram(seed, coverage);
      try {
        await program.run();
      } catch (error) {
        const reason = error instanceof Error ? error.stack : String(error);
        throw new Error(`seed ${seed} fails; run it alone with ONEFOLD_LOG_SEED=${seed}: ${reason}`, { cause: error });
      }
      faults.merge(program.place.node.counts);
    }
    t.diagnostic(`${seeds.length} seeds; ${JSON.stringify(coverage)}; faults: ${faults}`);
    if (only !== undefined) return;
    for (const [name, count] of Object.entries(coverage)) assert.ok(count > 0, `the seeds never covered: ${name}`);
    for (const kind of ["crash", "torn-write", "lost-write", "failed-sync", "full-disk", "lost-entry"] as const) {
      assert.ok(faults.get(kind) > 0, `the seeds never had: ${kind}`);
    }
  });

  test("is the same run for the same seed", async () => {
    const hashes: string[] = [];
    for (let run = 0; run < 2; run++) {
      const program = new CrashProgram("twice", noCoverage());
      await program.run();
      hashes.push(program.place.scheduler.traceHash);
    }
    assert.equal(hashes[0], hashes[1]);
  });
});
