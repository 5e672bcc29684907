import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeUtf8 } from "../base/bytes.ts";
import { type BlobAddress, type Blobs, openDiskBlobs, parseBlobAddress } from "./blobs.ts";
import { blobsSuite } from "./blobs.suite.ts";
import { simulatedDisk } from "./snapshot.fixture.ts";

async function withBlobs(body: (blobs: Blobs, disk: ReturnType<typeof simulatedDisk>["disk"]) => Promise<void>) {
  const { scheduler, disk } = simulatedDisk("blobs");
  await scheduler.complete(
    (async () => body(await openDiskBlobs({ disk: disk.attach(), directory: "blobs" }), disk))(),
  );
}

blobsSuite("on a disk", () => {
  const { scheduler, disk } = simulatedDisk("blobs");
  return {
    open: () => openDiskBlobs({ disk: disk.attach(), directory: "blobs" }),
    drive: (body) => scheduler.complete(body()),
    damage: (address, bit) => disk.flip(`blobs/${address}`, bit),
    damagePointer: (name, bit) => disk.flip(`blobs/${name}.pointer`, bit),
  };
});

describe("blobs on a disk", () => {
  test("that are there are read, not written again", () =>
    withBlobs(async (blobs, disk) => {
      await blobs.put(encodeUtf8("content"));
      const before = disk.operationCount;
      await blobs.put(encodeUtf8("content"));
      assert.ok(disk.operationCount - before <= 4);
    }));

  test("refuse as damaged what is no address", () => {
    for (const text of ["", "abc", "A".repeat(64), `${"../".repeat(21)}a`]) {
      assert.throws(() => parseBlobAddress(text), { name: "OnefoldError", code: "damaged" });
    }
    assert.equal(parseBlobAddress("0".repeat(64)), "0".repeat(64) as BlobAddress);
  });

  test("survive a crash at every operation of a put and a pointer's change, and leave nothing half-written", async () => {
    let crashes = 0;
    for (let operation = 1; ; operation++) {
      const { scheduler, disk } = simulatedDisk(`crash-${operation}`);
      let kept = "" as BlobAddress;
      await scheduler.complete(
        (async () => {
          const blobs = await openDiskBlobs({ disk: disk.attach(), directory: "blobs" });
          kept = await blobs.put(encodeUtf8("kept"));
          await blobs.setPointer("newest", encodeUtf8("old"));
        })(),
      );
      disk.crash();
      let finished = false;
      const blobs = await scheduler.complete(openDiskBlobs({ disk: disk.attach(), directory: "blobs" }));
      disk.crashAt(operation, { moment: operation % 2 === 0 ? "during" : "after" });
      void (async () => {
        await blobs.put(new Uint8Array(3000).fill(7));
        await blobs.setPointer("newest", encodeUtf8("new"));
        finished = true;
      })();
      await scheduler.run();
      disk.crash();
      await scheduler.complete(
        (async () => {
          const again = await openDiskBlobs({ disk: disk.attach(), directory: "blobs" });
          const pointer = Buffer.from((await again.readPointer("newest"))!).toString();
          assert.ok(pointer === "new" || (pointer === "old" && !finished), `operation ${operation}: ${pointer}`);
          assert.deepEqual(Buffer.from(await again.get(kept)), Buffer.from("kept"));
          for (const address of await again.list()) await again.get(address);
          if (pointer === "new") assert.equal((await again.list()).length, 2);
          assert.ok(disk.paths().every((path) => !path.endsWith(".partial")));
        })(),
      );
      if (finished) break;
      crashes++;
    }
    assert.ok(crashes >= 12, `only ${crashes} crashes`);
  });
});
