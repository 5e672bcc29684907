/** Sessions in memory against a naive model: what is kept, what is forgotten, in how many rows, over loads at any moment. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import type { StoreReader } from "../store/store.ts";
import { foldEntry, WriteSet } from "./fold.ts";
import { entry } from "./entry.fixture.ts";
import { binary, binaryOfBytes } from "./keys.ts";
import { LiveSession, LiveSessions } from "./live-sessions.ts";

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
