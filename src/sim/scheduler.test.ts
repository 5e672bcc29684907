import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import { Scheduler } from "./scheduler.ts";

describe("the scheduler", () => {
  test("runs events by time, then in the order of the calls, and time stands at the last one", async () => {
    const scheduler = new Scheduler();
    const log: string[] = [];
    for (const [name, delayMs] of [
      ["c", 5],
      ["a", 1],
      ["d", 5],
      ["b", 1.5],
    ] as const) {
      scheduler.at(delayMs, () => log.push(`${name} ${scheduler.nowMs}`));
    }
    assert.equal(await scheduler.run(), "quiescent");
    assert.deepEqual(log, ["a 1", "b 1.5", "c 5", "d 5"]);
    assert.equal(scheduler.eventCount, 4);
  });

  test("orders thousands of random events as sorting does, cancelled ones left out", async () => {
    const random = new SeededRandom("heap");
    const scheduler = new Scheduler();
    const expected: { time: number; order: number }[] = [];
    const ran: { time: number; order: number }[] = [];
    for (let order = 0; order < 5000; order++) {
      const entry = { time: random.integer(200), order };
      const event = scheduler.at(entry.time, () => ran.push(entry));
      if (random.chance(0.3)) {
        event.cancel();
        event.cancel();
      } else expected.push(entry);
    }
    assert.equal(scheduler.pendingCount, expected.length);
    await scheduler.run();
    expected.sort((a, b) => a.time - b.time || a.order - b.order);
    assert.deepEqual(ran, expected);
    assert.equal(scheduler.pendingCount, 0);
  });

  test("lets everything that an event set in motion come to rest before the next one (V1)", async () => {
    const scheduler = new Scheduler();
    const log: string[] = [];
    const chain = async (name: string) => {
      for (let i = 0; i < 500; i++) await undefined;
      await new Promise<void>((resolve) => queueMicrotask(resolve));
      await Promise.all([1, 2, 3].map(async (each) => each));
      log.push(name);
    };
    scheduler.at(1, () => void chain("first"));
    scheduler.at(1, () => log.push("next"));
    void chain("before the run");
    await scheduler.run();
    assert.deepEqual(log, ["before the run", "first", "next"]);
  });

  test("stops before the first event that is later than asked, and goes on from there", async () => {
    const scheduler = new Scheduler();
    const log: number[] = [];
    for (const ms of [10, 20, 30]) scheduler.at(ms, () => log.push(ms));
    assert.equal(await scheduler.run({ untilMs: 20 }), "time");
    assert.deepEqual(log, [10, 20]);
    assert.equal(scheduler.nowMs, 20);
    scheduler.at(5, () => log.push(25));
    assert.equal(await scheduler.run({ untilMs: 100 }), "quiescent");
    assert.deepEqual(log, [10, 20, 25, 30]);
    assert.equal(scheduler.nowMs, 100);
  });

  test("completes a promise although other events go on for ever", async () => {
    const scheduler = new Scheduler();
    const again = () => void scheduler.at(10, again);
    again();
    const answer = await scheduler.complete(scheduler.sleep(95).then(() => "answer"));
    assert.equal(answer, "answer");
    assert(scheduler.nowMs >= 95 && scheduler.nowMs < 110);
    await assert.rejects(scheduler.complete(Promise.reject(new Error("refused"))), { message: "refused" });
  });

  test("says so where a promise can never settle", async () => {
    const scheduler = new Scheduler();
    await assert.rejects(scheduler.complete(new Promise(() => undefined)), /still pending.*quiescent/);
    scheduler.at(1000, () => undefined);
    await assert.rejects(scheduler.complete(new Promise(() => undefined), { untilMs: 50 }), /still pending.*time/);
  });

  test("ends with the error of an event, and can go on (V3)", async () => {
    const scheduler = new Scheduler();
    let ran = false;
    scheduler.at(1, () => {
      throw new Error("bug");
    });
    scheduler.at(2, () => {
      ran = true;
    });
    await assert.rejects(scheduler.run(), { message: "bug" });
    assert.equal(ran, false);
    await scheduler.run();
    assert.equal(ran, true);
  });

  test("ends a livelock (V4)", async () => {
    const scheduler = new Scheduler({ eventsMax: 100 });
    const again = () => void scheduler.at(0, again);
    again();
    await assert.rejects(scheduler.run(), /livelock: more than 100 events/);
  });

  test("refuses a second run while one is under way, and delays that are no delays", async () => {
    const scheduler = new Scheduler();
    const run = scheduler.run();
    assert.throws(() => scheduler.run(), { name: "AssertionFailure" });
    await run;
    for (const delayMs of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => scheduler.at(delayMs, () => undefined), { name: "AssertionFailure" });
    }
  });

  test("lets time pass inside an event, so that later ones run late", async () => {
    const scheduler = new Scheduler();
    const times: number[] = [];
    scheduler.at(1, () => scheduler.spend(50));
    scheduler.at(2, () => times.push(scheduler.nowMs));
    await scheduler.run();
    assert.deepEqual(times, [51]);
  });

  test("gives equal hashes to equal traces and different ones to others (V2)", async () => {
    const trace = async (notes: readonly string[], delayMs: number) => {
      const scheduler = new Scheduler({ notesKeptMax: 2 });
      for (const note of notes) scheduler.at(delayMs, () => scheduler.note(note));
      await scheduler.run();
      assert.deepEqual(
        scheduler.notes,
        notes.slice(-2).map((note) => `${delayMs.toFixed(3)} ${note}`),
      );
      return scheduler.traceHash;
    };
    const hashes = [
      await trace(["a", "b", "c"], 1),
      await trace(["a", "c", "b"], 1),
      await trace(["ab", "", "c"], 1),
      await trace(["a", "b", "c"], 1.5),
    ];
    assert.equal(new Set(hashes).size, hashes.length);
    assert.equal(await trace(["a", "b", "c"], 1), hashes[0]);
    for (const hash of hashes) assert.match(hash, /^[0-9a-f]{16}$/);
  });
});
