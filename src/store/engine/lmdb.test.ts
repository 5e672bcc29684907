import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { contents, positionAt, put, storeSuite } from "../store.suite.ts";
import { lmdbStore } from "./lmdb.ts";
import { batchWrites, summary } from "./lmdb.child.ts";
import { memoryEngine } from "../snapshot.fixture.ts";

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

function startChild(...parameters: string[]): ChildProcess {
  return spawn(process.execPath, ["--import", "tsx", childPath, ...parameters], { stdio: ["ignore", "pipe", "pipe"] });
}

storeSuite("LMDB", async () => {
  const directory = await mkdtemp(join(tmpdir(), "onefold-store-"));
  return { engine: engineAt(directory), dispose: () => rm(directory, { recursive: true, force: true }) };
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
