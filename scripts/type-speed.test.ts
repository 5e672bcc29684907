import assert from "node:assert/strict";
import { test } from "node:test";
import { measureTypeCheck } from "./type-speed.ts";

test("a large system's types are all inferred, and a wrong use of them is found", async () => {
  const { exitCode, output } = await measureTypeCheck(40, 10);
  assert.equal(output, "");
  assert.equal(exitCode, 0);
});
