import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { compareBytes } from "../base/bytes.ts";
import { crc32 } from "../base/digest.ts";
import { SeededRandom } from "../base/random.ts";
import { crashMoments } from "../sim/life.ts";
import { type BlobAddress, type Blobs, openDiskBlobs } from "./blobs.ts";
import { keyEnd } from "./key.ts";
import { type Manifest, piecesOf, readManifest, readNewest } from "./manifest.ts";
import { collectGarbage, loadSnapshot, verifySnapshot, writeSnapshot } from "./snapshot.ts";
import { globalWrite, memoryEngine, simulatedDisk, slotWrite, turn } from "./snapshot.fixture.ts";
import type { Store, StoreReader, Write } from "./store.ts";
import { positionAt } from "./store.suite.ts";

interface World {
  readonly blobs: Blobs;
  readonly store: Store;
  readonly disk: ReturnType<typeof simulatedDisk>["disk"];
  sequence: number;
}

async function withWorld(body: (world: World) => Promise<void>): Promise<void> {
  const { scheduler, disk } = simulatedDisk("snapshot");
  await scheduler.complete(
    (async () => {
      const blobs = await openDiskBlobs({ disk: disk.attach(), directory: "blobs" });
      const store = await memoryEngine("snapshot").open();
      await body({ blobs, store, disk, sequence: 0 });
    })(),
  );
}

async function apply(world: World, writes: readonly Write[]): Promise<void> {
  await world.store.apply(writes, positionAt(++world.sequence));
}

async function snapshot(world: World, previous?: Manifest, dirtySlots?: ReadonlySet<number>): Promise<Manifest> {
  const view = world.store.view();
  try {
    return await writeSnapshot({
      view,
      blobs: world.blobs,
      codeVersion: "test",
      yield: turn,
      ...(previous === undefined ? {} : { previous }),
      ...(dirtySlots === undefined ? {} : { dirtySlots }),
    });
  } finally {
    view.close();
  }
}

async function restore(blobs: Blobs, manifest: Manifest): Promise<Store> {
  const store = await memoryEngine("restore").open();
  await loadSnapshot({ manifest, blobs, store, yield: turn });
  return store;
}

function everything(reader: StoreReader): string[] {
  return [...reader.range({ from: new Uint8Array(0), to: keyEnd })].map(
    ({ key, value }) => `${Buffer.from(key).toString("latin1")} ${value.length} ${crc32(value)}`,
  );
}

const random = new SeededRandom("snapshot-tests");

/** Entries of about `bytes` in all, each 1 KiB, spread over some slots and two tables. */
function fill(bytes: number, slots: readonly number[]): Write[] {
  return Array.from({ length: Math.ceil(bytes / 1024) }, (_, index) =>
    slotWrite(1 + (index % 2), slots[index % slots.length]!, `entry-${index}`, random.bytes(1000)),
  );
}

const allSlots = Array.from({ length: 4096 }, (_, slot) => slot);
const newPieces = (before: Manifest, after: Manifest): BlobAddress[] => {
  const old = new Set(piecesOf(before).map((piece) => piece.address));
  return piecesOf(after)
    .map((piece) => piece.address)
    .filter((address) => !old.has(address));
};

describe("a snapshot", () => {
  test("gives back every entry and the position, of slot tables and of global ones", () =>
    withWorld(async (world) => {
      await apply(world, [
        slotWrite(0, 0, "", "first"),
        slotWrite(1, 4095, "last", ""),
        slotWrite(0x7f, 17, "x", "y"),
        globalWrite(0x80, "", "bare"),
        globalWrite(0xff, "\xff", "end"),
        ...fill(3_000_000, [5, 6, 7, 1000, 4000]),
      ]);
      const manifest = await snapshot(world);
      const restored = await restore(world.blobs, manifest);
      assert.deepEqual(everything(restored), everything(world.store));
      assert.deepEqual(restored.position, world.store.position);
      assert.deepEqual(manifest.position, positionAt(1));
      const [newest] = await readNewest(world.blobs);
      assert.deepEqual(await readManifest(world.blobs, newest!), manifest);
      await verifySnapshot({ manifest, blobs: world.blobs, yield: turn });
    }));

  test("of an empty state is restored as one", () =>
    withWorld(async (world) => {
      await apply(world, []);
      const restored = await restore(world.blobs, await snapshot(world));
      assert.deepEqual(everything(restored), []);
      assert.deepEqual(restored.position, positionAt(1));
    }));

  test("is made of pieces of about a mebibyte, whatever the sizes of slots", () =>
    withWorld(async (world) => {
      await apply(world, [...fill(4_000_000, allSlots), ...fill(6_000_000, [99])]);
      await apply(world, [slotWrite(1, 100, "large", random.bytes(1024 * 1024))]);
      const manifest = await snapshot(world);
      for (const piece of piecesOf(manifest)) assert.ok(piece.sizeBytes <= 3.2 * 1024 * 1024, `${piece.sizeBytes}`);
      assert.ok(piecesOf(manifest).length <= 14, `${piecesOf(manifest).length} pieces`);
      const large = manifest.ranges.find(({ firstSlot, lastSlot }) => firstSlot <= 99 && lastSlot >= 99)!;
      assert.ok(large.pieces.length >= 3, "one slot of 6 MB has several pieces");
      assert.deepEqual(everything(await restore(world.blobs, manifest)), everything(world.store));
    }));

  test("after one change reuses all but one range, unread", () =>
    withWorld(async (world) => {
      await apply(world, fill(12_000_000, allSlots));
      const first = await snapshot(world);
      assert.ok(first.ranges.length >= 8);
      await apply(world, [slotWrite(3, 2000, "new", "entry")]);
      const reads: number[] = [];
      const view = world.store.view();
      const counting: typeof view = {
        get position() {
          return view.position;
        },
        get: (key) => view.get(key),
        range(options) {
          if (options.limit === undefined && options.from[0]! < 0x80)
            reads.push((options.from[1]! << 8) | options.from[2]!);
          return view.range(options);
        },
        close: () => view.close(),
      };
      const second = await writeSnapshot({
        view: counting,
        blobs: world.blobs,
        previous: first,
        dirtySlots: new Set([2000]),
        codeVersion: "test",
        yield: turn,
      });
      assert.equal(newPieces(first, second).length, 1);
      assert.equal(new Set(reads).size, 1, "one range of slots is read");
      assert.deepEqual(everything(await restore(world.blobs, second)), everything(world.store));
    }));

  test("that reads everything again still finds the unchanged ranges to be the same blobs", () =>
    withWorld(async (world) => {
      await apply(world, fill(12_000_000, allSlots));
      const first = await snapshot(world);
      await apply(world, [slotWrite(3, 2000, "new", "entry")]);
      assert.equal(newPieces(first, await snapshot(world, first)).length, 1);
    }));

  test("cuts a large slot so that one entry more changes few of its pieces", () =>
    withWorld(async (world) => {
      await apply(world, fill(12_000_000, [7]));
      const first = await snapshot(world);
      assert.ok(piecesOf(first).length >= 6);
      await apply(world, [slotWrite(1, 7, "entry-0-and-a-bit", "new")]);
      assert.ok(newPieces(first, await snapshot(world, first, new Set([7]))).length <= 3);
    }));

  test("keeps its ranges of a sensible size while the state grows and shrinks", () =>
    withWorld(async (world) => {
      let manifest: Manifest | undefined;
      for (let round = 0; round < 12; round++) {
        const growing = round < 6;
        const existing = [...world.store.range({ from: new Uint8Array(0), to: keyEnd })];
        const writes = growing
          ? fill(1_500_000, allSlots).map(({ key, value }) => ({ key: Buffer.concat([key, Buffer.of(round)]), value }))
          : existing.filter(() => random.next() < 0.4).map(({ key }) => ({ key, value: null }));
        await apply(world, writes);
        const dirty = new Set(writes.map(({ key }) => (key[1]! << 8) | key[2]!));
        manifest = await snapshot(world, manifest, dirty);
        const total = piecesOf(manifest).reduce((sum, piece) => sum + piece.sizeBytes, 0);
        assert.ok(
          manifest.ranges.length <= 2 + (2 * total) / 1_000_000,
          `${manifest.ranges.length} ranges, ${total} bytes`,
        );
        assert.deepEqual(everything(await restore(world.blobs, manifest)), everything(world.store));
      }
    }));

  test("with any one bit of any of its blobs flipped is named damaged, by verifying and by loading", () =>
    withWorld(async (world) => {
      await apply(world, [...fill(2_600_000, [1, 2, 3]), globalWrite(0x90, "g", "value")]);
      const manifest = await snapshot(world);
      const [manifestAddress] = await readNewest(world.blobs);
      const damaged = { name: "OnefoldError", code: "damaged" };
      for (const address of [manifestAddress!, ...piecesOf(manifest).map((piece) => piece.address)]) {
        const path = `blobs/${address}`;
        for (let round = 0; round < 10; round++) {
          const bit = random.integer(world.disk.fileSizeBytes(path) * 8);
          world.disk.flip(path, bit);
          if (address === manifestAddress) await assert.rejects(readManifest(world.blobs, address), damaged);
          else {
            await assert.rejects(verifySnapshot({ manifest, blobs: world.blobs, yield: turn }), damaged);
            if (round === 0) await assert.rejects(restore(world.blobs, manifest), damaged);
          }
          world.disk.flip(path, bit);
        }
      }
      await verifySnapshot({ manifest, blobs: world.blobs, yield: turn });
    }));

  test("writes a piece again that is missing, though no slot of it is dirty", () =>
    withWorld(async (world) => {
      await apply(world, fill(5_000_000, allSlots));
      const first = await snapshot(world);
      await world.blobs.delete(piecesOf(first)[1]!.address);
      await apply(world, []);
      const second = await snapshot(world, first, new Set());
      await verifySnapshot({ manifest: second, blobs: world.blobs, yield: turn });
    }));

  test("keeps the one before, and garbage is what neither of the two names", () =>
    withWorld(async (world) => {
      const manifests: Manifest[] = [];
      for (let round = 0; round < 4; round++) {
        await apply(world, fill(2_500_000, [round, round + 1, round + 2]));
        manifests.push(await snapshot(world, manifests.at(-1)));
      }
      const newest = await readNewest(world.blobs);
      assert.deepEqual(
        await Promise.all(newest.map(async (address) => (await readManifest(world.blobs, address)).position.sequence)),
        [4, 3],
      );
      const named = new Set([...piecesOf(manifests[2]!), ...piecesOf(manifests[3]!)].map((piece) => piece.address));
      const before = (await world.blobs.list()).length;
      const deleted = await collectGarbage({ blobs: world.blobs, yield: turn });
      assert.equal(deleted, before - named.size - 2);
      assert.equal((await world.blobs.list()).length, named.size + 2);
      for (const manifest of manifests.slice(2)) await verifySnapshot({ manifest, blobs: world.blobs, yield: turn });
      assert.equal(await collectGarbage({ blobs: world.blobs, yield: turn }), 0);
    }));

  test("with a damaged manifest beside it makes garbage collection refuse, and delete nothing", () =>
    withWorld(async (world) => {
      await apply(world, fill(10_000, [1]));
      await snapshot(world);
      await apply(world, fill(10_000, [1]));
      await snapshot(world);
      await world.blobs.put(Buffer.from("garbage"));
      const [, older] = await readNewest(world.blobs);
      world.disk.flip(`blobs/${older}`, 100);
      const before = await world.blobs.list();
      await assert.rejects(collectGarbage({ blobs: world.blobs, yield: turn }), { code: "damaged" });
      assert.deepEqual(await world.blobs.list(), before);
    }));

  test("gives other work a turn at least every few hundred entries", () =>
    withWorld(async (world) => {
      await apply(world, fill(3_000_000, allSlots));
      let turns = 0;
      const view = world.store.view();
      await writeSnapshot({
        view,
        blobs: world.blobs,
        codeVersion: "test",
        yield: async () => {
          turns++;
        },
      });
      view.close();
      assert.ok(turns >= 3_000_000 / 1024 / 500, `${turns} turns`);
    }));
});

describe("a crash at every disk operation of writing a snapshot and collecting garbage", () => {
  for (const moment of crashMoments) {
    test(`leaves a whole snapshot, the older one or the new one (${moment} the operation)`, async () => {
      const outcomes = new Set<number>();
      let crashes = 0;
      for (let operation = 1; ; operation++) {
        const { scheduler, disk } = simulatedDisk(`${moment}-${operation}`);
        const store = await memoryEngine("crash").open();
        const small = (round: number): Write[] =>
          Array.from({ length: 20 }, (_, i) =>
            slotWrite(1, 200 * i, "k", `value ${round} ${i % 3 === 0 ? round : ""}`),
          );
        await store.apply(small(0), positionAt(1));
        let first: Manifest | undefined;
        const contents = new Map<number, string[]>();
        await scheduler.complete(
          (async () => {
            const blobs = await openDiskBlobs({ disk: disk.attach(), directory: "blobs" });
            for (const round of [1, 2]) {
              await store.apply(small(round), positionAt(round));
              contents.set(round, everything(store));
              first = await writeSnapshot({ view: store.view(), blobs, codeVersion: "test", yield: turn });
            }
          })(),
        );
        disk.crash();
        await store.apply(small(3), positionAt(3));
        contents.set(3, everything(store));
        let finished = false;
        const blobs = await scheduler.complete(openDiskBlobs({ disk: disk.attach(), directory: "blobs" }));
        disk.crashAt(operation, { moment });
        void (async () => {
          await writeSnapshot({ view: store.view(), blobs, previous: first!, codeVersion: "test", yield: turn });
          await collectGarbage({ blobs, yield: turn });
          finished = true;
        })();
        await scheduler.run();
        disk.crash();
        await scheduler.complete(
          (async () => {
            const again = await openDiskBlobs({ disk: disk.attach(), directory: "blobs" });
            const newest = await readNewest(again);
            assert.equal(newest.length, 2);
            const sequences: number[] = [];
            for (const address of newest) {
              const manifest = await readManifest(again, address);
              sequences.push(manifest.position.sequence);
              const restored = await restore(again, manifest);
              assert.deepEqual(everything(restored), contents.get(manifest.position.sequence));
            }
            assert.ok(
              compareBytes(Uint8Array.from(sequences), Uint8Array.of(3, 2)) === 0 || (sequences[0] === 2 && !finished),
            );
            outcomes.add(sequences[0]!);
          })(),
        );
        if (finished) break;
        crashes++;
      }
      assert.deepEqual([...outcomes].sort(), [2, 3]);
      assert.ok(crashes >= 20, `only ${crashes} crashes`);
    });
  }
});
