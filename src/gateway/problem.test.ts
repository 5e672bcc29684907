import assert from "node:assert/strict";
import { test } from "node:test";
import { errorTable, OnefoldError, Refused } from "../base/errors.ts";
import type { ErrorCode } from "../base/errors.ts";
import { problemOf } from "./problem.ts";

const outside = { showInside: false };

function documentOf(error: unknown, options = outside): Record<string, unknown> {
  return JSON.parse(problemOf(error, options).body) as Record<string, unknown>;
}

test("every code of the table has its status, title and retry class in its document", () => {
  for (const code of Object.keys(errorTable) as ErrorCode[]) {
    const { status, retry, title } = errorTable[code];
    const document = documentOf(new OnefoldError(code, "what happened"));
    assert.equal(problemOf(new OnefoldError(code, ""), outside).status, status);
    assert.deepEqual(
      [document.type, document.status, document.retry, document.title, document.code],
      [`urn:onefold:error:${code}`, status, retry, title, code],
    );
  }
});

test("an error's own retry class replaces the table's", () => {
  assert.equal(documentOf(new OnefoldError("deadline-passed", "", { retry: "safe" })).retry, "safe");
});

test("what a throw in user code said is shown to the developer on loopback only", () => {
  const error = new OnefoldError("command-failed", "secret", { details: { where: "secret" } });
  assert.doesNotMatch(problemOf(error, outside).body, /secret/);
  assert.equal(documentOf(error, { showInside: true }).detail, "secret");
  assert.equal(problemOf(error, outside).report, undefined, "the executor has traced it");
});

test("what is no error of ours is internal, never shown, and reported as it is", () => {
  for (const thrown of [new TypeError("secret"), "secret", undefined, null, { code: "conflict" }]) {
    const problem = problemOf(thrown, { showInside: true });
    assert.equal(problem.status, 500);
    assert.doesNotMatch(problem.body, /secret/);
    assert.ok("report" in problem);
    assert.equal(problem.report, thrown ?? problem.report);
  }
});

test("an error's facts stand beside its code, unless they would replace a member", () => {
  assert.equal(documentOf(new OnefoldError("payload-too-large", "", { details: { bodyBytesMax: 5 } })).bodyBytesMax, 5);
  const clash = documentOf(new OnefoldError("conflict", "", { details: { status: 200, code: "fine" } }));
  assert.deepEqual([clash.status, clash.code, clash.details], [409, "conflict", { status: 200, code: "fine" }]);
  assert.deepEqual(documentOf(new OnefoldError("conflict", "", { details: [1] })).details, [1]);
});

test("details that are no values are left out and reported, and the caller still gets the document", () => {
  const bad = { run: () => 1 };
  for (const error of [new OnefoldError("conflict", "lost", { details: bad }), new Refused("no", bad)]) {
    const problem = problemOf(error, outside);
    assert.notEqual(problem.report, undefined);
    assert.ok(["conflict", "no"].includes((JSON.parse(problem.body) as { code: string }).code));
  }
});

test("a hint when to retry is in whole seconds, rounded up, and present where repeating is allowed", () => {
  const seconds = (error: OnefoldError): number | undefined => problemOf(error, outside).retryAfterSeconds;
  assert.equal(seconds(new OnefoldError("overloaded", "", { retryAfterMs: 1001 })), 2);
  assert.equal(seconds(new OnefoldError("overloaded", "", { retryAfterMs: 0 })), 1);
  assert.equal(seconds(new OnefoldError("not-ready", "")), 1);
  assert.equal(seconds(new OnefoldError("quarantined", "")), undefined);
  assert.equal(seconds(new OnefoldError("conflict", "")), undefined);
});
