import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type BackupRunReport, backUpUnderFaults } from "./cluster-backup-simulation.fixture.ts";

/**
 * Alone, and with what nodes say: `SEED=17 node --conditions=onefold-source --import tsx --test test/cluster-backup-simulation.test.ts`; more of them:
 * `SEEDS=100 …`, from 0 on.
 */
const replayedSeed = process.env.SEED;
/** Few, which together meet everything that a cut could tear. */
const chosen = ["0", "1", "2", "10", "11"];
const seeds =
  process.env.SEEDS === undefined
    ? chosen
    : Array.from({ length: Number(process.env.SEEDS) }, (_, index) => String(index));

async function assertNothingFound(seed: string, onLine?: (line: string) => void): Promise<BackupRunReport> {
  const report = await backUpUnderFaults({ seed, ...(onLine === undefined ? {} : { onLine }) });
  assert.deepEqual(report.findings, [], `seed ${seed}`);
  return report;
}

describe("backups of clusters under faults", { concurrency: false }, () => {
  if (replayedSeed !== undefined) {
    test(`seed ${replayedSeed}`, async (t) => {
      await assertNothingFound(replayedSeed!, (line) => t.diagnostic(line));
    });
    return;
  }

  test(`are restored to what was there at one moment, and go on, in ${seeds.length} seeds`, async (t) => {
    const reports: BackupRunReport[] = [];
    for (const seed of seeds) reports.push(await assertNothingFound(seed));
    const sum = (of: (report: BackupRunReport) => number): number =>
      reports.reduce((total, report) => total + of(report), 0);
    const met = {
      faults: sum(({ faults }) => faults),
      chains: sum(({ cutChains }) => cutChains),
      letters: sum(({ underWay }) => underWay.outbox),
      prepared: sum(({ underWay }) => underWay.prepared),
      decided: sum(({ underWay }) => underWay.decision),
      failed: sum(({ failedBackups }) => failedBackups),
    };
    t.diagnostic(JSON.stringify(met));
    // What a cut could tear was there to be torn.
    const missing = Object.entries(met).flatMap(([what, count]) => (count === 0 ? [what] : []));
    assert.deepEqual(missing, []);
  });

  test("are taken without a failed attempt where nothing goes wrong", async () => {
    const report = await backUpUnderFaults({ seed: "calm", kinds: [], durationMs: 2000 });
    assert.deepEqual([report.findings, report.failedBackups], [[], 0]);
  });
});
