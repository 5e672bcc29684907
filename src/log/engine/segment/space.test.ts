/** What the segment log does where space is short: what it leaves to others, what it lends, and what it makes do with. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { limits } from "../../../base/limits.ts";
import { RecordChain } from "../../log.suite.ts";
import type { SegmentLog } from "./engine.ts";
import { reserveFileName } from "./format.ts";
import { logDirectory, SimulatedLogPlace } from "./simulated-place.fixture.ts";

const MiB = 1024 * 1024;
const segmentBytes = 8 * MiB;
const payload = new Uint8Array(200_000);

/** Appends until the log is full; returns how many records that were. */
async function fill(chain: RecordChain, log: SegmentLog): Promise<number> {
  for (let count = 0; ; count++) {
    const record = chain.encode(payload);
    const outcome = await log.append(record.bytes, record.hash);
    if (outcome.kind === "full") return count;
    assert.equal(outcome.kind, "appended");
    chain.accept(record);
  }
}

describe("the segment log where space is short", () => {
  test("leaves free what it is told to, says so in time, and goes on when it is told to leave less", async () => {
    const place = new SimulatedLogPlace("keep-free");
    await place.drive(async () => {
      const chain = new RecordChain();
      let keepFreeBytes = 3 * MiB;
      place.disk.capacityBytes = 18 * MiB;
      const log = await place.open({ segmentBytes, keepFreeBytes: () => keepFreeBytes });
      await chain.append(log, payload);
      assert.equal(log.isShortOfSpace, false);
      await fill(chain, log);
      assert.ok(log.isShortOfSpace);
      assert.ok(place.disk.freeBytes >= keepFreeBytes, `${place.disk.freeBytes} bytes are free`);
      keepFreeBytes = 0;
      const count = await fill(chain, log);
      assert.ok(count > 30, `${count} more records`);
      assert.ok(place.disk.freeBytes < 3 * MiB);
      await log.close();
    });
  });

  test("is short of space from when the next segment can't be prepared, before any append is refused", async () => {
    const place = new SimulatedLogPlace("in-time");
    await place.drive(async () => {
      const chain = new RecordChain();
      place.disk.capacityBytes = 12 * MiB;
      const log = await place.open({ segmentBytes });
      for (let i = 0; i < 20; i++) await chain.append(log, payload);
      await place.scheduler.sleep(1000);
      assert.ok(log.isShortOfSpace);
      for (let i = 0; i < 10; i++) await chain.append(log, payload);
      await log.close();
    });
  });

  test("makes do with a short segment, which is trimmed and read like any other", async () => {
    const place = new SimulatedLogPlace("short");
    await place.drive(async () => {
      const chain = new RecordChain();
      place.disk.capacityBytes = segmentBytes + 4 * MiB;
      const log = await place.open({ segmentBytes, reserveBytes: 3 * MiB });
      await fill(chain, log);
      const before = chain.end!.sequence;
      await log.prepareShortSegment();
      assert.equal(await fill(chain, log), 0, "there is no room but the reserve");
      await log.releaseReserve();
      await log.prepareShortSegment();
      const count = await fill(chain, log);
      assert.ok(count > 5 && count <= limits.shortSegmentBytes / payload.length, `${count} records`);
      await log.restoreReserve();
      assert.ok(!place.disk.paths().includes(`${logDirectory}/${reserveFileName}`), "there is no room for it");
      await log.trim(before + 1);
      assert.equal(log.firstSequence, before + 1);
      // Somebody frees a little more: a whole one again, and the reserve.
      place.disk.capacityBytes += 2 * MiB;
      assert.ok((await fill(chain, log)) > 30);
      await log.close();
      const reopened = await place.open({ segmentBytes, reserveBytes: 3 * MiB });
      assert.deepEqual(reopened.end?.hash, chain.end!.hash);
      let expected = before + 1;
      for await (const { sequence } of reopened.scan(expected)) assert.equal(sequence, expected++);
      assert.equal(expected, chain.end!.sequence + 1);
      await reopened.close();
      assert.ok(place.disk.paths().includes(`${logDirectory}/${reserveFileName}`));
    });
  });

  test("recovers a short segment after a crash at any moment of its making", async () => {
    for (let operation = 1; operation <= 16; operation++) {
      const place = new SimulatedLogPlace(`short-crash-${operation}`);
      await place.drive(async () => {
        const chain = new RecordChain();
        place.disk.capacityBytes = segmentBytes + 4 * MiB;
        const log = await place.open({ segmentBytes });
        await fill(chain, log);
        let acknowledged = chain.end!.sequence;
        const crashed = new Promise<void>((resolve) => {
          place.disk.crashAt(operation, { moment: operation % 2 === 0 ? "during" : "after", onCrash: resolve });
        });
        const working = (async () => {
          await log.prepareShortSegment();
          for (let i = 0; i < 3; i++) {
            await chain.append(log, payload);
            acknowledged = chain.end!.sequence;
          }
        })();
        await Promise.race([crashed, working]);
        const reopened = await place.open({ segmentBytes });
        assert.ok(reopened.end!.sequence >= acknowledged, `${reopened.end!.sequence} of ${acknowledged}`);
        let count = 0;
        for await (const _ of reopened.scan(1)) count++;
        assert.equal(count, reopened.end!.sequence);
        await reopened.close();
      });
    }
  });

  test("takes a read that fails for no damage, but one that fails again and again", async () => {
    const place = new SimulatedLogPlace("reads");
    await place.drive(async () => {
      const chain = new RecordChain();
      const log = await place.open({ segmentBytes });
      for (let i = 0; i < 10; i++) await chain.append(log, payload);
      for (let nth = 1; nth <= 3; nth++) {
        place.disk.failNext("read", nth);
        assert.equal((await log.read(5))?.sequence, 5);
      }
      for (let nth = 1; nth <= 40; nth++) place.disk.failNext("read", nth);
      await assert.rejects(log.read(6), { code: "damaged" });
      await log.close();
    });
  });
});
