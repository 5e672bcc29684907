import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { encodeUtf8 } from "../base/bytes.ts";
import { entityName } from "./keys.ts";
import {
  isInQuarantine,
  parseSuspects,
  type Suspects,
  suspectsBytes,
  withDeath,
  withDeaths,
  without,
} from "./suspects.ts";

const limits = { suspectDeathsMax: 3, suspectMs: 1000, suspectsMax: 4 };
const none: Suspects = new Map();

function note(id: string, atMs: number, what = "eat") {
  return { entity: entityName("default", "guest", id), what, elapsedMs: 200, grownBytes: 0, atMs };
}

function after(...notes: readonly ReturnType<typeof note>[]): Suspects {
  return notes.reduce((suspects, each) => withDeath(suspects, each, limits), none);
}

function deathsOf(suspects: Suspects): Record<string, number> {
  return Object.fromEntries([...suspects.values()].map(({ id, deaths }) => [id, deaths]));
}

describe("suspects", () => {
  test("gain a death with each note, and are in quarantine after the third", () => {
    const third = after(note("a", 1), note("b", 2), note("a", 3), note("a", 4, "drink"));
    assert.deepEqual(deathsOf(third), { a: 3, b: 1 });
    const [a, b] = ["a", "b"].map((id) => third.get(entityName("default", "guest", id))!);
    assert.deepEqual(a, { tenant: "default", kind: "guest", id: "a", what: "drink", deaths: 3, lastDeathMs: 4 });
    assert.ok(isInQuarantine(a!, limits));
    assert.ok(!isInQuarantine(b!, limits));
  });

  test("are not counted twice for one note, which a start that died in between reads again", () => {
    const once = after(note("a", 5));
    assert.equal(withDeath(once, note("a", 5), limits), once);
  });

  test("gain the deaths that another node tells of, once, however often it tells them", () => {
    const told = (atMs: number, deaths = 1) => ({
      ...{ tenant: "default", kind: "guest", id: "a", what: "eat", lastDeathMs: atMs },
      deaths,
    });
    const once = withDeaths(none, told(5), limits);
    assert.deepEqual(deathsOf(once), { a: 1 });
    assert.equal(withDeaths(once, told(5), limits), once);
    assert.equal(withDeaths(once, told(4), limits), once, "a death before the last one may have been told before");
    assert.deepEqual(deathsOf(withDeaths(once, told(6, 2), limits)), { a: 3 });
    assert.deepEqual(deathsOf(withDeaths(once, told(1006), limits)), { a: 1 });
    assert.equal(withDeaths(none, { ...told(1), id: "a\0b" }, limits), none);
  });

  test("begin anew where the last death is long ago, also where the clock has jumped back; those in quarantine don't", () => {
    assert.deepEqual(deathsOf(after(note("a", 0), note("a", 1000), note("a", 2001))), { a: 1 });
    assert.deepEqual(deathsOf(after(note("a", 5000), note("a", 4000))), { a: 2 });
    assert.deepEqual(deathsOf(after(note("a", 0), note("a", 1), note("a", 2), note("a", 1e9))), { a: 4 });
  });

  test("are as many as may be: those go whose last death is the oldest", () => {
    const many = after(...["a", "b", "c", "d", "a", "e"].map((id, i) => note(id, i)));
    assert.deepEqual(deathsOf(many), { a: 2, c: 1, d: 1, e: 1 });
  });

  test("are no entities of which a note can't be", () => {
    for (const entity of ["", "x", "a\0b\0c", "a\0b\0c\0d\0", "\0b\0c\0", "a\0\0c\0", "a\0b\0\0"]) {
      assert.equal(withDeath(none, { ...note("a", 1), entity }, limits), none, JSON.stringify(entity));
    }
  });

  test("survive their file, whatever their names are", () => {
    const part = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }).filter((text) => !text.includes("\0"));
    fc.assert(
      fc.property(part, fc.nat(), (id, atMs) => {
        const suspects = after(note(id, atMs), note("other", atMs));
        assert.deepEqual(parseSuspects(suspectsBytes(suspects), limits), suspects);
      }),
    );
    assert.deepEqual(parseSuspects(suspectsBytes(none), limits), none);
  });

  test("are unknown where the file is damaged or of a later version", () => {
    const bytes = suspectsBytes(after(note("a", 1)));
    assert.equal(parseSuspects(bytes.subarray(0, -20), limits), undefined);
    for (const text of [
      "",
      "[]",
      '{"version":2,"suspects":[]}',
      '{"version":1}',
      '{"version":1,"suspects":[{"id":"a"}]}',
    ]) {
      assert.equal(parseSuspects(encodeUtf8(text), limits), undefined, text);
    }
  });

  test("are let go by whoever lifts their quarantine", () => {
    const suspects = after(note("a", 1), note("b", 2));
    assert.deepEqual(deathsOf(without(suspects, ({ id }) => id === "a")), { b: 1 });
  });
});
