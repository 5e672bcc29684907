import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { equalPositions } from "./chain.ts";
import { logDirectory, SimulatedLogPlace } from "./engine/segment/simulated-place.fixture.ts";
import { RecordChain } from "./log.suite.ts";
import { type VerifyProgress, verifyLog } from "./verify.ts";

const anchors = `${logDirectory}/anchors`;

/** A closed log of `count` records. */
async function makePlace(count: number): Promise<{ readonly place: SimulatedLogPlace; readonly chain: RecordChain }> {
  const place = new SimulatedLogPlace("verify");
  const chain = new RecordChain();
  await place.drive(async () => {
    const log = await place.open();
    for (let i = 0; i < count; i++) await chain.append(log, place.random.bytes(800));
    await log.close();
  });
  return { place, chain };
}

function verify(place: SimulatedLogPlace, onProgress: (progress: VerifyProgress) => void = () => undefined) {
  place.node.crash();
  const { disk } = place.node.start();
  return place.drive(() => verifyLog({ disk, directory: logDirectory, onProgress }));
}

describe("verifyLog", () => {
  test("counts what it verified, and reports progress up to the whole", async () => {
    const { place, chain } = await makePlace(100);
    const progress: VerifyProgress[] = [];
    const report = await verify(place, (step) => progress.push(step));
    assert.equal(report.damage, null);
    assert.equal(report.recordCount, 100);
    assert.equal(report.recordBytes, 100 * 896);
    assert.ok(report.segmentCount > 3);
    assert.ok(report.end !== null && equalPositions(report.end, chain.end!));
    assert.ok(report.anchor !== null && equalPositions(report.anchor, chain.end!));
    const last = progress.at(-1)!;
    assert.equal(last.bytes, last.bytesTotal);
    assert.equal(last.records, 100);
    for (const [index, step] of progress.entries()) assert.ok(step.bytes >= (progress[index - 1]?.bytes ?? 0));
  });

  test("finds nothing wrong with a log that was never begun, or not even made", async () => {
    const { place } = await makePlace(0);
    assert.equal((await verify(place)).damage, null);
    const nowhere = new SimulatedLogPlace("nowhere");
    const report = await verify(nowhere);
    assert.equal(report.damage, null);
    assert.equal(report.end, null);
    assert.equal(report.segmentCount, 0);
  });

  test("warns of one damaged anchor, and calls two of them damage", async () => {
    const { place } = await makePlace(10);
    place.disk.flip(anchors, 8 * 50);
    const report = await verify(place);
    assert.equal(report.damage, null);
    assert.deepEqual(
      report.warnings.map(({ file, offset }) => ({ file, offset })),
      [{ file: "anchors", offset: 0 }],
    );
    place.disk.flip(anchors, 8 * (4096 + 50));
    assert.equal((await verify(place)).damage?.file, "anchors");
  });

  test("notices bytes in what fills a frame up and in unused space, which no reader would miss", async () => {
    const { place } = await makePlace(10);
    const path = `${logDirectory}/0000000000000001.segment`;
    const image = place.disk.snapshotImage();
    place.disk.flip(path, 8 * (512 + 1024 + 1023));
    const filling = await verify(place);
    assert.equal(filling.damage?.sequence, 2);
    assert.match(filling.damage?.reason ?? "", /fill the frame up/);
    place.disk.restoreImage(image);
    place.disk.flip(path, 8 * (512 + 11 * 1024 + 5));
    const unused = await verify(place);
    assert.equal(unused.damage, null);
    assert.equal(unused.unfinished?.offset, 512 + 10 * 1024);
  });

  test("changes nothing", async () => {
    const { place } = await makePlace(20);
    const before = place.disk.paths().map((path) => [path, place.disk.content(path)]);
    await verify(place);
    assert.deepEqual(
      place.disk.paths().map((path) => [path, place.disk.content(path)]),
      before,
    );
  });
});
