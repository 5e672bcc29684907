import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { positionAt } from "../store/store.suite.ts";
import type { Entry } from "./batch.ts";
import { encodeBatch } from "./batch-encoder.ts";
import { entityName } from "./keys.ts";
import { Portion } from "./portion.ts";

/** A change of an entity's small state. */
function changeOf(id: string, previousSequence: number): Entry {
  const effect = {
    slot: 7,
    tenant: "default",
    kind: "note",
    id,
    name: entityName("default", "note", id),
    generation: 1,
    version: 2,
    isBirth: false,
    schemaVersion: 1,
    previousSequence,
    state: Uint8Array.of(1),
    items: [],
    timers: [],
  };
  return {
    origin: "call",
    command: "write",
    subject: "tester",
    effects: [effect],
    messages: [],
    consumed: null,
    deadLetter: null,
    result: null,
    expired: [],
    delivered: [],
    transaction: null,
  };
}

const batchChanges = 100;

/** Adds batches to `portion`, whose changes go round `entityCount` entities, until it is full or has taken `batchesMax`. */
function fill(portion: Portion, options: { firstSequence: number; entityCount: number; batchesMax: number }): number {
  const { firstSequence, entityCount, batchesMax } = options;
  const batchesPerRound = entityCount / batchChanges;
  let batches = 0;
  while (batches < batchesMax && !portion.isFull) {
    const sequence = firstSequence + batches++;
    const entries = Array.from({ length: batchChanges }, (_, i) =>
      changeOf(`${(sequence * batchChanges + i) % entityCount}`, Math.max(0, sequence - batchesPerRound)),
    );
    const payload = encodeBatch(entries);
    portion.add({ position: positionAt(sequence), timeMs: 0, entries, payload, sizeBytes: payload.length });
  }
  return batches;
}

describe("a portion of batches for the store", () => {
  test("goes on taking changes of what has changed soon before, and writes each once", () => {
    const portion = new Portion({ soonSequence: 900 });
    assert.equal(fill(portion, { firstSequence: 1000, entityCount: 1000, batchesMax: 200 }), 200);
    assert.equal(portion.writes.size, 1000);
    assert.equal(portion.batches.length, 200);
  });

  test("takes a few thousand writes at most, however often they come again", () => {
    const portion = new Portion({ soonSequence: 900 });
    const batches = fill(portion, { firstSequence: 1000, entityCount: 4000, batchesMax: 200 });
    assert.equal(batches, Math.ceil(2048 / batchChanges));
  });

  test("is full with fewer where hardly anything has changed soon before", () => {
    const portion = new Portion({ soonSequence: 900 });
    const batches = fill(portion, { firstSequence: 1000, entityCount: 100_000, batchesMax: 200 });
    assert.equal(batches, Math.ceil(512 / batchChanges));
  });

  test("occupies no more for changes of the same than their bytes", () => {
    const portion = new Portion({ soonSequence: 900 });
    fill(portion, { firstSequence: 1000, entityCount: 1000, batchesMax: 10 });
    const before = portion.memoryBytes;
    fill(portion, { firstSequence: 1010, entityCount: 1000, batchesMax: 10 });
    const payloadBytes = portion.batches.slice(10).reduce((sum, { payload }) => sum + payload.length, 0);
    assert.equal(portion.memoryBytes - before, 2 * payloadBytes);
  });
});
