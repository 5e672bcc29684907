/** What every `Disk` must do while nothing fails; crashes and failures are the simulated disk's own tests. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeUtf8 } from "../base/bytes.ts";
import type { Disk, DiskErrorCode } from "./host.ts";
import { DiskError } from "./host.ts";

export interface DiskFixture {
  readonly disk: Disk;
  /** Another user of the same disk, as another process is, to contend for locks; undefined where there can be none. */
  readonly rival?: Disk;
  /** Runs a test's body to its end: simulated disks need their scheduler to run meanwhile. */
  run(body: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

async function refuses(operation: Promise<unknown>, code: DiskErrorCode): Promise<void> {
  await assert.rejects(operation, (error) => {
    assert(error instanceof DiskError, `expected a DiskError, got ${String(error)}`);
    assert.equal(error.code, code);
    return true;
  });
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Declares the suite; `makeFixture` gives an empty disk for each test. */
export function diskSuite(name: string, makeFixture: () => Promise<DiskFixture>): void {
  const check = (title: string, body: (fixture: DiskFixture) => Promise<void>) =>
    test(title, async () => {
      const fixture = await makeFixture();
      try {
        await fixture.run(() => body(fixture));
      } finally {
        await fixture.close();
      }
    });

  describe(`disk: ${name}`, () => {
    check("reads back what was written, at any position", async ({ disk }) => {
      const file = await disk.open("file", { create: "new" });
      assert.equal(file.path, "file");
      assert.equal(await file.size(), 0);
      await file.write(0, encodeUtf8("hello world"));
      await file.write(6, encodeUtf8("there"));
      assert.equal(text(await file.read(0, 100)), "hello there");
      assert.equal(text(await file.read(4, 3)), "o t");
      assert.equal((await file.read(11, 5)).length, 0);
      assert.equal((await file.read(1000, 5)).length, 0);
      assert.equal(await file.size(), 11);
      await file.sync();
      await file.close();
    });

    check("keeps content that is larger than any single operation of a platform, byte for byte", async ({ disk }) => {
      const file = await disk.open("large", { create: "new" });
      const bytes = new Uint8Array(3_000_001);
      for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31 + (i >>> 9)) & 0xff;
      await file.writeDurable(777, bytes);
      assert.equal(await file.size(), 777 + bytes.length);
      assert.deepEqual(Buffer.from(await file.read(777, bytes.length)), Buffer.from(bytes));
      await file.close();
    });

    check("reads zeros where nothing was written", async ({ disk }) => {
      const file = await disk.open("sparse", { create: "new" });
      await file.write(10_000, encodeUtf8("x"));
      const bytes = await file.read(0, 10_001);
      assert.equal(bytes.length, 10_001);
      assert.equal(
        bytes.findIndex((byte) => byte !== 0),
        10_000,
      );
      await file.close();
    });

    check("shows what one handle wrote durably to another handle of the same file", async ({ disk }) => {
      const one = await disk.open("file", { create: "always" });
      const other = await disk.open("file");
      await one.writeDurable(0, encodeUtf8("abc"));
      await one.write(3, encodeUtf8("def"));
      await one.writeDurable(6, encodeUtf8("ghi"));
      assert.equal(text(await other.read(0, 9)), "abcdefghi");
      await one.close();
      await other.close();
    });

    check("truncates, and reads zeros where a truncated file has grown again", async ({ disk }) => {
      const file = await disk.open("file", { create: "new" });
      await file.write(0, encodeUtf8("abcdefghi"));
      await file.truncate(3);
      assert.equal(await file.size(), 3);
      await file.truncate(6);
      assert.deepEqual([...(await file.read(0, 10))], [97, 98, 99, 0, 0, 0]);
      await file.close();
    });

    check("writes nothing where there is nothing to write", async ({ disk }) => {
      const file = await disk.open("file", { create: "new" });
      await file.write(0, new Uint8Array(0));
      await file.writeDurable(5, new Uint8Array(0));
      assert.equal(await file.size(), 0);
      assert.equal((await file.read(0, 0)).length, 0);
      await file.close();
    });

    check("opens, creates and refuses files as asked", async ({ disk }) => {
      await refuses(disk.open("absent"), "not-found");
      await refuses(disk.open("absent/file", { create: "always" }), "not-found");
      const file = await disk.open("file", { create: "always" });
      await file.write(0, encodeUtf8("kept"));
      await file.close();
      await refuses(disk.open("file", { create: "new" }), "exists");
      const again = await disk.open("file", { create: "always" });
      assert.equal(text(await again.read(0, 10)), "kept");
      await again.close();
    });

    check("refuses every operation of a closed file, and closes it twice", async ({ disk }) => {
      const file = await disk.open("file", { create: "new" });
      await file.close();
      await file.close();
      await refuses(file.read(0, 1), "failed");
      await refuses(file.write(0, encodeUtf8("x")), "failed");
      await refuses(file.writeDurable(0, encodeUtf8("x")), "failed");
      await refuses(file.sync(), "failed");
      await refuses(file.truncate(0), "failed");
      await refuses(file.size(), "failed");
    });

    check("lists names by their bytes, and nothing for an absent directory", async ({ disk }) => {
      assert.deepEqual(await disk.list("absent"), []);
      assert.deepEqual(await disk.list(""), []);
      await disk.makeDirectory("a/b");
      await disk.makeDirectory("a/b");
      for (const name of ["b", "a", "\uffee", "😀", "B"]) {
        await (await disk.open(`a/b/${name}`, { create: "new" })).close();
      }
      assert.deepEqual(await disk.list("a/b"), ["B", "a", "b", "\uffee", "😀"]);
      assert.deepEqual(await disk.list("a"), ["b"]);
      assert.deepEqual(await disk.list(""), ["a"]);
    });

    check("removes files and empty directories, and doesn't mind absent ones", async ({ disk }) => {
      await disk.makeDirectory("a");
      await (await disk.open("a/file", { create: "new" })).close();
      await refuses(disk.remove("a"), "failed");
      await disk.remove("a/file");
      await disk.remove("a/file");
      await disk.remove("a");
      await disk.syncDirectory("");
      assert.deepEqual(await disk.list(""), []);
      await disk.remove("absent/file");
    });

    check("renames over an existing file, and an open handle follows its file", async ({ disk }) => {
      await disk.makeDirectory("a");
      const file = await disk.open("new", { create: "new" });
      await file.write(0, encodeUtf8("one"));
      const old = await disk.open("a/name", { create: "new" });
      await old.write(0, encodeUtf8("old"));
      await old.close();
      await disk.rename("new", "a/name");
      await disk.syncDirectory("");
      await disk.syncDirectory("a");
      await file.writeDurable(3, encodeUtf8("two"));
      await file.close();
      const found = await disk.open("a/name");
      assert.equal(text(await found.read(0, 10)), "onetwo");
      await found.close();
      assert.deepEqual(await disk.list(""), ["a"]);
      await refuses(disk.rename("absent", "other"), "not-found");
    });

    check("makes operations that run together all take effect", async ({ disk }) => {
      const file = await disk.open("file", { create: "new" });
      const letters = [..."abcdefghij"];
      await Promise.all(
        letters.map((letter, i) =>
          i % 2 === 0 ? file.write(i, encodeUtf8(letter)) : file.writeDurable(i, encodeUtf8(letter)),
        ),
      );
      assert.equal(text(await file.read(0, 20)), "abcdefghij");
      await file.close();
    });

    check("keeps paths below its root", async ({ disk }) => {
      for (const path of ["../file", "a/../../file", "/etc/passwd", "a//b", "./a", "a\\b", "a\0b", "c:d"]) {
        await assert.rejects(async () => disk.open(path, { create: "always" }), { name: "AssertionFailure" }, path);
      }
      await assert.rejects(async () => disk.rename("a", "../a"), { name: "AssertionFailure" });
      await assert.rejects(async () => disk.remove(".."), { name: "AssertionFailure" });
    });

    check("knows its free space", async ({ disk }) => {
      assert((await disk.freeBytes()) > 0);
    });

    check("gives a lock to one holder at a time", async ({ disk, rival }) => {
      const lock = await disk.lock("LOCK");
      await refuses(disk.lock("LOCK"), "busy");
      if (rival !== undefined) await refuses(rival.lock("LOCK"), "busy");
      const other = await disk.lock("OTHER");
      await lock.release();
      const again = await (rival ?? disk).lock("LOCK");
      await again.release();
      await again.release();
      await other.release();
    });
  });
}
