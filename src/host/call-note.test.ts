import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { encodeUtf8 } from "../base/bytes.ts";
import { callNoteBytes, callNoteText, callSubjectMax, parseCallNote } from "./call-note.ts";

const latin1 = (maxLength: number) =>
  fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength }).map((codes) => String.fromCharCode(...codes));

describe("a call's note", () => {
  test("is read as it was written, from a padded file, and always fits into it", () => {
    const notes = fc.record({
      entity: latin1(callSubjectMax.entity),
      what: fc.string({ unit: "grapheme-ascii", maxLength: callSubjectMax.what }),
      elapsedMs: fc.nat(),
      grownBytes: fc.integer(),
      atMs: fc.nat(),
    });
    fc.assert(
      fc.property(notes, (record) => {
        const note = { ...record };
        assert.deepEqual(parseCallNote(encodeUtf8(callNoteText(note))), note);
        assert.deepEqual(parseCallNote(encodeUtf8(`${callNoteText(note)}   `)), note);
        assert.ok(encodeUtf8(callNoteText(note)).length <= callNoteBytes);
      }),
    );
    const worst = { entity: "\0".repeat(callSubjectMax.entity), what: "\0".repeat(callSubjectMax.what) };
    const longest = callNoteText({ ...worst, elapsedMs: 1e9, grownBytes: 1e12, atMs: 1e13 });
    assert.ok(encodeUtf8(longest).length <= callNoteBytes);
  });

  test("is none where the file is empty or blank, or holds anything else", () => {
    for (const text of ["", " ".repeat(callNoteBytes), "{", "null", "7", "[]", "{}", '{"entity":"a"}']) {
      assert.equal(parseCallNote(encodeUtf8(text)), undefined, text.slice(0, 20));
    }
    const good = { entity: "e", what: "w", elapsedMs: 1, grownBytes: 2, atMs: 3 };
    assert.deepEqual(parseCallNote(encodeUtf8(JSON.stringify(good))), good);
    for (const bad of [{ entity: "" }, { entity: "Ā" }, { what: 7 }, { atMs: "3" }, { entity: "x".repeat(2000) }]) {
      assert.equal(parseCallNote(encodeUtf8(JSON.stringify({ ...good, ...bad }))), undefined, JSON.stringify(bad));
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 9000 }), (bytes) => parseCallNote(bytes) === undefined));
  });
});
