import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError, Refused } from "./errors.ts";

describe("errors of two copies of Onefold in one process", () => {
  test("are recognised by either copy", async () => {
    const path = `./errors.ts?copy=${process.pid}`;
    const copy = (await import(path)) as typeof import("./errors.ts");
    assert.notEqual(copy.Refused, Refused);
    assert.ok(new copy.Refused("no") instanceof Refused);
    assert.ok(new Refused("no") instanceof copy.Refused);
    assert.ok(new copy.OnefoldError("conflict", "m") instanceof OnefoldError);
  });

  test("are not mistaken for each other, for other errors, or for their subclasses", () => {
    class Special extends Refused {}
    assert.ok(new Special("no") instanceof Refused);
    assert.ok(new Special("no") instanceof Special);
    assert.ok(!(new Refused("no") instanceof Special));
    assert.ok(!((new Refused("no") as unknown) instanceof OnefoldError));
    for (const other of [new Error("no"), null, undefined, "no", {}]) {
      assert.ok(!((other as unknown) instanceof Refused));
      assert.ok(!((other as unknown) instanceof OnefoldError));
    }
  });
});
