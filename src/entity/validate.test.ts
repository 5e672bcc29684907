import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { z } from "zod";
import { OnefoldError } from "../base/errors.ts";
import { validate } from "./validate.ts";

function schemaOf(run: (value: unknown) => unknown): StandardSchemaV1 {
  return { "~standard": { version: 1, vendor: "test", validate: run as StandardSchemaV1["~standard"]["validate"] } };
}

describe("validating", () => {
  test("gives what the schema makes of the input", () => {
    assert.deepEqual(validate(z.object({ cents: z.number().default(1) }), {}), { cents: 1 });
    assert.equal(validate(z.string().trim(), " a "), "a");
  });

  test("reports the issues with their paths as invalid-input", () => {
    const schema = z.object({ list: z.array(z.object({ cents: z.number().positive() })), name: z.string() });
    assert.throws(
      () => validate(schema, { list: [{ cents: 1 }, { cents: -1 }] }, { what: "the input of deposit" }),
      (error) => {
        assert.ok(error instanceof OnefoldError);
        assert.equal(error.code, "invalid-input");
        assert.equal(error.retry, "never");
        assert.match(error.message, /^The input of deposit does not match its schema at list\.1\.cents: /);
        const { issues } = error.details as { issues: { path: unknown; message: string }[] };
        assert.deepEqual(
          issues.map((issue) => issue.path),
          [["list", 1, "cents"], ["name"]],
        );
        assert.ok(issues.every((issue) => issue.message.length > 0));
        return true;
      },
    );
  });

  test("understands paths of segments and symbols, and bounds the number of issues", () => {
    const issues = Array.from({ length: 1000 }, () => ({ message: "no", path: [{ key: "a" }, 0, Symbol("s")] }));
    assert.throws(
      () =>
        validate(
          schemaOf(() => ({ issues })),
          1,
          { code: "invalid-state" },
        ),
      (error) => {
        assert.ok(error instanceof OnefoldError && error.code === "invalid-state");
        const details = error.details as { issues: { path: unknown }[] };
        assert.equal(details.issues.length, 32);
        assert.deepEqual(details.issues[0]!.path, ["a", 0, "Symbol(s)"]);
        return true;
      },
    );
  });

  test("refuses a schema that answers later, and whose later answer nobody awaits", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on("unhandledRejection", note);
    try {
      for (const schema of [
        schemaOf(async () => ({ value: 1 })),
        schemaOf(() => Promise.reject(new Error("later"))),
        z.string().refine(async () => true),
        z.string().refine(() => {
          throw new Error("inside");
        }),
      ])
        assert.throws(() => validate(schema, "x"), { code: "invalid-definition" });
      // A turn of the event loop is when the runtime reports what was not handled.
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(unhandled, []);
    } finally {
      process.off("unhandledRejection", note);
    }
  });

  test("refuses a schema that throws, with the cause", () => {
    const cause = new Error("broken");
    const schema = schemaOf(() => {
      throw cause;
    });
    assert.throws(() => validate(schema, "x"), { code: "invalid-definition", cause });
  });
});
