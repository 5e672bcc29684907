import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "./random.ts";

describe("the seeded generator", () => {
  test("gives the numbers that it has always given, on every platform (D1)", () => {
    const random = new SeededRandom(1);
    assert.deepEqual(
      Array.from({ length: 6 }, () => random.uint32()),
      [1374663249, 456544795, 1708052976, 1993364080, 162752261, 75173767],
    );
    assert.deepEqual(
      Array.from({ length: 3 }, () => random.next()),
      [0.5647466272439916, 0.30344111147171593, 0.1915281005320696],
    );
    assert.equal(Buffer.from(random.bytes(7)).toString("hex"), "12c231a4767107");
    assert.equal(random.shuffle([..."abcdefgh"]).join(""), "hdbecagf");
    assert.equal(random.fork("disk").uint32(), 1316547434);
  });

  test("takes numbers and texts as seeds, and differs between seeds", () => {
    assert.equal(new SeededRandom(7).next(), new SeededRandom("7").next());
    assert.notEqual(new SeededRandom(7).next(), new SeededRandom(8).next());
  });

  test("forks streams that don't depend on how much their parent was used (D2)", () => {
    const used = new SeededRandom("seed");
    used.bytes(1000);
    assert.equal(used.fork("a").next(), new SeededRandom("seed").fork("a").next());
    assert.notEqual(used.fork("a").next(), used.fork("b").next());
    assert.notEqual(used.fork("a").fork("b").next(), used.fork("b").fork("a").next());
  });

  test("is uniform enough for each of its uses", () => {
    const random = new SeededRandom("uniform");
    const draws = 60_000;
    const counts = new Array<number>(6).fill(0);
    let sum = 0;
    let heads = 0;
    for (let i = 0; i < draws; i++) {
      counts[random.integer(6)]!++;
      const next = random.next();
      assert(next >= 0 && next < 1);
      sum += next;
      if (random.chance(0.3)) heads++;
    }
    // Five standard deviations either way: with fixed seeds this fails for a broken generator only.
    for (const count of counts) assert(Math.abs(count - draws / 6) < 5 * Math.sqrt((draws * 5) / 36));
    assert(Math.abs(sum / draws - 0.5) < 5 / Math.sqrt(12 * draws));
    assert(Math.abs(heads - 0.3 * draws) < 5 * Math.sqrt(draws * 0.21));
    const byteBits = new Array<number>(8).fill(0);
    for (const byte of random.bytes(draws)) for (let bit = 0; bit < 8; bit++) byteBits[bit]! += (byte >> bit) & 1;
    for (const ones of byteBits) assert(Math.abs(ones - draws / 2) < 5 * Math.sqrt(draws / 4));
  });

  test("keeps its bounds at their ends", () => {
    const random = new SeededRandom("bounds");
    assert.equal(random.integer(1), 0);
    assert.equal(random.between(5, 5), 5);
    assert.equal(random.chance(0), false);
    assert.equal(random.chance(1), true);
    assert.equal(random.bytes(0).length, 0);
    assert.equal(random.pick(["only"]), "only");
    assert(random.integer(2 ** 32) < 2 ** 32);
    for (const bound of [0, -1, 1.5, 2 ** 32 + 1, Number.NaN]) {
      assert.throws(() => random.integer(bound), { name: "AssertionFailure" });
    }
    assert.throws(() => random.pick([]), { name: "AssertionFailure" });
  });
});
