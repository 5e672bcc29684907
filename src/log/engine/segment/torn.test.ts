import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { crashMoments } from "../../../sim/life.ts";
import { collect, RecordChain } from "../../log.suite.ts";
import { positionOf } from "../../record.ts";
import { verifyLog } from "../../verify.ts";
import { segmentFileName } from "./format.ts";
import { logDirectory, SimulatedLogPlace, zeroSector } from "./simulated-place.fixture.ts";

const path = `${logDirectory}/${segmentFileName(1)}`;
const sectorCount = 6;

/** A log of four records, the last one of six sectors, and what the disk holds right after that one was written. */
async function makeLog(payload: Uint8Array) {
  const place = new SimulatedLogPlace("torn");
  const chain = new RecordChain();
  await place.drive(async () => {
    const log = await place.open();
    for (let i = 0; i < 3; i++) await chain.append(log, place.random.bytes(700));
    await log.anchor();
  });
  const before = chain.end!;
  await place.drive(async () => {
    const log = await place.open();
    chain.continueFrom(log.end, 1_000);
    await chain.append(log, payload);
  });
  return { place, before, after: chain.end!, offset: 512 + 3 * 1024, image: place.disk.snapshotImage() };
}

/** Payloads whose sectors are as hard to tell from unwritten ones as can be. */
const oneBit = new Uint8Array(sectorCount * 512 - 128);
oneBit[2000] = 8;
const ordinary = Uint8Array.from({ length: sectorCount * 512 - 128 }, (_, i) => (i * 31 + 7) & 0xff);
/** The fifth sector of the frame holds a single bit, all others many. */
const oneFaintSector = ordinary.slice().fill(0, 4 * 512 - 128, 5 * 512 - 128);
oneFaintSector[2000] = 8;
const payloads: readonly (readonly [string, Uint8Array])[] = [
  ["ordinary bytes", ordinary],
  ["ordinary bytes with a sector of a single bit", oneFaintSector],
  ["zeros", new Uint8Array(sectorCount * 512 - 128)],
  ["a single bit", oneBit],
  ["a last sector of one zero byte", new Uint8Array((sectorCount - 1) * 512 - 128 + 1)],
];

describe("a torn append", () => {
  for (const [name, payload] of payloads) {
    test(`of ${name} is cut off whichever of its sectors were written, and kept if all were`, async () => {
      const { place, before, after, offset, image } = await makeLog(payload);
      for (let written = 0; written < 2 ** sectorCount; written++) {
        place.disk.restoreImage(image);
        for (let sector = 0; sector < sectorCount; sector++) {
          if (((written >> sector) & 1) === 0) zeroSector(place.disk, path, offset + 512 * sector);
        }
        const expected = written === 2 ** sectorCount - 1 ? after : before;
        await place.drive(async () => {
          const { disk } = place.node.start();
          const report = await verifyLog({ disk, directory: logDirectory });
          assert.equal(report.damage, null);
          assert.equal(report.recordCount, expected.sequence);
          assert.equal(report.unfinished !== null, expected === before && written > 0);
          const log = await place.open();
          assert.deepEqual(log.end && positionOf(log.end), expected, `sectors ${written.toString(2)}`);
          const chain = new RecordChain();
          chain.continueFrom(log.end, 1_000);
          // What is shorter than the torn record leaves nothing of that one behind.
          await chain.append(log, new Uint8Array([1]));
          await log.close();
          const reopened = await place.open();
          assert.equal((await collect(reopened.scan(1))).length, expected.sequence + 1);
          await reopened.close();
        });
      }
    });

    test(`of ${name} is no reason to lose a record that is known, nor to hide a flipped bit`, async () => {
      const { place, after, offset, image } = await makeLog(payload);
      for (let sector = 0; sector < sectorCount; sector++) {
        place.disk.restoreImage(image);
        zeroSector(place.disk, path, offset + 512 * sector);
        await assert.rejects(
          place.drive(() => place.open({ verifiedThrough: [after] })),
          /damaged/,
        );
      }
      const theOneBit = 8 * (128 + 2000) + 3;
      const bits = Array.from({ length: Math.floor((8 * (128 + payload.length)) / 37) }, (_, i) => 37 * i);
      for (const bit of [...bits, theOneBit]) {
        place.disk.restoreImage(image);
        place.disk.flip(path, 8 * offset + bit);
        await assert.rejects(
          place.drive(() => place.open()),
          /damaged/,
          `bit ${bit}`,
        );
      }
    });
  }

  test("stays cut off when recovery itself crashes anywhere", async () => {
    const { place, before, offset, image } = await makeLog(payloads[0]![1]);
    for (const missing of [0, 3]) {
      for (const moment of crashMoments) {
        for (let operation = 1, isOver = false; !isOver; operation++) {
          place.disk.restoreImage(image);
          zeroSector(place.disk, path, offset + 512 * missing);
          let crashed = false;
          const opening = place.open();
          place.disk.crashAt(operation, { moment, onCrash: () => (crashed = true) });
          let opened = false;
          void opening.then(() => (opened = true));
          await place.scheduler.run({ stopWhen: () => opened || crashed });
          isOver = opened;
          await place.drive(async () => {
            const log = await place.open();
            assert.deepEqual(log.end && positionOf(log.end), before, `operation ${operation} ${moment}`);
            await log.close();
          });
        }
      }
    }
  });

  test("that a later record follows was once acknowledged, and its loss is damage", async () => {
    for (let gap = 1; gap <= 3; gap++) {
      const place = new SimulatedLogPlace("gap");
      const chain = new RecordChain();
      await place.drive(async () => {
        const log = await place.open();
        for (let i = 0; i < 3 + gap; i++) await chain.append(log, place.random.bytes(200));
      });
      // No anchor has seen any of it: the later frame alone is the witness.
      for (let lost = 0; lost < gap; lost++) zeroSector(place.disk, path, 512 + 512 * (2 + lost));
      await assert.rejects(
        place.drive(() => place.open()),
        /record 3: the record is gone, yet record/,
      );
    }
  });

  test("never takes a copy of the log's own bytes, kept as a payload, for a later record", async () => {
    const place = new SimulatedLogPlace("copy");
    const chain = new RecordChain();
    await place.drive(async () => {
      const log = await place.open();
      for (let i = 0; i < 5; i++) await chain.append(log, place.random.bytes(50));
    });
    // The copy lies so that its frames stand at the start of sectors again.
    const copy = place.disk.content(path).slice(512, 512 * 6);
    const payload = new Uint8Array(512 - 128 + copy.length);
    payload.set(copy, 512 - 128);
    const before = chain.end!;
    await place.drive(async () => {
      const log = await place.open();
      chain.continueFrom(log.end, 1_000);
      await chain.append(log, payload);
    });
    zeroSector(place.disk, path, 512 * 6);
    const log = await place.drive(() => place.open());
    assert.deepEqual(log.end && positionOf(log.end), before);
  });
});
