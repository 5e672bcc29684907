/** The real watchdog's notes of calls: which are noted, when, and that they go again. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { parseCallNote } from "../call-note.ts";
import { turn } from "../guard.suite.ts";
import type { CallSubject } from "../host.ts";
import { nodeGuard } from "./guard.ts";

const folder = mkdtempSync(join(tmpdir(), "onefold-notes-"));
const subject: CallSubject = { entity: "default\0guest\0ü\0", what: "eat" };

/** Everything about the notes in one file. */
function noting(name: string) {
  const guard = nodeGuard(folder);
  const path = join(folder, name);
  const well: CallSubject[] = [];
  const failures: string[] = [];
  const notes = guard.noteCalls(name, {
    endedWell: (each) => well.push(each),
    failed: (reason) => failures.push(reason),
  });
  const read = () => (statSync(path, { throwIfNoEntry: false }) === undefined ? undefined : readFileSync(path));
  const note = () => parseCallNote(read() ?? new Uint8Array());
  /** User code that goes on until it is noted. */
  const goOn = () => {
    const end = performance.now() + 5000;
    while (note() === undefined && performance.now() < end);
    return note();
  };
  const untilBlank = async () => {
    for (let look = 0; look < 500 && note() !== undefined; look++) await delay(5);
    assert.equal(note(), undefined);
  };
  return { guard, notes, well, failures, read, note, goOn, untilBlank };
}

after(() => rmSync(folder, { recursive: true }));

describe("the real watchdog's notes", () => {
  test("show a call that takes long while it is under way, and go with it", async () => {
    const { guard, notes, well, failures, goOn, untilBlank } = noting("long");
    for (let round = 0; round < 2; round++) {
      const began = performance.now();
      let seen: ReturnType<typeof goOn>;
      assert.equal(
        await turn(guard, () => {
          seen = guard.call(400, goOn, subject);
        }),
        "ran",
      );
      assert.deepEqual({ entity: seen?.entity, what: seen?.what }, subject);
      assert.ok(seen!.elapsedMs >= 200, `${seen!.elapsedMs}`);
      assert.ok(performance.now() - began >= 200);
      await untilBlank();
      for (let look = 0; look < 500 && well.length <= round; look++) await delay(5);
      assert.equal(well.length, round + 1);
    }
    assert.deepEqual([well, failures], [[subject, subject], []]);
    assert.equal(notes.end(), true);
  });

  test("show a call during which the process grows", async () => {
    const { guard, notes, goOn } = noting("growth");
    const eaten: Uint8Array[] = [];
    let seen: ReturnType<typeof goOn>;
    const eat = () => {
      for (let i = 0; i < 200; i++) eaten.push(new Uint8Array(1 << 20).fill(1));
      seen = goOn();
    };
    assert.equal(await turn(guard, () => guard.call(60_000, eat, subject)), "ran");
    assert.ok(seen!.grownBytes >= 128 * 1024 * 1024 && seen!.elapsedMs < 30_000, JSON.stringify(seen));
    notes.end();
  });

  test("keep a call that was struck until it is over, and don't say that it ended well", async () => {
    const { guard, notes, well, note, untilBlank } = noting("struck");
    let atEnd: ReturnType<typeof note>;
    const stuck = () => {
      guard.own(() => {
        // Not stopped in here, though its time is long over.
        const end = performance.now() + 150;
        while (performance.now() < end);
        atEnd = note();
      });
      for (;;);
    };
    assert.equal(await turn(guard, () => guard.call(20, stuck, subject)), "time");
    assert.equal(atEnd?.entity, subject.entity);
    await untilBlank();
    assert.equal(await turn(guard, () => guard.call(1000, () => undefined)), "ran");
    assert.deepEqual(well, []);
    notes.end();
  });

  test("are none of ordinary calls, of those without a subject or with too long a one, and of other hosts'", async () => {
    const { guard, notes, read, failures } = noting("none");
    const spend = () => {
      const end = performance.now() + 100;
      while (performance.now() < end);
    };
    const calls = [
      () => guard.call(60_000, spend, subject),
      () => guard.call(101, spend),
      () => guard.call(101, spend, { ...subject, entity: "x".repeat(2000) }),
      () => nodeGuard(folder).call(101, spend, subject),
    ];
    for (const call of calls) await turn(guard, call);
    assert.equal(read(), undefined);
    assert.deepEqual(failures, []);
    assert.equal(notes.end(), false);
    assert.equal(notes.end(), false);
  });

  test("that can't be written are reported, and the watchdog goes on", async () => {
    const { guard, notes, failures } = noting("no-such-folder/notes");
    const loop = () => {
      for (;;);
    };
    for (let round = 0; round < 2; round++) {
      assert.equal(await turn(guard, () => guard.call(20, loop, subject)), "time");
    }
    for (let look = 0; look < 500 && failures.length === 0; look++) await delay(5);
    assert.deepEqual(failures, ["ENOENT"]);
    notes.end();
  });
});
