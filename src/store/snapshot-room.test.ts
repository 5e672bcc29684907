import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { openDiskBlobs } from "./blobs.ts";
import { readNewest, readNewestManifests } from "./manifest.ts";
import { verifySnapshot, type WriteSnapshotOptions, writeSnapshot } from "./snapshot.ts";
import { memoryEngine, simulatedDisk, slotWrite, turn } from "./snapshot.fixture.ts";
import { estimatedRoomBytes, giveUpOlder, readWhole, roomOfOlderBytes, snapshotRoomBytes } from "./snapshot-room.ts";
import { positionAt } from "./store.suite.ts";

const slotCount = 600;
const valueBytes = 20_000;

async function makeWorld() {
  const { scheduler, disk } = simulatedDisk("room");
  const blobs = await scheduler.complete(openDiskBlobs({ disk: disk.attach(), directory: "blobs" }));
  const engine = memoryEngine("room");
  const store = await engine.open();
  const traced: string[] = [];
  let sequence = 0;
  return {
    disk,
    blobs,
    engine,
    store,
    traced,
    drive: <T>(body: () => Promise<T>): Promise<T> => scheduler.complete(body()),
    trace: (level: string, message: string): void => void traced.push(`${level}: ${message}`),
    /** Changes a value in each of so many slots. */
    change: (slots: number, fill: string) =>
      store.apply(
        Array.from({ length: slots }, (_, i) => slotWrite(1, 1 + i * 6, "key", fill.repeat(valueBytes) + i)),
        positionAt(++sequence),
      ),
    options: (rest: Partial<WriteSnapshotOptions> = {}): WriteSnapshotOptions => ({
      view: store.view(),
      blobs,
      codeVersion: "test",
      yield: turn,
      ...rest,
    }),
  };
}

describe("the room of a snapshot", () => {
  test("is known before it is written: enough, and not much more than it takes", async () => {
    const world = await makeWorld();
    await world.drive(async () => {
      await world.change(slotCount, "a");
      const first = await snapshotRoomBytes(world.options());
      assert.equal((await world.blobs.list()).length, 0, "nothing was written");
      const usedBefore = world.disk.usedBytes;
      const previous = await writeSnapshot(world.options());
      const firstTaken = world.disk.usedBytes - usedBefore;
      assert.ok(first >= firstTaken && first < firstTaken * 1.1, `${first} for ${firstTaken}`);

      await world.change(2, "b");
      const dirtySlots = new Set([1, 7]);
      const second = await snapshotRoomBytes(world.options({ previous, dirtySlots }));
      const usedBetween = world.disk.usedBytes;
      await writeSnapshot(world.options({ previous, dirtySlots }));
      const secondTaken = world.disk.usedBytes - usedBetween;
      assert.ok(second >= secondTaken && second < firstTaken / 4, `${second} for ${secondTaken}`);
      assert.ok(estimatedRoomBytes({ previous, dirtySlots, grownBytes: 0 }) >= secondTaken);
    });
  });

  test("is just what makes it possible: with that much it is written, with a piece less it leaves nothing", async () => {
    const world = await makeWorld();
    await world.drive(async () => {
      await world.change(slotCount, "a");
      const needed = await snapshotRoomBytes(world.options());
      const { disk } = world;
      disk.capacityBytes = disk.usedBytes + needed - 1024 * 1024;
      const before = disk.paths();
      await assert.rejects(writeSnapshot(world.options()), { code: "full" });
      assert.deepEqual(disk.paths(), before);
      disk.capacityBytes += 1024 * 1024;
      await verifySnapshot({ manifest: await writeSnapshot(world.options()), blobs: world.blobs, yield: turn });
    });
  });

  test("grows by what the older one has alone when that is given up, and the newer one stays whole", async () => {
    const world = await makeWorld();
    await world.drive(async () => {
      await world.change(slotCount, "a");
      const older = await writeSnapshot(world.options());
      await world.change(slotCount / 2, "b");
      const newer = await writeSnapshot(world.options({ previous: older }));
      assert.deepEqual(
        (await readNewestManifests(world.blobs, world.trace)).map(({ position }) => position.sequence),
        [2, 1],
      );
      const gained = roomOfOlderBytes(older, newer);
      const usedBefore = world.disk.usedBytes;
      await giveUpOlder({ newest: newer, blobs: world.blobs, yield: turn });
      const given = usedBefore - world.disk.usedBytes;
      assert.ok(given >= gained && gained > 4_000_000, `${gained} of ${given}`);
      assert.equal((await readNewest(world.blobs)).length, 1);
      await verifySnapshot({ manifest: newer, blobs: world.blobs, yield: turn });
      assert.deepEqual(world.traced, []);
    });
  });

  test("is not asked of a store that is damaged: reading it whole finds that", async () => {
    const world = await makeWorld();
    await world.drive(async () => {
      await world.change(10, "a");
      await readWhole(world.store.view(), turn);
      world.engine.damageValue();
      await assert.rejects(readWhole(world.store.view(), turn), { code: "damaged" });
    });
  });
});

describe("the newest manifests", () => {
  test("leave a damaged one out and name it, but throw what the disk says of itself", async () => {
    const world = await makeWorld();
    await world.drive(async () => {
      await world.change(1, "a");
      const older = await writeSnapshot(world.options());
      await world.change(1, "b");
      await writeSnapshot(world.options({ previous: older }));
      for (let nth = 1; nth <= 3; nth++) {
        world.disk.failNext("read", nth);
        await assert.rejects(readNewestManifests(world.blobs, world.trace), { code: "failed" });
      }
      assert.deepEqual(world.traced, []);
      assert.equal((await readNewestManifests(world.blobs, world.trace)).length, 2);
      const [newest] = await readNewest(world.blobs);
      world.disk.flip(`blobs/${newest}`, 100);
      const left = await readNewestManifests(world.blobs, world.trace);
      assert.deepEqual(
        left.map(({ position }) => position.sequence),
        [1],
      );
      assert.match(world.traced.join(), /A snapshot's manifest is damaged/);
    });
  });
});
