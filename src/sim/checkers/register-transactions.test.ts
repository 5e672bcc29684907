import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { checkRegisterTransactions } from "./register-transactions.ts";
import type { RegisterTransaction } from "./transaction-steps.ts";
import {
  aborted,
  hasSerialOrder,
  registerHistory,
  registers,
  runRegisters,
  unanswered,
} from "./transactions.fixture.ts";

const during: readonly [number, number] = [0, 99];

function only(...history: readonly RegisterTransaction[]): string {
  const findings = checkRegisterTransactions(history);
  assert.equal(findings.length, 1, findings.map(({ explanation }) => explanation).join("\n"));
  return findings[0]!.explanation;
}

describe("transactions on registers", () => {
  test("nothing is found where there is an order", () => {
    assert.deepEqual(checkRegisterTransactions([]), []);
    assert.deepEqual(
      checkRegisterTransactions([
        registers("a", [0, 5], "w x 1", "w y 1"),
        registers("b", [1, 6], "r x 1", "w x 2", "r x 2"),
        registers("c", [2, 7], "r x", "r y"),
        registers("d", [8, 9], "r x 2", "r y 1"),
      ]),
      [],
    );
  });

  test("G1a, G1b, internal inconsistency and reads of nothing", () => {
    assert.match(
      only(aborted(registers("a", during, "w x 1")), registers("b", during, "r x 1")),
      /^G1a: T1 read 1 from x/,
    );
    assert.match(
      only(registers("a", during, "w x 1", "w x 2"), registers("b", during, "r x 1")),
      /^G1b: T1 read 1 from x, in the middle of T0\./,
    );
    assert.match(only(registers("a", during, "w x 1", "r x")), /^internal: T0 read null from x where it had left 1\./);
    assert.match(only(registers("a", during, "r x 1", "w x 1")), /^internal: T0 read 1 from x before it wrote it\./);
    assert.match(only(registers("a", during, "r x 7")), /^garbage-read/);
  });

  test("G1c: two transactions saw each other", () => {
    assert.match(only(registers("a", during, "w x 1", "r y 2"), registers("b", during, "w y 2", "r x 1")), /^G1c/);
  });

  test("G-single: a read between two writes of one transaction's", () => {
    assert.match(
      only(registers("a", during, "w x 1", "w y 1"), registers("b", during, "r x 1", "r y")),
      /^G-single:[\s\S]*T1 comes before T0 \(rw\): T1 read null from y, which T0 overwrote\./,
    );
  });

  test("G2: write skew", () => {
    assert.match(
      only(registers("a", during, "r x", "w y 1"), registers("b", during, "r y", "w x 1")),
      /^G2:[\s\S]*\(rw\)[\s\S]*\(rw\)/,
    );
  });

  test("lost update: two transactions read the same version and wrote", () => {
    const found = checkRegisterTransactions([
      registers("a", during, "r x", "w x 1"),
      registers("b", during, "r x", "w x 2"),
    ]);
    assert.equal(found[0]?.anomaly, "lost-update");
    assert.match(found[0].explanation, /T0 and T1 both read null from x and wrote it\./);
  });

  test("stale reads: of what was overwritten before the read was asked for", () => {
    assert.match(
      only(registers("a", [0, 1], "w x 1"), registers("b", [2, 3], "w x 2"), registers("c", [4, 5], "r x 1")),
      /^G-single-realtime:[\s\S]*T2 read 1 from x, which T1 overwrote/,
    );
    assert.match(only(registers("a", [0, 1], "w x 1"), registers("c", [4, 5], "r x")), /^G-single-realtime/);
  });

  test("a version of unknown outcome that was read is older than what was written after that read", () => {
    const history = [
      unanswered(registers("a", [0, 0], "w x 1")),
      registers("b", [1, 2], "r x 1"),
      registers("b", [3, 4], "w x 2"),
    ];
    assert.deepEqual(checkRegisterTransactions(history), []);
    assert.match(only(...history, registers("b", [5, 6], "r x 1")), /^G-single-realtime/);
  });

  test("what a right system did is never called wrong", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 8 }), (seed, clients) => {
        const history = registerHistory({ seed, clients, transactions: 150, keys: 4, stepsMax: 5 });
        assert.deepEqual(checkRegisterTransactions(history), []);
      }),
      { numRuns: 150 },
    );
  });

  test("on small histories nothing is called wrong that has an order, and most that have none are found", () => {
    let [right, wrong, found] = [0, 0, 0];
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const plan = { seed, clients: 3, transactions: 6, keys: 2, stepsMax: 3 };
        const history = registerHistory({ ...plan, staleProbability: 0.4, unknownProbability: 0.15 });
        const findings = checkRegisterTransactions(history);
        if (hasSerialOrder(history, runRegisters)) {
          assert.deepEqual(findings, [], JSON.stringify(history));
          right++;
        } else {
          wrong++;
          if (findings.length > 0) found++;
        }
      }),
      { numRuns: 600 },
    );
    assert.ok(right > 50 && wrong > 50, `${right} right and ${wrong} wrong histories are no comparison`);
    assert.ok(found > wrong * 0.8, `of ${wrong} wrong histories only ${found} were found`);
  });
});
