import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { assertPrincipal, problemOfPrincipal } from "./principal.ts";
import type { Principal } from "./service.ts";
import { withNotebook } from "./notebook.fixture.ts";

const good: Principal = { tenant: "shop", subject: "ann", scopes: ["inspect"] };

const bad: readonly [what: string, principal: unknown][] = [
  ["nothing", undefined],
  ["text", "ann"],
  ["no tenant", { subject: "ann", scopes: [] }],
  ["an empty tenant", { ...good, tenant: "" }],
  ["a tenant that reaches into another one's keys", { ...good, tenant: "shop\0account" }],
  ["a tenant that is too long", { ...good, tenant: "t".repeat(65) }],
  ["a tenant that is not text", { ...good, tenant: ["shop"] }],
  ["a subject that is not text", { ...good, subject: 7 }],
  ["half a character as subject", { ...good, subject: "\ud800" }],
  ["a subject that is too long", { ...good, subject: "é".repeat(257) }],
  ["scopes that are no array", { ...good, scopes: "inspect" }],
  ["a scope that is not text", { ...good, scopes: ["inspect", null] }],
];

describe("a principal", () => {
  test("is good with any subject of up to 512 bytes, and without scopes", () => {
    for (const subject of ["", "ann", "é".repeat(256), "a b\0c"]) {
      assert.equal(problemOfPrincipal({ tenant: "T-1_x", subject, scopes: [] }), undefined);
    }
    assertPrincipal(good);
  });

  for (const [what, principal] of bad) {
    test(`is refused where it is ${what}, before any key is made of it`, () => {
      assert.throws(() => assertPrincipal(principal), { code: "malformed", retry: "never" });
      return withNotebook(async ({ rig }) => {
        const options = { principal: principal as Principal };
        const address = { kind: "note", id: "n" };
        const service = rig.shard;
        const calls = [
          () => service.command(address, "write", { line: "x" }, options),
          () => service.query(address, "lines", undefined, options),
          () => service.state(address, options),
          () => service.delete(address, options),
          () => service.list("note", options),
          () => service.history(address, options),
          () => service.transaction("script", undefined, options),
          async () => service.mintSession(options.principal),
        ];
        for (const call of calls) await assert.rejects(call(), { code: "malformed" }, String(call));
      });
    });
  }
});
