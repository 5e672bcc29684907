import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { limits } from "../base/limits.ts";
import type { Timers } from "../host/host.ts";
import type { LogPosition } from "../log/log.ts";
import { positionAt } from "../store/store.suite.ts";
import type { Store, Write } from "../store/store.ts";
import { Applier } from "./applier.ts";
import { encodeBatch } from "./batch-encoder.ts";
import type { DurableBatch } from "./committer.ts";
import { entityName } from "./keys.ts";

const MiB = 1024 ** 2;

/** A batch of entries that each write one entity's small state. */
function batchOf(sequence: number, entryCount: number): DurableBatch {
  const entries = Array.from({ length: entryCount }, (_, index) => {
    const id = `${sequence}-${index}`;
    const effect = {
      slot: index % 4096,
      tenant: "default",
      kind: "note",
      id,
      name: entityName("default", "note", id),
      generation: 1,
      version: 1,
      isBirth: true,
      schemaVersion: 1,
      previousSequence: 0,
      state: Uint8Array.of(1),
      items: [],
      timers: [],
    };
    return {
      origin: "call" as const,
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
  });
  const payload = encodeBatch(entries);
  return { position: positionAt(sequence), timeMs: 0, entries, payload, sizeBytes: payload.length };
}

/** An applier over a store whose applies end when they are told to, with timers that fire when they are told to. */
function applierUnderTest(unappliedBytesMax: number) {
  const applies: { sequence: number; end: () => void }[] = [];
  const timers: { callback: () => void; keepsAlive: boolean }[] = [];
  let paused = false;
  const store = {
    position: null,
    get: () => undefined,
    range: () => [],
    apply: (_writes: readonly Write[], { sequence }: LogPosition) =>
      new Promise<void>((end) => applies.push({ sequence, end })),
    view: () => assert.fail("nobody views it"),
    close: async () => undefined,
  } satisfies Store;
  const ports: Timers = {
    after: (_delayMs, callback, options) => {
      const timer = { callback, keepsAlive: options?.keepsAlive === true };
      timers.push(timer);
      return { cancel: () => timers.splice(0, timers.length, ...timers.filter((other) => other !== timer)) };
    },
    soon: (callback) => queueMicrotask(callback),
  };
  const applier = new Applier({
    store,
    timers: ports,
    limits: { ...limits, unappliedBytesMax },
    trace: () => undefined,
    pressure: { pause: () => (paused = true), resume: () => (paused = false) },
    owner: { applied: () => undefined, onStoreFailed: (cause) => assert.fail(String(cause)) },
  });
  /** Ends the apply under way, and lets what follows from it happen. */
  const endApply = async (): Promise<number> => {
    const apply = applies.shift();
    assert.ok(apply !== undefined, "an apply is under way");
    apply.end();
    await new Promise((resolve) => setImmediate(resolve));
    return apply.sequence;
  };
  const fireTimers = (): void => {
    for (const { callback } of timers.splice(0)) callback();
  };
  return { applier, applies, timers, endApply, fireTimers, isPaused: () => paused };
}

describe("the applier", () => {
  test("pauses the executor by what batches take in memory, not by their encoded bytes, and lets it go on soon (Y2)", async () => {
    const { applier, endApply, isPaused } = applierUnderTest(32 * MiB);
    let sequence = 0;
    let encodedBytes = 0;
    while (!isPaused()) {
      const batch = batchOf(++sequence, 2000);
      encodedBytes += batch.sizeBytes;
      applier.add(batch);
      assert.ok(sequence < 1000, "it pauses at all");
    }
    assert.ok(encodedBytes < 8 * MiB, `${encodedBytes} encoded bytes`);
    let portions = 0;
    while (isPaused()) {
      await endApply();
      portions++;
    }
    assert.ok(portions < sequence / 4, `it goes on after ${portions} of ${sequence} batches`);
  });

  test("goes on at once while much is left, without a timer in between", async () => {
    const { applier, applies, timers, endApply } = applierUnderTest(64 * MiB);
    for (let sequence = 1; sequence <= 16; sequence++) applier.add(batchOf(sequence, 1000));
    assert.equal(applies.length, 1);
    for (let sequence = 17; sequence <= 40; sequence++) applier.add(batchOf(sequence, 1000));
    // The first run takes the batches that were there when it began; the rest is more than it lets lie.
    let last = 0;
    while (applies.length > 0) last = await endApply();
    assert.ok(last > 16, `applied up to ${last}`);
    assert.ok(timers.length <= 1);
  });

  test("keeps the process alive by its timer while callers wait behind the pause, and only then", async () => {
    const { applier, timers, endApply, fireTimers, isPaused } = applierUnderTest(4096);
    applier.add(batchOf(1, 1));
    const keepAlive = () => timers.map(({ keepsAlive }) => keepsAlive);
    assert.deepEqual(keepAlive(), [false]);
    fireTimers();
    applier.add(batchOf(2, 1));
    assert.deepEqual(keepAlive(), [false]);
    applier.add(batchOf(3, 10));
    assert.equal(isPaused(), true);
    assert.equal(await endApply(), 1);
    assert.equal(isPaused(), true);
    assert.deepEqual(keepAlive(), [true]);
    fireTimers();
    assert.equal(await endApply(), 3);
    assert.equal(isPaused(), false);
  });

  test("applies nothing more once it is stopped, and says so to whoever waits for the rest", async () => {
    const { applier, applies, timers, endApply } = applierUnderTest(64 * MiB);
    for (let sequence = 1; sequence <= 40; sequence++) applier.add(batchOf(sequence, 2000));
    const flushed = assert.rejects(applier.flush(), { name: "OnefoldError", code: "stopped" });
    const stopped = applier.stop();
    while (applies.length > 0) await endApply();
    await stopped;
    await flushed;
    assert.ok(applier.pending.length > 0);
    assert.deepEqual([applies.length, timers.length], [0, 0]);
  });
});
