import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import { type Blobs, openDiskBlobs } from "./blobs.ts";
import type { MemoryStoreEngine } from "./engine/memory.ts";
import { piecesOf, readManifest, readNewest } from "./manifest.ts";
import { loadingPosition } from "./position.ts";
import { openStoreOrRebuild } from "./recovery.ts";
import { writeSnapshot } from "./snapshot.ts";
import { memoryEngine, simulatedDisk, slotWrite, turn } from "./snapshot.fixture.ts";
import { contents, positionAt } from "./store.suite.ts";

interface World {
  readonly engine: MemoryStoreEngine;
  readonly blobs: Blobs;
  readonly disk: ReturnType<typeof simulatedDisk>["disk"];
  readonly traced: string[];
  open(): ReturnType<typeof openStoreOrRebuild>;
}

/** A closed store at sequence 3, with snapshots of sequences 1 and 2. */
async function withHistory(body: (world: World) => Promise<void>, snapshots = 2): Promise<void> {
  const { scheduler, disk } = simulatedDisk("recovery");
  await scheduler.complete(
    (async () => {
      const engine = memoryEngine("recovery");
      const blobs = await openDiskBlobs({ disk: disk.attach(), directory: "blobs" });
      const store = await engine.open();
      for (let sequence = 1; sequence <= 3; sequence++) {
        await store.apply([slotWrite(1, sequence, "key", `value ${sequence}`)], positionAt(sequence));
        if (sequence > snapshots) continue;
        await writeSnapshot({ view: store.view(), blobs, codeVersion: "test", yield: turn });
      }
      await store.close();
      const traced: string[] = [];
      const trace = (level: string, message: string): void => {
        traced.push(`${level}: ${message}`);
      };
      const open = () => openStoreOrRebuild({ engine, blobs, trace, yield: turn });
      await body({ engine, blobs, disk, traced, open });
    })(),
  );
}

async function damagePieceOf(world: World, index: number): Promise<void> {
  const address = (await readNewest(world.blobs))[index]!;
  const [piece] = piecesOf(await readManifest(world.blobs, address)).slice(-1);
  world.disk.flip(`blobs/${piece!.address}`, 70);
}

const count = (opened: { store: Parameters<typeof contents>[0] }): number => contents(opened.store).length;

describe("opening a store", () => {
  test("keeps one that is whole, and says nothing", () =>
    withHistory(async (world) => {
      const opened = await world.open();
      assert.equal(opened.rebuiltFrom, "kept");
      assert.equal(opened.store.position?.sequence, 3);
      assert.deepEqual(world.traced, []);
    }));

  test("that is damaged rebuilds it from the newest snapshot, and says why and what comes next", () =>
    withHistory(async (world) => {
      world.engine.damageFile();
      const opened = await world.open();
      assert.equal(opened.rebuiltFrom, "snapshot");
      assert.match(opened.reason!, /damaged/);
      assert.equal(opened.store.position?.sequence, 2);
      assert.equal(opened.manifest?.position.sequence, 2);
      assert.equal(count(opened), 2);
      assert.match(world.traced[0]!, /^warn: .*rebuilt from a snapshot and the log/);
      assert.match(world.traced[1]!, /^info: .*log behind it is replayed/);
    }));

  test("that is lost rebuilds it from the newest snapshot", () =>
    withHistory(async (world) => {
      world.engine.lose();
      const opened = await world.open();
      assert.equal(opened.rebuiltFrom, "snapshot");
      assert.equal(opened.store.position?.sequence, 2);
    }));

  test("falls back to the older snapshot where a piece or the manifest of the newer is damaged or gone", async () => {
    for (const damage of ["piece", "missing-piece", "manifest", "missing-manifest"] as const) {
      await withHistory(async (world) => {
        world.engine.damageFile();
        const [newest, older] = await readNewest(world.blobs);
        const olderPieces = piecesOf(await readManifest(world.blobs, older!)).map((piece) => piece.address);
        const pieces = piecesOf(await readManifest(world.blobs, newest!)).map((piece) => piece.address);
        const own = pieces.find((address) => !olderPieces.includes(address))!;
        if (damage === "piece") world.disk.flip(`blobs/${own}`, 99);
        else if (damage === "missing-piece") await world.blobs.delete(own);
        else if (damage === "manifest") world.disk.flip(`blobs/${newest}`, 500);
        else await world.blobs.delete(newest!);
        const opened = await world.open();
        assert.equal(opened.rebuiltFrom, "snapshot", damage);
        assert.equal(opened.store.position?.sequence, 1, damage);
        assert.equal(count(opened), 1);
        assert.ok(world.traced.some((line) => /^warn: A snapshot is damaged .* older one is tried/.test(line)));
      });
    }
  });

  test("starts empty where every snapshot is damaged, with nothing of them in the store (V2)", () =>
    withHistory(async (world) => {
      world.engine.damageFile();
      await damagePieceOf(world, 0);
      await damagePieceOf(world, 1);
      const opened = await world.open();
      assert.equal(opened.rebuiltFrom, "empty");
      assert.equal(opened.store.position, null);
      assert.equal(count(opened), 0);
      assert.ok(world.traced.some((line) => line.includes("The whole log is replayed")));
    }));

  test("starts empty where there never was a snapshot", () =>
    withHistory(async (world) => {
      world.engine.damageFile();
      const opened = await world.open();
      assert.equal(opened.rebuiltFrom, "empty");
      assert.equal(opened.store.position, null);
    }, 0));

  test("finds the snapshots without their pointer, should that be damaged", () =>
    withHistory(async (world) => {
      world.engine.damageFile();
      world.disk.flip("blobs/newest-snapshots.pointer", 11);
      const opened = await world.open();
      assert.equal(opened.rebuiltFrom, "snapshot");
      assert.equal(opened.store.position?.sequence, 2);
      assert.match(world.traced[1]!, /searched for snapshots/);
    }));

  test("does not keep one that was left while a snapshot was being loaded (V1)", () =>
    withHistory(async (world) => {
      await world.engine.destroy();
      const half = await world.engine.open();
      await half.apply([slotWrite(1, 9, "half", "loaded")], loadingPosition);
      await half.close();
      const opened = await world.open();
      assert.equal(opened.rebuiltFrom, "snapshot");
      assert.equal(count(opened), 2);
    }));

  test("passes on what is no damage", () =>
    withHistory(async (world) => {
      world.engine.damageFile();
      world.disk.failNext("read");
      await assert.rejects(world.open(), { name: "DiskError", code: "failed" });
    }));

  test("that crashes at any moment of a rebuild is rebuilt by the next one", async () => {
    const random = new SeededRandom("rebuild");
    for (let round = 0; round < 40; round++) {
      const { scheduler, disk } = simulatedDisk(`rebuild-${round}`);
      const engine = memoryEngine(round);
      await scheduler.complete(
        (async () => {
          const blobs = await openDiskBlobs({ disk: disk.attach(), directory: "blobs" });
          const store = await engine.open();
          const writes = Array.from({ length: 30 }, (_, slot) => slotWrite(1, slot * 100, "k", random.bytes(50_000)));
          await store.apply(writes, positionAt(1));
          await writeSnapshot({ view: store.view(), blobs, codeVersion: "test", yield: turn });
          await store.close();
        })(),
      );
      disk.crash();
      engine.damageFile();
      const blobs = await scheduler.complete(openDiskBlobs({ disk: disk.attach(), directory: "blobs" }));
      const options = { engine, blobs, trace: () => undefined, yield: turn };
      disk.crashAt(1 + random.integer(14), { moment: "after", onCrash: () => engine.crash() });
      void openStoreOrRebuild(options);
      await scheduler.run();
      disk.crash();
      engine.crash();
      await scheduler.complete(
        (async () => {
          const again = await openDiskBlobs({ disk: disk.attach(), directory: "blobs" });
          const opened = await openStoreOrRebuild({ ...options, blobs: again });
          assert.equal(opened.store.position?.sequence, 1);
          assert.equal(count(opened), 30);
        })(),
      );
    }
  });
});
