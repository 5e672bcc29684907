import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { arbitraryValue } from "../../base/value.fake.ts";
import { OnefoldError } from "../../base/errors.ts";
import type { Value } from "../../base/value.ts";
import { ok, unknown } from "./histories.fixture.ts";
import { decodeHistory, encodeHistory, type Operation } from "./history.ts";
import { HistoryRecorder } from "./history-recorder.ts";

describe("a history as text", () => {
  test("is one operation a line", () => {
    const history = [ok("a", [0, 1], { type: "read" }, 7n), unknown<Value, Value>("b", 2, null)];
    assert.equal(
      encodeHistory(history),
      [
        '{"process":"a","invoked":0,"completed":1,"input":{"type":"read"},"outcome":{"kind":"ok","output":{"$bigint":"7"}}}\n',
        '{"process":"b","invoked":2,"completed":null,"input":null,"outcome":{"kind":"unknown"}}\n',
      ].join(""),
    );
  });

  test("is read as it was written", () => {
    const operation = fc.record({
      process: fc.string({ unit: "grapheme" }),
      invoked: fc.nat(),
      input: arbitraryValue,
      output: arbitraryValue,
      kind: fc.constantFrom("ok", "fail", "unknown"),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 6 }), (drawn) => {
        const history = drawn.map(({ process, invoked, input, output, kind }): Operation<Value, Value> => {
          const times = { process, invoked, completed: invoked + 1, input };
          return { ...times, outcome: kind === "ok" ? { kind, output } : { kind: kind as "fail" } };
        });
        const text = encodeHistory(history);
        assert.equal(encodeHistory(decodeHistory(text)), text);
      }),
    );
  });

  test("that is wrong is refused with its line", () => {
    const good = encodeHistory([ok("a", [0, 1], 1, 2)]);
    for (const [line, reason] of [
      [good.slice(0, 20), /Line 2 of the history is no operation: it is not JSON/],
      ["[]", /not an object/],
      ['{"invoked":0}', /`process`/],
      ['{"process":"a","invoked":3,"completed":2}', /before/],
      ['{"process":"a","invoked":3,"completed":4}', /`input`/],
      [
        '{"process":"a","invoked":3,"completed":4,"input":1,"outcome":{"kind":"maybe"}}',
        /none of ok, fail and unknown/,
      ],
      ['{"process":"a","invoked":3,"completed":4,"input":1,"outcome":{"kind":"ok"}}', /`outcome.output`/],
      ['{"process":"a","invoked":3,"completed":null,"input":1,"outcome":{"kind":"ok","output":1}}', /never completed/],
    ] as const) {
      assert.throws(
        () => decodeHistory(`${good}${line}`),
        (error) => {
          assert.ok(error instanceof OnefoldError);
          assert.equal(error.code, "malformed");
          assert.match(error.message, reason);
          assert.deepEqual(error.details, { line: 2 });
          return true;
        },
      );
    }
  });
});

describe("a recorder", () => {
  test("numbers events in the order of the calls, and leaves open what was not completed", () => {
    const recorder = new HistoryRecorder<string, number>();
    const first = recorder.invoke("a", "one");
    recorder.invoke("b", "two");
    const early = recorder.history();
    first.complete({ kind: "ok", output: 1 });
    assert.equal(early[0]?.completed, null);
    assert.deepEqual(recorder.history(), [ok("a", [0, 2], "one", 1), unknown("b", 1, "two")]);
    assert.throws(() => first.complete({ kind: "fail" }), /HR2/);
  });
});
