/** The committer by itself, over a log whose appends end when the test says so. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { limits } from "../base/limits.ts";
import type { AppendOutcome, Log, LogPosition } from "../log/log.ts";
import { incarnationBytes, noHash } from "../log/record.ts";
import { Committer } from "./committer.ts";
import type { Work } from "./work.ts";

/** Appends are under way until `settle`. */
class HeldLog {
  end: LogPosition = { incarnation: new Uint8Array(incarnationBytes), epoch: 1, sequence: 1, hash: noHash };
  readonly open: ((outcome: AppendOutcome) => void)[] = [];

  append(): Promise<AppendOutcome> {
    return new Promise((resolve) => this.open.push(resolve));
  }

  async settle(): Promise<void> {
    this.open.shift()!({ kind: "appended" });
    // What follows from it is told in a few turns of promises.
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
  }
}

function makeCommitter({ mayTellDurable }: { readonly mayTellDurable: boolean }) {
  const log = new HeldLog();
  const committer = new Committer({
    log: log as unknown as Log,
    clock: { monotonicMs: () => 0, wallMs: () => 0 },
    timers: { after: () => ({ cancel: () => undefined }), soon: () => undefined },
    limits,
    owner: { onDurable: () => undefined, onDropped: () => undefined, onStopped: () => undefined },
    lastTimeMs: 0,
    mayTellDurable: () => mayTellDurable,
  });
  const answered: string[] = [];
  const work = (name: string): Work => ({
    deadlineMs: Number.POSITIVE_INFINITY,
    sizeBytes: 0,
    isSettled: false,
    execute: () => undefined,
    release: () => answered.push(name),
    fail: (error) => answered.push(`${name} failed: ${error.code}`),
    stopped: () => undefined,
  });
  return { log, committer, answered, work };
}

describe("an answer", () => {
  test("of a log of one machine is given at once where what it saw is durable", () => {
    const { committer, answered, work } = makeCommitter({ mayTellDurable: true });
    committer.hold(work("read"), 1);
    assert.deepEqual(answered, ["read"]);
  });

  test("of a log of many machines waits for a batch whose append starts after it was asked for (M5)", async () => {
    const { log, committer, answered, work } = makeCommitter({ mayTellDurable: false });
    committer.hold(work("first"), 1);
    committer.kick();
    assert.equal(log.open.length, 1, "an empty batch, because somebody waits for it");
    committer.hold(work("second"), 1);
    await log.settle();
    assert.deepEqual(answered, ["first"], "what came while it was under way must not ride on it");
    assert.equal(log.open.length, 1, "the next one starts at once");
    await log.settle();
    assert.deepEqual(answered, ["first", "second"]);
    assert.equal(log.open.length, 0, "nobody waits, so nothing is appended");
  });
});

describe("a pause of the log (M6)", () => {
  test("begins no append, and goes on with all that has come meanwhile", async () => {
    const { log, committer, answered, work } = makeCommitter({ mayTellDurable: false });
    const end = await committer.pause();
    assert.equal(end.sequence, 1);
    committer.hold(work("read"), 1);
    committer.kick();
    assert.equal(log.open.length, 0, "the log rests");
    committer.resume();
    assert.equal(log.open.length, 1);
    await log.settle();
    assert.deepEqual(answered, ["read"]);
  });

  test("waits for the append under way, and begins no other behind it", async () => {
    const { log, committer, answered, work } = makeCommitter({ mayTellDurable: false });
    committer.hold(work("first"), 1);
    committer.kick();
    const pausing = committer.pause();
    committer.hold(work("second"), 1);
    await log.settle();
    assert.equal((await pausing).sequence, 2);
    assert.deepEqual([answered, log.open.length], [["first"], 0]);
    committer.resume();
    await log.settle();
    assert.deepEqual(answered, ["first", "second"]);
  });

  test("that is called off while it waits has not come to rest", async () => {
    const { committer, work } = makeCommitter({ mayTellDurable: false });
    committer.hold(work("first"), 1);
    committer.kick();
    const pausing = committer.pause();
    committer.resume();
    await assert.rejects(pausing, { code: "unavailable" });
  });

  test("is proven by a batch that begins after it, even an empty one, whatever may be told at once", async () => {
    const { log, committer, answered, work } = makeCommitter({ mayTellDurable: true });
    await committer.pause();
    committer.resume(work("proof"));
    assert.deepEqual([answered, log.open.length], [[], 1]);
    await log.settle();
    assert.deepEqual(answered, ["proof"]);
  });

  test("is not proven where another's record stands behind it", async () => {
    const { log, committer, answered, work } = makeCommitter({ mayTellDurable: true });
    await committer.pause();
    committer.resume(work("proof"));
    log.open.shift()!({ kind: "displaced" });
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
    assert.deepEqual(answered, ["proof failed: not-owner"]);
    await assert.rejects(committer.pause(), { code: "not-owner" });
  });
});
