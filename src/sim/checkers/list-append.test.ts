import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { checkListAppend } from "./list-append.ts";
import type { ListTransaction } from "./transaction-steps.ts";
import { aborted, hasSerialOrder, list, listHistory, runLists, unanswered } from "./transactions.fixture.ts";

/** All overlap, unless a test is about time. */
const during: readonly [number, number] = [0, 99];

function anomalies(...history: readonly ListTransaction[]): readonly string[] {
  return checkListAppend(history).map(({ anomaly }) => anomaly);
}

/** The one finding that there must be. */
function only(...history: readonly ListTransaction[]): string {
  const findings = checkListAppend(history);
  assert.equal(findings.length, 1, findings.map(({ explanation }) => explanation).join("\n"));
  return findings[0]!.explanation;
}

describe("transactions on lists", () => {
  test("nothing is found where there is an order", () => {
    assert.deepEqual(anomalies(), []);
    assert.deepEqual(
      anomalies(
        list("a", [0, 5], "a x 1", "a y 1"),
        list("b", [1, 6], "r x 1", "a x 2", "r x 1,2"),
        list("c", [2, 7], "r y"),
        list("d", [8, 9], "r x 1,2", "r y 1"),
      ),
      [],
    );
  });

  test("G0: two transactions appended around each other", () => {
    assert.equal(
      only(
        list("a", during, "a x 1", "a y 1"),
        list("b", during, "a x 2", "a y 2"),
        list("c", during, "r x 1,2"),
        list("d", during, "r y 2,1"),
      ),
      [
        "G0: there is no order for these 2 transactions.",
        "  T0 a [0, 99]: append x 1, append y 1",
        "  T1 b [0, 99]: append x 2, append y 2",
        "  T0 comes before T1 (ww): in x, 1 of T0 stands right before 2 of T1.",
        "  T1 comes before T0 (ww): in y, 2 of T1 stands right before 1 of T0.",
      ].join("\n"),
    );
  });

  test("G1a: what an aborted transaction appended was read", () => {
    assert.equal(
      only(aborted(list("a", during, "a x 1")), list("b", during, "r x 1")),
      [
        "G1a: T1 read 1 from x, which T0 wrote, and T0 was aborted.",
        "  T1 b [0, 99]: read x -> [1]",
        "  T0 a [0, 99]: append x 1 (fail)",
      ].join("\n"),
    );
  });

  test("G1b: the middle of a transaction was read", () => {
    const found = checkListAppend([list("a", during, "a x 1", "a x 2"), list("b", during, "r x 1")]);
    assert.equal(found[0]?.anomaly, "G1b");
    assert.match(found[0].explanation, /T1 read x up to 1, in the middle of T0\./);
  });

  test("G1c: two transactions saw each other", () => {
    assert.match(
      only(list("a", during, "a x 1", "r y 2"), list("b", during, "a y 2", "r x 1")),
      /^G1c:[\s\S]*T0 comes before T1 \(wr\): T1 read x up to 1, which T0 appended\.[\s\S]*T1 comes before T0 \(wr\)/,
    );
  });

  test("G-single: one half of a transaction was read, and the other not", () => {
    assert.match(
      only(list("a", during, "a x 1", "a y 1"), list("b", during, "r x 1", "r y"), list("c", during, "r y 1")),
      /^G-single:[\s\S]*T1 comes before T0 \(rw\): T1 read y without 1, which T0 appended\./,
    );
  });

  test("G2: write skew", () => {
    assert.match(
      only(list("a", during, "r x", "a y 1"), list("b", during, "r y", "a x 1"), list("c", during, "r x 1", "r y 1")),
      /^G2:[\s\S]*\(rw\)[\s\S]*\(rw\)/,
    );
  });

  test("lost update: two transactions read the same and appended", () => {
    const history = [
      list("a", during, "r x", "a x 1"),
      list("b", during, "r x", "a x 2"),
      list("c", during, "r x 1,2"),
    ];
    const found = checkListAppend(history);
    assert.deepEqual(
      found.map(({ anomaly }) => anomaly),
      ["lost-update", "G-single"],
    );
    assert.match(found[0]!.explanation, /T0 and T1 both read \[\] from x and appended to it\./);
  });

  test("duplicate elements, incompatible orders, internal inconsistency and reads of nothing", () => {
    assert.match(
      only(list("a", during, "a x 1"), list("b", during, "r x 1,1")),
      /^duplicate-elements: T1 read 1 twice/,
    );
    assert.match(
      only(
        list("a", during, "a x 1"),
        list("a", during, "a x 2"),
        list("b", during, "r x 1"),
        list("c", during, "r x 2"),
      ),
      /^incompatible-order: T2 read \[1\] from x, and T3 \[2\]; neither list grew from the other\./,
    );
    assert.match(
      only(list("a", during, "a x 1", "r x")),
      /^internal: T0 read \[\] from x where it had left a list that ends with \[1\]\./,
    );
    assert.match(only(list("a", during, "r x", "r x 1"), list("b", during, "a x 1")), /^internal: .* had left \[\]/);
    assert.match(only(list("a", during, "r x 1", "a x 1")), /^internal: T0 read 1 from x before it appended it\./);
    assert.match(only(list("a", during, "r x 7")), /^garbage-read: T0 read 7 from x, which nobody wrote\./);
  });

  test("G-single-realtime: an acknowledged append is not in a list that was read later", () => {
    const history = [list("a", [0, 1], "a x 1"), list("b", [2, 3], "r x")];
    assert.match(
      only(...history),
      /^G-single-realtime:[\s\S]*T0 comes before T1 \(time\): T0 was answered at 1, before T1 was asked for at 2\./,
    );
    assert.deepEqual(anomalies(history[0]!, list("b", [1, 3], "r x")), []);
  });

  test("G0-realtime and G1c-realtime: order against time", () => {
    const appends = [list("a", [0, 1], "a x 1"), list("b", [2, 3], "a x 2")];
    assert.match(only(...appends, list("c", [0, 9], "r x 2,1")), /^G0-realtime/);
    assert.match(only(list("a", [0, 1], "r x 1"), list("b", [2, 3], "a x 1")), /^G1c-realtime/);
  });

  test("G2-realtime: skew between two transactions of which one was over before the other began", () => {
    const [first, second] = [list("a", [0, 1], "a x 1"), list("b", [2, 3], "r y")];
    assert.match(only(first, second, list("c", [0, 9], "r x", "a y 1")), /^G2-realtime:[\s\S]*\(time\)/);
    assert.deepEqual(anomalies(first, list("b", [1, 3], "r y"), list("c", [0, 9], "r x", "a y 1")), []);
  });

  test("a transaction of unknown outcome counts if it was read, and may never have been if it was not", () => {
    const half = unanswered(list("a", [0, 0], "a x 1", "a y 1"));
    assert.deepEqual(anomalies(half, list("b", [5, 6], "r x"), list("b", [7, 8], "r y")), []);
    assert.deepEqual(anomalies(half, list("b", [5, 6], "r x 1"), list("b", [7, 8], "r y 1")), []);
    assert.match(only(half, list("b", [5, 6], "r x 1"), list("b", [7, 8], "r y")), /^G-single-realtime/);
  });

  test("values that are appended twice are the history's fault, and thrown", () => {
    assert.throws(() => checkListAppend([list("a", during, "a x 1", "a x 1")]), /TS1: 1 is written twice to x/);
  });

  test("what a right system did is never called wrong", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 8 }), (seed, clients) => {
        const history = listHistory({ seed, clients, transactions: 150, keys: 4, stepsMax: 5 });
        assert.deepEqual(checkListAppend(history), []);
      }),
      { numRuns: 150 },
    );
  });

  test("on small histories that are read to the end the answer is that of trying every order", () => {
    let [right, wrong] = [0, 0];
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const plan = { seed, clients: 3, transactions: 5, keys: 2, stepsMax: 3 };
        const made = listHistory({ ...plan, staleProbability: 0.4, unknownProbability: 0.15 });
        const lists = new Map<string, string>([...finalLists(made)]);
        const last = list("end", [1000, 1001], ...["k0", "k1"].map((key) => `r ${key} ${lists.get(key) ?? ""}`));
        const history = [...made, last];
        const expected = hasSerialOrder(history, runLists);
        const found = checkListAppend(history);
        assert.equal(found.length === 0, expected, JSON.stringify({ history, found }));
        if (expected) right++;
        else wrong++;
      }),
      { numRuns: 600 },
    );
    assert.ok(right > 50 && wrong > 50, `${right} right and ${wrong} wrong histories are no comparison`);
  });
});

/** A last read for the history: the longest that was read, and behind it what else was acknowledged. */
function* finalLists(history: readonly ListTransaction[]): Iterable<readonly [string, string]> {
  for (const key of ["k0", "k1"]) {
    let longest: readonly unknown[] = [];
    const acknowledged: unknown[] = [];
    for (const { input, outcome } of history) {
      if (outcome.kind !== "ok") continue;
      for (const [at, step] of input.entries()) {
        if (step.key !== key) continue;
        if (step.type === "append") acknowledged.push(step.value);
        else if (outcome.output[at]!.length > longest.length) longest = outcome.output[at]!;
      }
    }
    yield [key, [...longest, ...acknowledged.filter((value) => !longest.includes(value))].join(",")];
  }
}
