import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { encodeUtf8 } from "../../base/bytes.ts";
import { memoryEngine } from "../snapshot.fixture.ts";
import { contents, positionAt, put, storeSuite } from "../store.suite.ts";
import { batchWrites, summary } from "./lmdb.child.ts";
import { lmdbStore } from "./lmdb.ts";
import { MapResidency, residentFileBytes } from "./lmdb-residency.ts";

const damaged = { name: "OnefoldError", code: "damaged" };
const damageRounds = 120;
const childPath = fileURLToPath(new URL("./lmdb.child.ts", import.meta.url));

async function withDirectory<T>(body: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), "onefold-store-"));
  try {
    return await body(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function engineAt(directory: string) {
  return lmdbStore({ directory, trace: () => undefined });
}

/** Finds its map too large at every touch. */
const alwaysTooLarge = () => {
  let resident = 0;
  return { bytesMax: 0, touchesPerLook: 1, residentBytes: () => ++resident };
};

function startChild(...parameters: string[]): ChildProcess {
  return spawn(process.execPath, ["--import", "tsx", childPath, ...parameters], { stdio: ["ignore", "pipe", "pipe"] });
}

storeSuite("LMDB", async () => {
  const directory = await mkdtemp(join(tmpdir(), "onefold-store-"));
  return { engine: engineAt(directory), dispose: () => rm(directory, { recursive: true, force: true }) };
});

storeSuite("LMDB whose map is exchanged whenever it can be", async () => {
  const directory = await mkdtemp(join(tmpdir(), "onefold-store-"));
  const engine = lmdbStore({ directory, trace: () => undefined, residency: alwaysTooLarge() });
  return { engine, dispose: () => rm(directory, { recursive: true, force: true }) };
});

describe("the map of a store's file (B5)", () => {
  const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

  test("does not keep more resident than its bound, however much is read", async (context) => {
    if (process.platform !== "linux") return context.skip("only Linux tells");
    await withDirectory(async (directory) => {
      const MiB = 1024 ** 2;
      const residentBytes = async () => {
        const status = await readFile("/proc/self/status", "latin1");
        return Number(/^RssFile:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
      };
      const value = new Uint8Array(1000).fill(7);
      const keyOf = (index: number) => encodeUtf8(String(index).padStart(6, "0"));
      const count = 20_000;
      const readAll = async (bytesMax: number): Promise<number> => {
        const store = await lmdbStore({ directory, trace: () => undefined, residency: { bytesMax } }).open();
        if (store.position === null) {
          await store.apply(
            Array.from({ length: count }, (_, index) => ({ key: keyOf(index), value })),
            positionAt(1),
          );
          await store.close();
          return readAll(bytesMax);
        }
        const before = await residentBytes();
        for (let index = 0; index < count; index++) {
          assert.deepEqual(store.get(keyOf((index * 7919) % count)), value);
          if (index % 100 === 0) await nextTurn();
        }
        const grown = (await residentBytes()) - before;
        await store.close();
        return grown;
      };
      const unbounded = await readAll(1024 * MiB);
      assert.ok(unbounded > 18 * MiB, `${unbounded} bytes: as large as the file`);
      const bounded = await readAll(2 * MiB);
      // 256 touches of 64 KiB come before the next look, and 100 more before the next turn.
      assert.ok(bounded < unbounded / 2 + 2 * MiB, `${bounded} bytes of ${unbounded}`);
    });
  });

  test("may be of any size for as long as that can't be known, as where all file descriptors are in use", () => {
    const residentBytes = () =>
      residentFileBytes(() => {
        throw Object.assign(new Error("EMFILE: too many open files"), { code: "EMFILE" });
      });
    const residency = new MapResidency({ bytesMax: 0, touchesPerLook: 1, residentBytes });
    assert.equal(residency.touch(), false);
    residency.restart();
    assert.equal(residency.touch(), false);
  });

  test("is not exchanged under a view or a range that is open, and is as soon as they are not", () =>
    withDirectory(async (directory) => {
      let isLarge = false;
      let restarts = 0;
      const residentBytes = () => {
        if (!isLarge) restarts++;
        return isLarge ? 1 : 0;
      };
      const residency = { bytesMax: 0, touchesPerLook: 1, residentBytes };
      const store = await lmdbStore({ directory, trace: () => undefined, residency }).open();
      await store.apply([put("a", "1"), put("b", "2"), put("c", "3")], positionAt(1));
      const exchangedAfter = async (touch: () => unknown): Promise<boolean> => {
        isLarge = true;
        touch();
        isLarge = false;
        restarts = 0;
        for (let turn = 0; turn < 5; turn++) await nextTurn();
        return restarts > 0;
      };
      assert.equal(await exchangedAfter(() => store.get(encodeUtf8("a"))), true);
      const view = store.view();
      assert.equal(await exchangedAfter(() => store.get(encodeUtf8("a"))), false);
      await store.apply([put("b", "4")], positionAt(2));
      assert.deepEqual(contents(view), ["a=1", "b=2", "c=3"]);
      view.close();
      view.close();
      const range = store.range({ from: encodeUtf8("a"), to: encodeUtf8("z") })[Symbol.iterator]();
      assert.equal(Buffer.from(range.next().value!.value).toString(), "1");
      assert.equal(await exchangedAfter(() => store.get(encodeUtf8("a"))), false);
      assert.equal(Buffer.from(range.next().value!.value).toString(), "4");
      range.return?.();
      assert.equal(await exchangedAfter(() => store.get(encodeUtf8("a"))), true);
      assert.deepEqual(contents(store), ["a=1", "b=4", "c=3"]);
      await store.close();
    }));

  test("that can't be made again fails the store: its reads are damage, it writes nothing more, and closes", async () => {
    for (const replacement of [undefined, Buffer.alloc(100_000, 0xff)]) {
      await withDirectory(async (directory) => {
        let isLarge = false;
        const residency = { bytesMax: 0, touchesPerLook: 1, residentBytes: () => (isLarge ? 1 : 0) };
        const store = await lmdbStore({ directory, trace: () => undefined, residency }).open();
        await store.apply([put("a", "1")], positionAt(1));
        await rm(join(directory, "store.mdb"));
        if (replacement !== undefined) await writeFile(join(directory, "store.mdb"), replacement);
        isLarge = true;
        store.get(encodeUtf8("a"));
        for (let turn = 0; turn < 5; turn++) await nextTurn();
        // What reads throw makes a shard stop and rebuild its store; anything else would pass for a failure of the user's code.
        assert.throws(() => store.get(encodeUtf8("a")), damaged);
        assert.throws(() => store.view(), damaged);
        assert.throws(() => contents(store), damaged);
        await assert.rejects(store.apply([put("a", "2")], positionAt(2)), { name: "DiskError", code: "failed" });
        await store.close();
        assert.throws(() => store.get(encodeUtf8("a")), { name: "AssertionFailure" });
      });
    }
  });

  test("is exchanged beside reads and applies of every moment, none of which notices", () =>
    withDirectory(async (directory) => {
      let looks = 0;
      const residency = { bytesMax: 0, touchesPerLook: 3, residentBytes: () => ++looks };
      const store = await lmdbStore({ directory, trace: () => undefined, residency }).open();
      const sequenceMax = 200;
      let applied = 0;
      const writer = async () => {
        for (let sequence = 1; sequence <= sequenceMax; sequence++) {
          await store.apply([put("a", String(sequence)), put("b", String(sequence))], positionAt(sequence));
          applied = sequence;
        }
      };
      const reader = async (rest: () => Promise<void>) => {
        while (applied < sequenceMax) {
          const [a, b] = contents(store);
          const { position } = store;
          assert.equal(a, position === null ? undefined : `a=${position.sequence}`);
          assert.equal(b, position === null ? undefined : `b=${position.sequence}`);
          await rest();
        }
      };
      const microtasks = async () => {
        for (let count = 0; count < 50; count++) await Promise.resolve();
        await nextTurn();
      };
      await Promise.all([writer(), reader(nextTurn), reader(microtasks)]);
      await store.close();
      assert.ok(looks > 100);
    }));
});

describe("a store's file on a real disk", () => {
  test("that is damaged anywhere is named damaged, or the damage is harmless; it never ends the process (S3, S4)", () =>
    withDirectory(async (directory) => {
      const child = startChild("damage", directory, "a", String(damageRounds));
      let output = "";
      let errors = "";
      child.stdout!.on("data", (chunk: Buffer) => (output += chunk.toString()));
      child.stderr!.on("data", (chunk: Buffer) => (errors += chunk.toString()));
      const [code, signal] = await once(child, "close");
      assert.equal(code, 0, `the process ended with ${code ?? signal} after:\n${output.slice(-300)}\n${errors}`);
      const outcomes = output.trim().split("\n");
      assert.equal(outcomes.length, damageRounds);
      assert.deepEqual(
        outcomes.filter((line) => line.startsWith("wrong")),
        [],
      );
      const found = outcomes.filter((line) => line.startsWith("damaged")).length;
      assert.ok(found >= damageRounds / 5, `only ${found} of ${damageRounds} were damage to something in use`);
    }));

  test("survives kill -9 at any moment of an apply, with the last acknowledged batch or the one after it (S1)", () =>
    withDirectory(async (directory) => {
      const model = await memoryEngine("model").open();
      let modelSequence = 0;
      for (let round = 0; round < 5; round++) {
        const child = startChild("apply", directory);
        let acknowledged = 0;
        let count = 0;
        for await (const line of createInterface({ input: child.stdout! })) {
          acknowledged = Number(line);
          // Killed in the middle of what follows: the next batch is already being written when this line is read.
          if (++count === 3 + 4 * round) child.kill("SIGKILL");
        }
        assert.ok(acknowledged > 0, "the child applied something");
        const store = await engineAt(directory).open();
        const sequence = store.position!.sequence;
        assert.ok(sequence === acknowledged || sequence === acknowledged + 1, `${sequence} after ${acknowledged}`);
        while (modelSequence < sequence) {
          modelSequence++;
          await model.apply(batchWrites(modelSequence, 200), positionAt(modelSequence));
        }
        assert.equal(summary(store), summary(model));
        await store.close();
      }
    }));

  test("that is missing opens as an empty store", () =>
    withDirectory(async (directory) => {
      const store = await engineAt(directory).open();
      await store.apply([put("a", "1")], positionAt(1));
      await store.close();
      await rm(join(directory, "store.mdb"));
      const again = await engineAt(directory).open();
      assert.equal(again.position, null);
      await again.close();
    }));

  test("that is empty, or no store's file at all, is named damaged", () =>
    withDirectory(async (directory) => {
      for (const content of [Buffer.alloc(0), Buffer.alloc(4096), Buffer.alloc(100_000, 0xff), Buffer.from("hello")]) {
        await writeFile(join(directory, "store.mdb"), content);
        await assert.rejects(engineAt(directory).open(), damaged);
      }
    }));

  test("after a crash while it was being opened is named damaged until it is destroyed (B3)", () =>
    withDirectory(async (directory) => {
      const engine = engineAt(directory);
      const store = await engine.open();
      await store.apply([put("a", "1")], positionAt(1));
      await store.close();
      await writeFile(join(directory, "opening"), "");
      await assert.rejects(engine.open(), damaged);
      await assert.rejects(engine.open(), damaged);
      await engine.destroy();
      const empty = await engine.open();
      assert.deepEqual(contents(empty), []);
      await empty.close();
    }));

  test("with entries that are each intact but not those of the state record is named damaged (B2)", () =>
    withDirectory(async (directory) => {
      // Two stores with one entry more in one of them: a leaf page of the one in the place of the other's.
      const path = join(directory, "store.mdb");
      const images: Buffer[] = [];
      for (const value of ["1", "2"]) {
        const engine = engineAt(directory);
        await engine.destroy();
        const store = await engine.open();
        await store.apply([put("a", value)], positionAt(1));
        await store.close();
        images.push(await readFile(path));
      }
      const [first, second] = images as [Buffer, Buffer];
      assert.equal(first.length, second.length);
      let mixed = 0;
      for (let page = 0; page < first.length; page += 4096) {
        const image = Buffer.from(first);
        second.copy(image, page, page, page + 4096);
        if (image.equals(first)) continue;
        await writeFile(path, image);
        mixed++;
        try {
          const store = await engineAt(directory).open();
          assert.ok(["a=1", "a=2"].includes(contents(store).join()), "a whole state of one of the two");
          await store.close();
        } catch (error) {
          assert.equal((error as { code?: unknown }).code, "damaged");
        }
      }
      assert.ok(mixed >= 2);
    }));

  test("without room refuses the apply as full, keeps its state, and goes on once there is room", () =>
    withDirectory(async (directory) => {
      let free = 10_000_000;
      const engine = lmdbStore({ directory, trace: () => undefined, freeBytes: async () => free });
      const store = await engine.open();
      await store.apply([put("a", "1")], positionAt(1));
      free = 1_000_000;
      await assert.rejects(store.apply([put("a", "2")], positionAt(2)), { name: "DiskError", code: "full" });
      assert.deepEqual(contents(store), ["a=1"]);
      assert.equal(store.position?.sequence, 1);
      free = 10_000_000;
      await store.apply([put("a", "3")], positionAt(2));
      assert.deepEqual(contents(store), ["a=3"]);
      await store.close();
    }));

  test("that can't be written fails for good until it is opened again, with its last state (B4)", (context) =>
    withDirectory(async (directory) => {
      if (process.platform === "win32") return context.skip("there is no limit of a file's size to set");
      const limited = 'ulimit -f 8000; exec "$0" "$@"';
      const child = spawn("sh", ["-c", limited, process.execPath, "--import", "tsx", childPath, "full", directory]);
      let output = "";
      child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
      const [code] = await once(child, "close");
      assert.deepEqual(output.trim().split("\n").slice(-5), ["failed", "unchanged", "failed", "unchanged", "kept"]);
      assert.equal(code, 0);
    }));

  test("reuses the space of what was replaced, also while views come and go", () =>
    withDirectory(async (directory) => {
      const store = await engineAt(directory).open();
      const size = async () => (await stat(join(directory, "store.mdb"))).size;
      let early = 0;
      for (let sequence = 1; sequence <= 300; sequence++) {
        const view = store.view();
        await store.apply(batchWrites(sequence % 7, 100), positionAt(sequence));
        view.close();
        if (sequence === 50) early = await size();
      }
      assert.ok((await size()) <= 1.5 * early, `${await size()} bytes after ${early}`);
      await store.close();
      const again = await engineAt(directory).open();
      assert.equal(again.position?.sequence, 300);
      await again.close();
    }));
});
