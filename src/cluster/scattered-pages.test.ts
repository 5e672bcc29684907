import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { DeadLetterItem } from "../entity/service.ts";
import { decodeCursors, encodeCursors, mergedDeadLetters, mergedList } from "./scattered-pages.ts";

function letter(letterName: string, timeMs: number): DeadLetterItem {
  const where = { kind: "k", id: "i", command: "c", input: null, by: "message", subject: "s" } as const;
  return { letter: letterName, sequence: 1, timeMs, ...where, code: "x", detail: "", waits: false };
}

describe("pages of several shards", () => {
  test("of ids go no farther than the shortest of them is known", () => {
    const short = { shard: "s0", reply: { ids: ["a", "d"], cursor: "more" } };
    const whole = { shard: "s1", reply: { ids: ["b", "c", "e", "f"] } };
    const cursorOf = (id: string) => Buffer.from(id).toString("base64url");
    assert.deepEqual(mergedList([short, whole], 10), { ids: ["a", "b", "c", "d"], cursor: cursorOf("d") });
    assert.deepEqual(mergedList([short, whole], 3), { ids: ["a", "b", "c"], cursor: cursorOf("c") });
    assert.deepEqual(mergedList([whole, { shard: "s0", reply: { ids: [] } }], 4), { ids: whole.reply.ids });
    assert.deepEqual(mergedList([whole], 2), { ids: ["b", "c"], cursor: cursorOf("c") });
    // In the order of their UTF-8, which is not JavaScript's own.
    const [astral, high] = ["\u{1f600}", "\uffee"];
    assert.deepEqual(
      mergedList(
        [
          { shard: "s0", reply: { ids: [astral] } },
          { shard: "s1", reply: { ids: [high] } },
        ],
        9,
      ),
      {
        ids: [high, astral],
      },
    );
  });

  test("of dead letters name each by its shard, and go on behind what was shown", () => {
    const first = { shard: "s0", reply: { items: [letter("9.0", 90), letter("7.0", 70)], cursor: "7.0", removed: 1 } };
    const other = { shard: "s1", reply: { items: [letter("5.1", 80), letter("5.0", 10)], removed: 2 } };
    const { items, cursor, removed } = mergedDeadLetters([first, other], new Map(), 9);
    assert.deepEqual([items.map((item) => item.letter), removed], [["s0:9.0", "s1:5.1", "s0:7.0"], 3]);
    assert.deepEqual(
      [...decodeCursors(cursor!, "It", limits)],
      [
        ["s0", "7.0"],
        ["s1", "5.1"],
      ],
    );
  });

  test("have cursors that nobody can make up", () => {
    const cursors = new Map([["s0", "1"]]);
    assert.deepEqual(decodeCursors(encodeCursors(cursors), "It", limits), cursors);
    const tooMany = new Map(Array.from({ length: 257 }, (_, i) => [`s${i}`, "1"]));
    for (const text of ["", "5", "gA", "kcA", "kZEB", encodeCursors(tooMany)]) {
      assert.throws(
        () => decodeCursors(text, "It", limits),
        (error) => error instanceof OnefoldError && error.code === "malformed",
      );
    }
  });
});
