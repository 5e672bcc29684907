import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeUtf8 } from "../base/bytes.ts";
import { type BlobAddress, type Blobs, blobAddress, openDiskBlobs, parseBlobAddress } from "./blobs.ts";
import { simulatedDisk } from "./snapshot.fixture.ts";

async function withBlobs(body: (blobs: Blobs, disk: ReturnType<typeof simulatedDisk>["disk"]) => Promise<void>) {
  const { scheduler, disk } = simulatedDisk("blobs");
  await scheduler.complete(
    (async () => body(await openDiskBlobs({ disk: disk.attach(), directory: "blobs" }), disk))(),
  );
}

describe("blobs on a disk", () => {
  test("are found again by the address of their content", () =>
    withBlobs(async (blobs) => {
      const address = await blobs.put(encodeUtf8("content"));
      assert.equal(address, blobAddress(encodeUtf8("content")));
      assert.deepEqual(Buffer.from(await blobs.get(address)), Buffer.from("content"));
      const empty = await blobs.put(new Uint8Array(0));
      assert.equal((await blobs.get(empty)).length, 0);
      assert.deepEqual(await blobs.list(), [address, empty].sort());
    }));

  test("are kept once, and can be deleted, also twice", () =>
    withBlobs(async (blobs, disk) => {
      const address = await blobs.put(encodeUtf8("content"));
      const before = disk.operationCount;
      await blobs.put(encodeUtf8("content"));
      assert.ok(disk.operationCount - before <= 4, "a blob that is there is read, not written");
      assert.equal((await blobs.list()).length, 1);
      await blobs.delete(address);
      await blobs.delete(address);
      assert.deepEqual(await blobs.list(), []);
      await assert.rejects(blobs.get(address), { name: "OnefoldError", code: "not-found" });
    }));

  test("that are damaged are named, at every bit, and healed by the next put", () =>
    withBlobs(async (blobs, disk) => {
      const bytes = encodeUtf8("some content");
      const address = await blobs.put(bytes);
      for (let bit = 0; bit < bytes.length * 8; bit += 5) {
        disk.flip(`blobs/${address}`, bit);
        await assert.rejects(blobs.get(address), { name: "OnefoldError", code: "damaged" });
        assert.equal(await blobs.put(bytes), address);
        assert.deepEqual(Buffer.from(await blobs.get(address)), Buffer.from(bytes));
      }
    }));

  test("have pointers that are replaced whole, and named when damaged", () =>
    withBlobs(async (blobs, disk) => {
      assert.equal(await blobs.readPointer("newest"), undefined);
      await blobs.setPointer("newest", encodeUtf8("one"));
      await blobs.setPointer("newest", encodeUtf8("two, which is longer"));
      await blobs.setPointer("newest", encodeUtf8("3"));
      assert.deepEqual(Buffer.from((await blobs.readPointer("newest"))!), Buffer.from("3"));
      assert.deepEqual(await blobs.list(), []);
      disk.flip("blobs/newest.pointer", 3);
      await assert.rejects(blobs.readPointer("newest"), { name: "OnefoldError", code: "damaged" });
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
