/** The watcher's program in one thread, with a clock and timers of the test's own: what it writes for the watched thread to see. */
import assert from "node:assert/strict";
import type { Session } from "node:inspector";
import { describe, test } from "node:test";
import { MessageChannel } from "node:worker_threads";
import { watch } from "./watch-thread.ts";
import { phase, stopReasons, watchFields } from "./watched-thread.ts";

describe("the watcher", () => {
  test("marks a call as overdue for as long as that call is the last one: its number may come again (V1)", (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const fields = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT * watchFields.count));
    const { port1, port2 } = new MessageChannel();
    let nowMs = 0;
    let strikes = 0;
    const session = { post: () => strikes++, disconnect: () => undefined } as unknown as Session;
    watch({
      main: port1,
      openSession: () => session,
      rssBytes: () => 0,
      nowMs: () => nowMs,
      watched: { fields, subject: new Uint8Array() },
      places: watchFields,
      phase,
      reasons: stopReasons,
      notedGrowthBytes: Number.POSITIVE_INFINITY,
      writer: {
        isOpen: false,
        take: () => undefined,
        note: () => undefined,
        struck: () => undefined,
        look: () => undefined,
      },
      watchLoop: () => undefined,
    });
    const pass = (durationMs: number): void => {
      for (let passed = 0; passed < durationMs; passed++) {
        nowMs++;
        context.mock.timers.tick(1);
      }
    };
    const overdue = () => fields[watchFields.overdue];
    fields[watchFields.limitMs] = 5;
    port1.emit("message", null);
    fields[watchFields.word] = 7 * phase.count + phase.lent;
    pass(20);
    assert.equal(overdue(), 7, "it is struck as soon as it is back in user code");
    assert.equal(strikes, 0);
    fields[watchFields.word] = 8 * phase.count + phase.user;
    pass(2);
    assert.equal(overdue(), 0);
    pass(20);
    assert.equal(strikes, 1);
    assert.equal(fields[watchFields.word], 8 * phase.count + phase.struck);
    assert.equal(overdue(), 8);
    fields[watchFields.word] = 9 * phase.count + phase.own;
    pass(2);
    assert.equal(overdue(), 0);
    port1.close();
    port2.close();
  });
});
