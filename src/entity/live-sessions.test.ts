/** Sessions in memory against a naive model: what is kept, what is forgotten, in how many rows, over loads at any moment. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import type { StoreReader } from "../store/store.ts";
import type { Entry, ResultKey } from "./batch.ts";
import { foldEntry, WriteSet } from "./fold.ts";
import { keys } from "./keys.ts";
import { LiveSession, LiveSessions } from "./live-sessions.ts";

type SessionResultKey = Extract<ResultKey, { readonly type: "session" }>;

interface Row {
  readonly number: number;
  readonly lowest: number;
  readonly outcome: Uint8Array;
}

describe("a session at a slot", () => {
  test("keeps every outcome that is not acknowledged, in rows that are used again, and loads as it was", () => {
    for (let seed = 0; seed < 300; seed++) {
      const random = new SeededRandom(seed);
      const openMax = random.between(1, 12);
      let session = new LiveSession();
      const rows = new Map<number, Row>();
      const kept = new Set<number>();
      const unanswered = new Set<number>();
      let next = 1;
      let told = 0;
      /** The most numbers that were ever between the lowest unanswered one and the last. */
      let spanMax = 0;
      let sequence = 0;
      for (let step = 0; step < 150; step++) {
        while (unanswered.size < openMax) unanswered.add(next++);
        // In any order, as concurrent requests do, and with the lowest number of some earlier moment.
        const number = random.pick([...unanswered]);
        const lowest = Math.min(...unanswered) - random.integer(3);
        unanswered.delete(number);
        // Some numbers go to other slots.
        if (random.chance(0.3)) continue;
        const known = Math.max(1, lowest, session.lowest);
        const place = session.nextPlace(known);
        const outcome = new Uint8Array([number & 0xff]);
        assert(number >= session.lowest, "it is not forgotten yet");
        session.absorb(
          { type: "session", slot: 1, session: "s", expiresMs: 9, number, lowest: known, place, isBirth: false },
          outcome,
          ++sequence,
        );
        rows.set(place, { number, lowest: known, outcome });
        kept.add(number);
        told = Math.max(told, known);
        spanMax = Math.max(spanMax, next - told);
        for (const old of kept) if (old < told) kept.delete(old);
        assert.equal(session.lowest, told, `seed ${seed}`);
        for (const each of kept) {
          const found = session.kept(each);
          assert.equal(rows.get(found?.place ?? -1)?.number, each, `seed ${seed}, number ${each}`);
        }
        assert(rows.size <= 2 * spanMax + 2, `seed ${seed}: ${rows.size} rows for ${spanMax}`);
        assert.deepEqual(
          [...rows.keys()].sort((a, b) => a - b),
          Array.from({ length: rows.size }, (_, i) => i),
        );
        if (random.chance(0.1)) {
          session = LiveSession.stored([...rows].map(([place_, row]) => ({ place: place_, row })));
          assert.equal(session.lowest, told);
        }
      }
    }
  });
});

describe("all sessions", () => {
  test("that are only asked for are forgotten again, beyond a bound, and loaded when they are asked for anew (D3)", () => {
    let loads = 0;
    // Every session has one outcome in this store.
    const store: Pick<StoreReader, "range"> = {
      *range({ from }) {
        loads++;
        const key = { type: "session", slot: 1, session: sessionIn(from), number: 1, lowest: 1, place: 0 } as const;
        const writes = new WriteSet();
        foldEntry(entryOf({ ...key, expiresMs: 9, isBirth: false }), 1, 0, writes);
        for (const write of writes) if (write.value !== null) yield { key: write.key, value: write.value };
      },
    };
    const sessions = new LiveSessions(store as StoreReader);
    const count = 20_000;
    const ask = () => {
      for (let index = 0; index < count; index++) {
        assert(sessions.get(1, String(index).padStart(16, "0")).kept(1) !== undefined);
      }
    };
    ask();
    assert.equal(loads, count);
    // What is written since stays, whatever is asked for: the store can't give it.
    const written = { type: "session", slot: 1, session: "w".repeat(16), number: 2, lowest: 1, place: 1 } as const;
    sessions.absorb({ ...written, expiresMs: 9, isBirth: false }, new Uint8Array(1), 7);
    loads = 0;
    ask();
    ask();
    assert(loads > count / 4, `${loads} loads: not all of them had been kept`);
    assert.equal(sessions.get(1, written.session).kept(2)?.sequence, 7);
  });

  test("asks the store once about one that is new to a slot (D4)", () => {
    let loads = 0;
    const store: Pick<StoreReader, "range"> = {
      range() {
        loads++;
        return [];
      },
    };
    const sessions = new LiveSessions(store as StoreReader);
    const id = "s".repeat(16);
    assert(sessions.get(1, id).isNew);
    assert(sessions.get(2, id).isNew);
    assert.equal(loads, 2);
    const key = { type: "session", slot: 1, session: id, number: 1, lowest: 1, place: 0, isBirth: true } as const;
    sessions.absorb({ ...key, expiresMs: 9 }, new Uint8Array(1), 7);
    assert(!sessions.get(1, id).isNew && sessions.get(2, id).isNew);
    assert.equal(loads, 2);
    sessions.remove(keys.session(1, id));
    assert(sessions.get(1, id).isNew && sessions.get(2, id).isNew);
    assert.equal(loads, 3, "what was removed is looked for anew");
  });
});

/** The session's id in the key of its first row: behind the table and the slot. */
function sessionIn(key: Uint8Array): string {
  return Buffer.from(key.subarray(3, 19)).toString("latin1");
}

function entryOf(key: SessionResultKey): Entry {
  return {
    origin: "call",
    command: "write",
    subject: "tester",
    effects: [],
    messages: [],
    consumed: null,
    deadLetter: null,
    expired: [],
    delivered: [],
    transaction: null,
    result: { key, outcome: new Uint8Array(1) },
  };
}
