import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { toHex } from "../../../base/bytes.ts";
import { collect, RecordChain } from "../../log.suite.ts";
import { verifyLog } from "../../verify.ts";
import { logDirectory, SimulatedLogPlace } from "./simulated-place.fixture.ts";

const root = new URL("../../../../test/fixtures/log/", import.meta.url);

interface Expectation {
  readonly firstSequence: number;
  readonly records: readonly {
    readonly sequence: number;
    readonly kind: string;
    readonly epoch: number;
    readonly hash: string;
  }[];
  readonly anchorSequence: number;
  readonly unfinishedBytes: number;
}

/** Puts a fixture's files on a simulated disk. */
async function load(directory: URL): Promise<{ readonly place: SimulatedLogPlace; readonly expected: Expectation }> {
  const place = new SimulatedLogPlace("fixture");
  const { disk } = place.node.start();
  await place.drive(async () => {
    await disk.makeDirectory(logDirectory);
    for (const name of readdirSync(directory)) {
      if (name === "expected.json") continue;
      const file = await disk.open(`${logDirectory}/${name}`, { create: "new" });
      await file.writeDurable(0, readFileSync(new URL(name, directory)));
      await file.close();
    }
    for (const path of ["", "data", logDirectory]) await disk.syncDirectory(path);
  });
  return { place, expected: JSON.parse(readFileSync(new URL("expected.json", directory), "utf8")) as Expectation };
}

describe("a log that an earlier version wrote", () => {
  for (const version of readdirSync(root).filter((name) => /^v\d+$/.test(name))) {
    for (const name of readdirSync(new URL(`${version}/`, root))) {
      test(`is read as it was written: ${version}/${name}`, async () => {
        const { place, expected } = await load(new URL(`${version}/${name}/`, root));
        place.node.crash();
        const { disk } = place.node.start();
        await place.drive(async () => {
          const report = await verifyLog({ disk, directory: logDirectory });
          assert.equal(report.damage, null);
          assert.deepEqual(report.warnings, []);
          assert.equal(report.anchor?.sequence, expected.anchorSequence);
          assert.equal(report.unfinished?.bytes ?? 0, expected.unfinishedBytes);
          assert.equal(report.firstSequence, expected.firstSequence);
          const log = await place.open({ segmentBytes: 16 * 512 });
          assert.equal(log.firstSequence, expected.firstSequence);
          const records = await collect(log.scan(log.firstSequence));
          assert.deepEqual(
            records.map(({ sequence, kind, epoch, hash }) => ({ sequence, kind, epoch, hash: toHex(hash) })),
            expected.records.slice(expected.firstSequence - 1),
          );
          const chain = new RecordChain(log.end!.incarnation);
          chain.continueFrom(log.end, 1_000);
          await chain.append(log, new Uint8Array(100));
          await log.close();
        });
      });
    }
  }
});
