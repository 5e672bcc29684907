import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { callNoteText, parseCallNote } from "../call-note.ts";
import { noteWriter } from "./note-writer.ts";
import { phase, watchFields, type WatchReport } from "./watched-thread.ts";

/** A writer with one file of notes, and the thread that it watches in the test's hands. */
function rig() {
  const fields = new Int32Array(watchFields.count);
  const subject = new Uint8Array(100);
  const reports: WatchReport[] = [];
  const contents: string[] = [];
  const state = { refusal: undefined as unknown, closed: 0, onRead: (): undefined => undefined };
  const proxy = new Proxy(subject, {
    get(target, key) {
      if (key === "0") state.onRead();
      return Reflect.get(target, key);
    },
  });
  const writer = noteWriter({
    files: {
      open: () => 3,
      write: (_file, content) => {
        if (state.refusal !== undefined) throw state.refusal;
        contents.push(content);
      },
      close: () => {
        state.closed++;
      },
    },
    text: callNoteText,
    report: (report) => reports.push(report),
    wallMs: () => 1000,
    watched: { fields, subject: proxy },
    places: watchFields,
    phase,
  });
  writer.take({ type: "note", notes: 1, path: "notes" });
  const call = (number: number, entity: string) => {
    fields[watchFields.notes] = 1;
    subject.set(Buffer.from(`${entity}run`));
    fields[watchFields.entityLength] = entity.length;
    fields[watchFields.whatLength] = 3;
    fields[watchFields.word] = number * phase.count + phase.user;
  };
  const set = (number: number, name: keyof typeof phase) => {
    fields[watchFields.word] = number * phase.count + phase[name];
    writer.look(number, { isOver: name === "own" });
  };
  const note = (number: number) => writer.note({ number, elapsedMs: 130, grownBytes: 5 });
  const noted = () => contents.map((content) => parseCallNote(Buffer.from(content))?.entity);
  return { writer, state, reports, call, set, note, noted };
}

const wellEnded = (entity: string) => ({ type: "ended-well", notes: 1, entity, what: "run" }) as const;

describe("the writer of notes", () => {
  test("notes a call, and ends the note when the call has ended or another one has begun", () => {
    const { writer, reports, call, set, note, noted } = rig();
    call(7, "a");
    note(7);
    assert.ok(writer.isOpen);
    set(7, "lent");
    set(7, "user");
    assert.ok(writer.isOpen);
    set(7, "own");
    assert.ok(!writer.isOpen);
    call(8, "b");
    note(8);
    writer.look(9, { isOver: false });
    assert.deepEqual(noted(), ["a", undefined, "b", undefined]);
    assert.deepEqual(reports, [wellEnded("a"), wellEnded("b")]);
  });

  test("notes nothing where another call began while it read (J1)", () => {
    const { writer, state, call, note, noted } = rig();
    call(7, "a");
    state.onRead = () => {
      state.onRead = () => undefined;
      call(8, "b");
    };
    note(7);
    assert.deepEqual([noted(), writer.isOpen], [[], false]);
    note(8);
    assert.deepEqual(noted(), ["b"]);
  });

  test("keeps the note of a struck call until that is over, and does not say that it ended well (J2, J3)", () => {
    const { writer, reports, call, set, note, noted } = rig();
    call(7, "a");
    note(7);
    writer.struck();
    set(7, "struck");
    set(7, "struck");
    assert.deepEqual(noted(), ["a"]);
    set(7, "own");
    assert.deepEqual([noted(), reports], [["a", undefined], []]);
  });

  test("reports once what it can't write, and leaves it then (J5)", () => {
    const { writer, state, reports, call, note } = rig();
    state.refusal = Object.assign(new Error("no space"), { code: "ENOSPC" });
    for (const number of [7, 8]) {
      call(number, "a");
      note(number);
    }
    assert.deepEqual(reports, [{ type: "failed", notes: 1, reason: "ENOSPC" }]);
    assert.deepEqual([writer.isOpen, state.closed], [false, 1]);
  });

  test("blanks the note and closes the file when its owner ends, without a word", () => {
    const { writer, state, reports, call, note, noted } = rig();
    call(7, "a");
    note(7);
    writer.take({ type: "end-notes", notes: 1 });
    call(8, "a");
    note(8);
    assert.deepEqual([noted(), reports, state.closed, writer.isOpen], [["a", undefined], [], 1, false]);
  });
});
