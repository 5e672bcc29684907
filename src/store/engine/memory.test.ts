import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeUtf8 } from "../../base/bytes.ts";
import { SeededRandom } from "../../base/random.ts";
import type { Timers } from "../../host/host.ts";
import { contents, positionAt, put, storeSuite } from "../store.suite.ts";
import { type MemoryStoreEngine, memoryStore } from "./memory.ts";

const timers: Timers = {
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
  soon(callback) {
    setImmediate(callback);
  },
};

function engineFrom(seed: number): MemoryStoreEngine {
  return memoryStore({ timers, random: new SeededRandom(seed) });
}

storeSuite("memory", async () => ({ engine: engineFrom(1), dispose: async () => undefined }));

describe("the faults of a memory store", () => {
  test("a crash keeps what was applied, and the apply under way whole or not at all (D1)", async () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const engine = engineFrom(seed * 7919);
      const store = await engine.open();
      await store.apply([put("a", "1"), put("b", "1")], positionAt(1));
      void store.apply([put("a", "2"), put("b", "2"), put("c", "2")], positionAt(2));
      engine.crash();
      const again = await engine.open();
      outcomes.add(`${again.position?.sequence} ${contents(again).join()}`);
    }
    assert.deepEqual([...outcomes].sort(), ["1 a=1,b=1", "2 a=2,b=2,c=2"]);
  });

  test("a store from before a crash throws, and its apply never settles (D2)", async () => {
    const engine = engineFrom(1);
    const store = await engine.open();
    let settled = false;
    void store.apply([put("a", "1")], positionAt(1)).finally(() => {
      settled = true;
    });
    const view = store.view();
    engine.crash();
    assert.throws(() => store.get(encodeUtf8("a")), { name: "AssertionFailure" });
    assert.throws(() => view.get(encodeUtf8("a")), { name: "AssertionFailure" });
    const again = await engine.open();
    await again.apply([put("b", "1")], positionAt(2));
    assert.equal(settled, false);
  });

  test("a full disk applies nothing and may have room later", async () => {
    const engine = engineFrom(1);
    const store = await engine.open();
    engine.failNextApply("full");
    await assert.rejects(store.apply([put("a", "1")], positionAt(1)), { name: "DiskError", code: "full" });
    assert.equal(store.position, null);
    await store.apply([put("a", "2")], positionAt(1));
    assert.deepEqual(contents(store), ["a=2"]);
  });

  test("a failed apply ends the store's life, and may or may not be found again (D4)", async () => {
    const outcomes = new Set<number | undefined>();
    for (let seed = 0; seed < 40; seed++) {
      const engine = engineFrom(seed * 104729);
      const store = await engine.open();
      await store.apply([put("a", "1")], positionAt(1));
      engine.failNextApply("failed");
      await assert.rejects(store.apply([put("a", "2")], positionAt(2)), { name: "DiskError", code: "failed" });
      await assert.rejects(store.apply([put("a", "3")], positionAt(2)), { name: "DiskError", code: "failed" });
      assert.deepEqual(contents(store), ["a=1"]);
      await store.close();
      outcomes.add((await engine.open()).position?.sequence);
    }
    assert.deepEqual([...outcomes].sort(), [1, 2]);
  });

  test("a damaged value is named on get and on range, and stays (D3)", async () => {
    for (let seed = 0; seed < 50; seed++) {
      const engine = engineFrom(seed * 31);
      assert.equal(engine.damageValue(), false);
      const store = await engine.open();
      await store.apply([put("a", "some value")], positionAt(1));
      assert.equal(engine.damageValue(), true);
      assert.throws(() => store.get(encodeUtf8("a")), { name: "OnefoldError", code: "damaged" });
      assert.throws(() => contents(store), { name: "OnefoldError", code: "damaged" });
      await store.close();
      const again = await engine.open();
      assert.throws(() => again.get(encodeUtf8("a")), { name: "OnefoldError", code: "damaged" });
    }
  });

  test("a damaged file does not open until it is destroyed, and a lost one is empty", async () => {
    const engine = engineFrom(1);
    const store = await engine.open();
    await store.apply([put("a", "1")], positionAt(1));
    await store.close();
    engine.damageFile();
    await assert.rejects(engine.open(), { name: "OnefoldError", code: "damaged" });
    await engine.destroy();
    const empty = await engine.open();
    assert.equal(empty.position, null);
    await empty.apply([put("a", "1")], positionAt(1));
    await empty.close();
    engine.lose();
    assert.equal((await engine.open()).position, null);
  });
});
