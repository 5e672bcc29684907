import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, test } from "node:test";
import { nodeHost } from "../../../host/node/host.ts";
import { hasCode, logSuite, RecordChain } from "../../log.suite.ts";
import { openSegmentLog } from "./engine.ts";
import { preparedFileName, reserveFileName } from "./format.ts";
import { logDirectory, SimulatedLogPlace } from "./simulated-place.fixture.ts";

for (const [name, segmentBytes, payloadBytesMax] of [
  ["small segments on a simulated disk", 64 * 1024, 60_000],
  ["large segments on a simulated disk", 2 * 1024 * 1024, undefined],
] as const) {
  logSuite(name, () => {
    const place = new SimulatedLogPlace(name);
    return {
      open: (options) => place.open({ segmentBytes, reserveBytes: 4096, ...options }),
      drive: (body) => place.drive(body),
      ...(payloadBytesMax === undefined ? {} : { payloadBytesMax }),
    };
  });
}

logSuite("segments on this machine's disk", () => {
  const dataDirectory = mkdtempSync(path.join(tmpdir(), "onefold-log-"));
  const host = nodeHost({ dataDirectory, trace: () => undefined });
  return {
    open: (options) =>
      openSegmentLog({ ...host, directory: "log", segmentBytes: 2 * 1024 * 1024, reserveBytes: 65_536, ...options }),
    dispose: async () => rmSync(dataDirectory, { recursive: true }),
  };
});

const segmentBytes = 16 * 512;

describe("the segment log", () => {
  test("appends with a single durable write each, as long as the segment lasts", async () => {
    const place = new SimulatedLogPlace("writes");
    await place.drive(async () => {
      const chain = new RecordChain();
      const log = await place.open({ segmentBytes: 64 * 1024 });
      await chain.append(log, new Uint8Array(10));
      for (let i = 0; i < 5; i++) {
        const before = place.disk.operationCount;
        await chain.append(log, new Uint8Array(1000).fill(1));
        assert.equal(place.disk.operationCount - before, 1);
      }
      await log.close();
    });
  });

  test("says full before it writes anything, reads on, and goes on once there is space", async () => {
    const place = new SimulatedLogPlace("full");
    await place.drive(async () => {
      const chain = new RecordChain();
      const log = await place.open({ segmentBytes });
      while (chain.end === null || chain.end.sequence < 6) await chain.append(log, new Uint8Array(1000));
      place.disk.capacityBytes = 0;
      let record = chain.encode(new Uint8Array(1000));
      let outcome = await log.append(record.bytes, record.hash);
      while (outcome.kind === "appended") {
        chain.accept(record);
        record = chain.encode(new Uint8Array(1000));
        outcome = await log.append(record.bytes, record.hash);
      }
      assert.equal(outcome.kind, "full");
      assert.equal((await log.append(record.bytes, record.hash)).kind, "full");
      assert.equal(log.end?.sequence, chain.end!.sequence);
      assert.equal((await log.read(3))?.sequence, 3);
      await log.anchor();
      place.disk.capacityBytes = 2 ** 40;
      assert.equal((await log.append(record.bytes, record.hash)).kind, "appended");
      await log.close();
    });
  });

  test("trims on a full disk, and the space is used for what follows", async () => {
    const place = new SimulatedLogPlace("trim-full");
    await place.drive(async () => {
      const chain = new RecordChain();
      const log = await place.open({ segmentBytes, reserveBytes: 4096 });
      while (chain.end === null || chain.end.sequence < 30) await chain.append(log, new Uint8Array(1000));
      place.disk.capacityBytes = 0;
      await log.releaseReserve();
      assert.ok(!place.disk.paths().includes(`${logDirectory}/${reserveFileName}`));
      await log.trim(25);
      assert.ok(log.firstSequence > 15);
      place.disk.capacityBytes = 20 * segmentBytes;
      while (chain.end!.sequence < 40) await chain.append(log, new Uint8Array(1000));
      await log.close();
      assert.ok(place.disk.paths().includes(`${logDirectory}/${reserveFileName}`));
    });
  });

  test("stops for good after a failed sync, and is whole after a restart (L4)", async () => {
    const place = new SimulatedLogPlace("failed");
    await place.drive(async () => {
      const chain = new RecordChain();
      const log = await place.open();
      await chain.append(log, new Uint8Array(10));
      place.disk.failNext("sync");
      const record = chain.encode(new Uint8Array(2000));
      assert.equal((await log.append(record.bytes, record.hash)).kind, "failed");
      assert.equal((await log.append(record.bytes, record.hash)).kind, "failed");
      await assert.rejects(log.anchor(), hasCode("stopped"));
      await assert.rejects(log.trim(1), hasCode("stopped"));
      assert.equal(log.end?.sequence, 1);
      assert.equal((await log.read(1))?.sequence, 1);
      await log.close();
      assert.ok(place.traced.some(({ level }) => level === "error"));
      const reopened = await place.open();
      assert.ok(reopened.end !== null && reopened.end.sequence <= 2);
      await reopened.close();
    });
  });

  test("never acts on a trim point that only the cache knows", async () => {
    for (let seed = 0; seed < 20; seed++) {
      const place = new SimulatedLogPlace(`trim-${seed}`);
      await place.drive(async () => {
        const chain = new RecordChain();
        const log = await place.open({ segmentBytes });
        while (chain.end === null || chain.end.sequence < 30) await chain.append(log, new Uint8Array(1000));
        place.disk.failNext("sync");
        await assert.rejects(log.trim(25), hasCode("stopped"));
        await log.close();
        // The process starts again and finishes the trim; then the power fails.
        await place.openAgain({ segmentBytes });
        const reopened = await place.open({ segmentBytes });
        assert.equal(reopened.end?.sequence, 30);
        await reopened.close();
      });
    }
  });

  test("makes a next segment again that a crash has left half-made", async () => {
    const place = new SimulatedLogPlace("half-made");
    await place.drive(async () => {
      const chain = new RecordChain();
      const log = await place.open({ segmentBytes });
      for (let i = 0; i < 4; i++) await chain.append(log, new Uint8Array(500));
      await log.close();
    });
    const prepared = `${logDirectory}/${preparedFileName}`;
    assert.ok(place.disk.paths().includes(prepared));
    place.disk.cutFile(prepared, segmentBytes / 2);
    await place.drive(async () => {
      const log = await place.open({ segmentBytes });
      const chain = new RecordChain();
      chain.continueFrom(log.end, 1_000);
      while (chain.end!.sequence < 30) {
        await chain.append(log, new Uint8Array(500));
        for (const name of place.disk.paths().filter((each) => each.endsWith(".segment"))) {
          assert.equal(place.disk.fileSizeBytes(name), segmentBytes);
        }
      }
      await log.close();
    });
  });

  test("verifies only its tail at open if told so, and the rest when it is read", async () => {
    const place = new SimulatedLogPlace("tail");
    const chain = new RecordChain();
    await place.drive(async () => {
      const log = await place.open({ segmentBytes });
      for (let i = 0; i < 40; i++) await chain.append(log, place.random.bytes(500));
      await log.close();
    });
    place.disk.flip(`${logDirectory}/0000000000000001.segment`, 8 * (512 + 1024 + 200));
    await place.drive(async () => {
      await assert.rejects(place.open({ segmentBytes }), /record 2/);
      const log = await place.open({ segmentBytes, verifyFromSequence: 35, verifiedThrough: [chain.end!] });
      assert.equal((await log.read(1))?.sequence, 1);
      assert.equal((await log.read(3))?.sequence, 3);
      await assert.rejects(log.read(2), /record 2/);
      await log.close();
    });
  });
});
