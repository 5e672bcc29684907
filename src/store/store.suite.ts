/**
 * What every store engine must pass: the contract of `store.ts`, and agreement with a naive model under random programs.
 * Tests of what only one engine has (faults, files) stand beside that engine.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { compareBytes, encodeUtf8, toHex } from "../base/bytes.ts";
import type { LogPosition } from "../log/log.ts";
import { keyBytesMax, keyEnd, valueBytesMax } from "./key.ts";
import type { Entry, RangeOptions, Store, StoreEngine, StoreReader, Write } from "./store.ts";

/** A position for tests: everything about it follows from its sequence. */
export function positionAt(sequence: number): LogPosition {
  return {
    incarnation: new Uint8Array(16).fill(7),
    epoch: 3,
    sequence,
    hash: new Uint8Array(32).fill(sequence % 251),
  };
}

export function put(key: string, value: string): Write {
  return { key: encodeUtf8(key), value: encodeUtf8(value) };
}

export function removal(key: string): Write {
  return { key: encodeUtf8(key), value: null };
}

/** Everything in a store as text, in order. */
export function contents(reader: StoreReader, options: Partial<RangeOptions> = {}): string[] {
  const range = { from: new Uint8Array(0), to: keyEnd, ...options };
  return [...reader.range(range)].map(({ key, value }) => `${toText(key)}=${toText(value)}`);
}

function toText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

export interface StoreUnderTest {
  readonly engine: StoreEngine;
  readonly dispose: () => Promise<void>;
}

/** Declares the suite. `make` gives a fresh, empty place. */
export function storeSuite(name: string, make: () => Promise<StoreUnderTest>): void {
  const withEngine = async (body: (engine: StoreEngine) => Promise<void>): Promise<void> => {
    const { engine, dispose } = await make();
    try {
      await body(engine);
    } finally {
      await dispose();
    }
  };
  const withStore = (body: (store: Store) => Promise<void>): Promise<void> =>
    withEngine(async (engine) => {
      const store = await engine.open();
      try {
        await body(store);
      } finally {
        await store.close();
      }
    });

  describe(`a store on ${name}`, () => {
    test("is empty and without a position at first", () =>
      withStore(async (store) => {
        assert.equal(store.position, null);
        assert.equal(store.get(encodeUtf8("a")), undefined);
        assert.deepEqual(contents(store), []);
      }));

    test("gives what was applied, with the position of the same apply", () =>
      withStore(async (store) => {
        await store.apply([put("b", "2"), put("a", "1")], positionAt(5));
        assert.deepEqual(contents(store), ["a=1", "b=2"]);
        assert.deepEqual(store.position, positionAt(5));
        assert.equal(toText(store.get(encodeUtf8("b"))!), "2");
        assert.equal(store.get(encodeUtf8("c")), undefined);
      }));

    test("shows nothing of an apply before it has resolved (S2)", () =>
      withStore(async (store) => {
        await store.apply([put("a", "1")], positionAt(1));
        let resolved = false;
        const applied = store.apply([put("a", "2"), put("b", "2")], positionAt(2)).then(() => {
          resolved = true;
        });
        for (let turn = 0; !resolved && turn < 100_000; turn++) {
          assert.deepEqual(contents(store), ["a=1"]);
          assert.equal(store.position?.sequence, 1);
          await new Promise((turnOver) => setImmediate(turnOver));
        }
        await applied;
        assert.deepEqual(contents(store), ["a=2", "b=2"]);
        assert.equal(store.position?.sequence, 2);
      }));

    test("removes, and takes the removal of an absent key", () =>
      withStore(async (store) => {
        await store.apply([put("a", "1"), put("b", "2")], positionAt(1));
        await store.apply([removal("a"), removal("never")], positionAt(2));
        assert.deepEqual(contents(store), ["b=2"]);
      }));

    test("lets the later of two writes of one key win, within one apply", () =>
      withStore(async (store) => {
        await store.apply([put("a", "1"), put("b", "1"), put("a", "2"), removal("b"), put("c", "1")], positionAt(1));
        await store.apply([removal("c"), put("c", "3")], positionAt(2));
        assert.deepEqual(contents(store), ["a=2", "c=3"]);
      }));

    test("moves its position with an apply of nothing", () =>
      withStore(async (store) => {
        await store.apply([], positionAt(9));
        assert.deepEqual(store.position, positionAt(9));
        assert.deepEqual(contents(store), []);
      }));

    test("gives ranges from inclusive to exclusive, in both directions, and limited", () =>
      withStore(async (store) => {
        await store.apply(
          ["a", "b", "c", "d", "e"].map((key) => put(key, key)),
          positionAt(1),
        );
        const from = encodeUtf8("b");
        const to = encodeUtf8("e");
        assert.deepEqual(contents(store, { from, to }), ["b=b", "c=c", "d=d"]);
        assert.deepEqual(contents(store, { from, to, reverse: true }), ["d=d", "c=c", "b=b"]);
        assert.deepEqual(contents(store, { from, to, limit: 2 }), ["b=b", "c=c"]);
        assert.deepEqual(contents(store, { from, to, limit: 2, reverse: true }), ["d=d", "c=c"]);
        assert.deepEqual(contents(store, { from, to, limit: 0 }), []);
        assert.deepEqual(contents(store, { from: to, to: from }), []);
        assert.deepEqual(contents(store, { from, to: from }), []);
        assert.deepEqual(contents(store, { from: encodeUtf8("aa"), to: encodeUtf8("dd") }), ["b=b", "c=c", "d=d"]);
        assert.deepEqual(contents(store, { from: encodeUtf8("f"), reverse: true }), []);
      }));

    test("orders keys by their bytes, unsigned, a prefix first", () =>
      withStore(async (store) => {
        const keys = [[0], [0, 0], [0, 255], [1], [127], [128], [128, 1], [255], [255, 255]].map((k) =>
          Uint8Array.from(k),
        );
        await store.apply(
          keys.toReversed().map((key) => ({ key, value: key })),
          positionAt(1),
        );
        const found = [...store.range({ from: new Uint8Array(0), to: keyEnd })].map((entry) => entry.key);
        assert.deepEqual(found.map(toHex), keys.map(toHex));
      }));

    test("takes empty values, the longest keys and the largest values", () =>
      withStore(async (store) => {
        const longKey = new Uint8Array(keyBytesMax).fill(0xff);
        const large = new Uint8Array(valueBytesMax).map((_, i) => (i * 31) & 0xff);
        await store.apply(
          [
            { key: Uint8Array.of(1), value: new Uint8Array(0) },
            { key: longKey, value: large },
          ],
          positionAt(1),
        );
        assert.deepEqual(store.get(Uint8Array.of(1)), new Uint8Array(0));
        assert.equal(compareBytes(store.get(longKey)!, large), 0);
        const last = [...store.range({ from: Uint8Array.of(2), to: keyEnd })] as [Entry];
        assert.equal(last.length, 1);
        assert.equal(compareBytes(last[0].value, large), 0);
      }));

    test("ranges between bounds that are longer than any key", () =>
      withStore(async (store) => {
        const longest = new Uint8Array(keyBytesMax).fill(5);
        const keys = [Uint8Array.of(1), longest.subarray(0, keyBytesMax - 1), longest, Uint8Array.of(9)];
        await store.apply(
          keys.map((key) => ({ key, value: Uint8Array.of(1) })),
          positionAt(1),
        );
        for (const sizeBytes of [keyBytesMax + 1, 1979, 5000, 1_000_000]) {
          const above = new Uint8Array(sizeBytes).fill(5);
          const below = above.slice();
          below[keyBytesMax - 1] = 4;
          for (const reverse of [false, true]) {
            const count = (from: Uint8Array, to: Uint8Array) => [...store.range({ from, to, reverse })].length;
            assert.deepEqual([count(above, keyEnd), count(new Uint8Array(0), above)], [1, 3], `${sizeBytes}`);
            assert.deepEqual([count(below, keyEnd), count(new Uint8Array(0), below)], [2, 2], `${sizeBytes}`);
            assert.deepEqual([count(below, above), count(above, below)], [1, 0], `${sizeBytes}`);
          }
        }
      }));

    test("gives copies that the caller owns, and keeps none of what it was given", () =>
      withStore(async (store) => {
        const key = encodeUtf8("a");
        const value = encodeUtf8("1");
        const applied = store.apply([{ key, value }], positionAt(1));
        key[0] = 0x7a;
        value[0] = 0x7a;
        await applied;
        store.get(encodeUtf8("a"))![0] = 0;
        for (const entry of store.range({ from: encodeUtf8("a"), to: encodeUtf8("b") })) {
          entry.value[0] = 0;
          entry.key[0] = 0;
        }
        assert.deepEqual(contents(store), ["a=1"]);
        const first = store.get(encodeUtf8("a"))!;
        await store.apply([put("a", "2"), put("b", "3")], positionAt(2));
        store.get(encodeUtf8("b"));
        assert.equal(toText(first), "1");
      }));

    test("iterates over the state at the iteration's begin, whatever is applied meanwhile", () =>
      withStore(async (store) => {
        await store.apply(
          Array.from({ length: 500 }, (_, i) => put(`k${String(i).padStart(4, "0")}`, "old")),
          positionAt(1),
        );
        const seen: string[] = [];
        for (const { value } of store.range({ from: encodeUtf8("k"), to: encodeUtf8("l") })) {
          seen.push(toText(value));
          if (seen.length % 200 === 1) {
            await store.apply(
              Array.from({ length: 500 }, (_, i) =>
                i % 2 === 0 ? removal(`k${String(i).padStart(4, "0")}`) : put(`k${String(i).padStart(4, "0")}`, "new"),
              ),
              positionAt(1 + seen.length),
            );
          }
        }
        assert.equal(seen.length, 500);
        assert.ok(seen.every((value) => value === "old"));
        assert.equal(contents(store).length, 250);
      }));

    test("keeps a view as it was, through later applies and beside other views", () =>
      withStore(async (store) => {
        await store.apply([put("a", "1"), put("b", "1")], positionAt(1));
        const first = store.view();
        const twin = store.view();
        await store.apply([put("a", "2"), removal("b")], positionAt(2));
        const second = store.view();
        for (let i = 3; i < 20; i++) await store.apply([put("a", String(i)), put(`n${i}`, "x")], positionAt(i));
        assert.deepEqual(contents(first), ["a=1", "b=1"]);
        assert.equal(first.position?.sequence, 1);
        first.close();
        assert.deepEqual(contents(twin), ["a=1", "b=1"]);
        assert.deepEqual(contents(second), ["a=2"]);
        assert.equal(second.position?.sequence, 2);
        assert.equal(toText(store.get(encodeUtf8("a"))!), "19");
        twin.close();
        second.close();
        assert.throws(() => twin.get(encodeUtf8("a")), { name: "AssertionFailure" });
      }));

    test("throws when used after it was closed, and may be closed twice", () =>
      withEngine(async (engine) => {
        const store = await engine.open();
        const view = store.view();
        await store.apply([put("a", "1")], positionAt(1));
        await store.close();
        await store.close();
        assert.throws(() => store.get(encodeUtf8("a")), { name: "AssertionFailure" });
        assert.throws(() => contents(store), { name: "AssertionFailure" });
        assert.throws(() => view.get(encodeUtf8("a")), { name: "AssertionFailure" });
        await assert.rejects(store.apply([], positionAt(2)), { name: "AssertionFailure" });
        view.close();
      }));

    test("refuses keys and values out of bounds and a second apply under way, as bugs", () =>
      withStore(async (store) => {
        const bug = { name: "AssertionFailure" };
        const value = new Uint8Array(1);
        await assert.rejects(store.apply([{ key: new Uint8Array(0), value }], positionAt(1)), bug);
        await assert.rejects(store.apply([{ key: new Uint8Array(keyBytesMax + 1), value }], positionAt(1)), bug);
        const tooLarge = new Uint8Array(valueBytesMax + 1);
        await assert.rejects(store.apply([{ key: value, value: tooLarge }], positionAt(1)), bug);
        const first = store.apply([put("a", "1")], positionAt(1));
        await assert.rejects(store.apply([put("a", "2")], positionAt(2)), bug);
        await first;
        assert.deepEqual(contents(store), ["a=1"]);
      }));

    test("keeps everything through a close, and nothing through a destroy", () =>
      withEngine(async (engine) => {
        const store = await engine.open();
        await store.apply([put("a", "1")], positionAt(4));
        await store.close();
        const again = await engine.open();
        assert.deepEqual(contents(again), ["a=1"]);
        assert.deepEqual(again.position, positionAt(4));
        await again.close();
        await engine.destroy();
        await engine.destroy();
        const empty = await engine.open();
        assert.deepEqual(contents(empty), []);
        assert.equal(empty.position, null);
        await empty.close();
      }));

    test("waits with its close for an apply under way", () =>
      withEngine(async (engine) => {
        const store = await engine.open();
        const applied = store.apply([put("a", "1")], positionAt(1));
        await Promise.all([store.close(), applied]);
        const again = await engine.open();
        assert.deepEqual(contents(again), ["a=1"]);
        await again.close();
      }));

    test("agrees with a naive model under random programs", () =>
      withEngine(async (engine) => {
        const key = fc.uint8Array({ minLength: 1, maxLength: 3, max: 5 });
        const write = fc.record({ key, value: fc.option(fc.uint8Array({ maxLength: 40 })) });
        const program = fc.array(fc.array(write, { maxLength: 40 }), { minLength: 1, maxLength: 8 });
        await fc.assert(
          fc.asyncProperty(program, key, key, fc.boolean(), async (applies, from, to, reverse) => {
            await engine.destroy();
            let store = await engine.open();
            const model = new Map<string, string>();
            for (const [index, writes] of applies.entries()) {
              await store.apply(writes, positionAt(index + 1));
              for (const { key, value } of writes) {
                if (value === null) model.delete(toHex(key));
                else model.set(toHex(key), toHex(value));
              }
              if (index === 3) {
                await store.close();
                store = await engine.open();
              }
              const expected = [...model]
                .filter(([hex]) => hex >= toHex(from) && hex < toHex(to))
                .sort(([a], [b]) => (a < b ? -1 : 1));
              if (reverse) expected.reverse();
              const found = [...store.range({ from, to, reverse })].map((e) => [toHex(e.key), toHex(e.value)]);
              assert.deepEqual(found, expected);
              for (const { key } of writes) {
                const value = store.get(key);
                assert.equal(value === undefined ? undefined : toHex(value), model.get(toHex(key)));
              }
            }
            await store.close();
          }),
          { numRuns: 60 },
        );
      }));
  });
}
