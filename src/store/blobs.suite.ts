/** The contract of `blobs.ts` as tests that every engine of blobs must pass (O1–O3, while nothing fails). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeUtf8 } from "../base/bytes.ts";
import { type BlobAddress, type Blobs, blobAddress, blobBytesMax } from "./blobs.ts";

/** Blobs of which nobody has put any. */
export interface BlobsFixture {
  open(): Blobs | Promise<Blobs>;
  /** Runs the body to its end; a simulation lets its time pass meanwhile. */
  drive?<T>(body: () => Promise<T>): Promise<T>;
  /** Inverts one bit of a blob's stored content, where that can be done. */
  damage?(address: BlobAddress, bit: number): void | Promise<void>;
  /** The same of what is stored of a pointer. */
  damagePointer?(name: string, bit: number): void | Promise<void>;
  dispose?(): Promise<void>;
}

/** Runs the contract's tests; `makeFixture` gives an empty place for each of them. */
export function blobsSuite(name: string, makeFixture: () => BlobsFixture | Promise<BlobsFixture>): void {
  const check = (sentence: string, body: (blobs: Blobs, fixture: BlobsFixture) => Promise<void>): void => {
    test(sentence, async () => {
      const fixture = await makeFixture();
      const run = async () => body(await fixture.open(), fixture);
      try {
        await (fixture.drive === undefined ? run() : fixture.drive(run));
      } finally {
        await fixture.dispose?.();
      }
    });
  };

  describe(`the blobs contract: ${name}`, () => {
    check("blobs are found again by the address of their content", async (blobs) => {
      const address = await blobs.put(encodeUtf8("content"));
      assert.equal(address, blobAddress(encodeUtf8("content")));
      assert.deepEqual(Buffer.from(await blobs.get(address)), Buffer.from("content"));
      const empty = await blobs.put(new Uint8Array(0));
      assert.equal((await blobs.get(empty)).length, 0);
      assert.deepEqual(await blobs.list(), [address, empty].sort());
    });

    check("the largest blob fits", async (blobs) => {
      const bytes = new Uint8Array(blobBytesMax);
      bytes[bytes.length - 1] = 1;
      const got = await blobs.get(await blobs.put(bytes));
      assert.equal(Buffer.compare(got, bytes), 0);
    });

    check("blobs are kept once, and can be deleted, also twice", async (blobs) => {
      const address = await blobs.put(encodeUtf8("content"));
      assert.equal(await blobs.put(encodeUtf8("content")), address);
      assert.deepEqual(await blobs.list(), [address]);
      await blobs.delete(address);
      await blobs.delete(address);
      assert.deepEqual(await blobs.list(), []);
      await assert.rejects(blobs.get(address), { name: "OnefoldError", code: "not-found" });
    });

    check("bytes are the caller's own afterwards", async (blobs) => {
      const bytes = encodeUtf8("content");
      const address = await blobs.put(bytes);
      bytes.fill(0);
      (await blobs.get(address)).fill(0);
      assert.deepEqual(Buffer.from(await blobs.get(address)), Buffer.from("content"));
    });

    check("damaged blobs are named, at every bit, and healed by the next put", async (blobs, { damage }) => {
      if (damage === undefined) return;
      const bytes = encodeUtf8("some content");
      const address = await blobs.put(bytes);
      for (let bit = 0; bit < bytes.length * 8; bit += 5) {
        await damage(address, bit);
        await assert.rejects(blobs.get(address), { name: "OnefoldError", code: "damaged" });
        assert.equal(await blobs.put(bytes), address);
        assert.deepEqual(Buffer.from(await blobs.get(address)), Buffer.from(bytes));
      }
    });

    check("pointers are replaced whole, and named when damaged", async (blobs, { damagePointer }) => {
      assert.equal(await blobs.readPointer("newest"), undefined);
      await blobs.setPointer("newest", encodeUtf8("one"));
      await blobs.setPointer("newest", encodeUtf8("two, which is longer"));
      await blobs.setPointer("newest", encodeUtf8("3"));
      await blobs.setPointer("other", encodeUtf8("another"));
      assert.deepEqual(Buffer.from((await blobs.readPointer("newest"))!), Buffer.from("3"));
      assert.deepEqual(await blobs.list(), []);
      if (damagePointer === undefined) return;
      await damagePointer("newest", 3);
      await assert.rejects(blobs.readPointer("newest"), { name: "OnefoldError", code: "damaged" });
      await blobs.setPointer("newest", encodeUtf8("4"));
      assert.deepEqual(Buffer.from((await blobs.readPointer("newest"))!), Buffer.from("4"));
    });
  });
}
