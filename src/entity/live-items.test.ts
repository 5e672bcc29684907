import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compareUtf8 } from "../base/bytes.ts";
import { SeededRandom } from "../base/random.ts";
import { memoryStore } from "../store/engine/memory.ts";
import { realTimers } from "../store/snapshot.fixture.ts";
import type { Write } from "../store/store.ts";
import { binary, bytesOfBinary } from "./keys.ts";
import { LiveItems } from "./live-items.ts";

const prefix = "\x02\0\0items\0";
const bytesOf = (value: number) => Uint8Array.of(value & 0xff, value >> 8);
const keyText = fc.oneof(
  fc.integer({ min: 0, max: 60 }).map((n) => String(n).padStart(3, "0")),
  fc.constantFrom("\u{1F600}", "\uFFFD", "z\u{10000}", "é", " ", "000\u0001"),
);

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant("set" as const), key: keyText, value: fc.nat(60_000) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("delete" as const), key: keyText }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("get" as const), key: keyText }) },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant("range" as const),
      from: fc.option(keyText, { nil: undefined }),
      to: fc.option(keyText, { nil: undefined }),
      reverse: fc.boolean(),
      limit: fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant("apply" as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
);

test("a collection reads like a plain sorted map, however its changes are spread over memory and store", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 120 }), fc.integer({ min: 0, max: 80 }), async (steps, stored) => {
      const store = await memoryStore({ timers: realTimers, random: new SeededRandom(1) }).open();
      const model = new Map<string, number>();
      let sequence = 1;
      let unapplied: { sequence: number; write: Write }[] = [];
      const position = (at: number) => ({
        incarnation: new Uint8Array(16),
        epoch: 1,
        sequence: at,
        hash: new Uint8Array(32).fill(at & 0xff),
      });
      const write = (key: string, value: number | null): Write => ({
        key: bytesOfBinary(prefix + binary(key)),
        value: value === null ? null : bytesOf(value),
      });
      const first: Write[] = [];
      for (let n = 0; n < stored; n++) {
        const key = String(n).padStart(3, "0");
        model.set(key, n);
        first.push(write(key, n));
      }
      await store.apply(first, position(sequence));
      const items = new LiveItems(store, prefix, () => undefined);
      for (const action of steps) {
        switch (action.type) {
          case "set":
          case "delete": {
            const value = action.type === "set" ? action.value : null;
            sequence++;
            items.set({ key: action.key, value: value === null ? null : bytesOf(value), sequence });
            unapplied.push({ sequence, write: write(action.key, value) });
            if (value === null) model.delete(action.key);
            else model.set(action.key, value);
            break;
          }
          case "get": {
            const expected = model.get(action.key);
            const found = items.get(action.key);
            assert.deepEqual(found && [...found], expected === undefined ? undefined : [...bytesOf(expected)]);
            break;
          }
          case "range": {
            const { from, to, reverse, limit = Number.POSITIVE_INFINITY } = action;
            const expected = [...model]
              .filter(([key]) => from === undefined || compareUtf8(key, from) >= 0)
              .filter(([key]) => to === undefined || compareUtf8(key, to) < 0)
              .sort(([a], [b]) => compareUtf8(a, b) * (reverse ? -1 : 1))
              .slice(0, limit)
              .map(([key, value]) => [key, ...bytesOf(value)]);
            const found: unknown[] = [];
            for (const { key, value } of items.range({ from, to, reverse })) {
              if (found.length >= limit) break;
              found.push([key, ...value!]);
            }
            assert.deepEqual(found, expected);
            break;
          }
          case "apply": {
            const count = Math.round(action.share * unapplied.length);
            if (count === 0) break;
            const portion = unapplied.slice(0, count);
            unapplied = unapplied.slice(count);
            const through = portion.at(-1)!.sequence;
            await store.apply(
              portion.map((change) => change.write),
              position(through),
            );
            items.prune(through);
          }
        }
      }
      await store.close();
    }),
    { numRuns: 300 },
  );
});

test("taking the first item over and over does not walk over those that were taken before", async () => {
  const store = await memoryStore({ timers: realTimers, random: new SeededRandom(1) }).open();
  const keyOf = (n: number) => String(n).padStart(6, "0");
  const writes = Array.from({ length: 5000 }, (_, n) => ({
    key: bytesOfBinary(prefix + keyOf(n)),
    value: Uint8Array.of(1),
  }));
  await store.apply(writes, { incarnation: new Uint8Array(16), epoch: 1, sequence: 1, hash: new Uint8Array(32) });
  let read = 0;
  const counting = {
    position: store.position,
    get: (key: Uint8Array) => store.get(key),
    *range(options: Parameters<typeof store.range>[0]) {
      for (const entry of store.range(options)) {
        read++;
        yield entry;
      }
    },
  };
  const items = new LiveItems(counting, prefix, () => undefined);
  for (let n = 0; n < 4000; n++) {
    const [head] = items.range({ from: undefined, to: undefined, reverse: false });
    assert.equal(head!.key, keyOf(n));
    items.set({ key: head!.key, value: null, sequence: n + 2 });
  }
  assert.ok(read < 6000, `${read} items were read for 4,000 that were taken`);
  await store.close();
});
