import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";
import fc from "fast-check";
import { closest, isName, parseId, parseName, slotOf, slotOfAffinity, slotOfEntity } from "./ids.ts";
import { limits } from "./limits.ts";

describe("an id", () => {
  test("may be any text of 1 to 512 bytes of UTF-8", () => {
    for (const id of ["a", "a/b", "...", ".a", " ", "%2e", "💶", "ü", "\u0001", "x".repeat(512), "é".repeat(256)])
      assert.equal(parseId(id), id);
  });

  test("is refused when empty, too long, a path's dots, with NUL, half a surrogate pair, or no text", () => {
    for (const id of ["", ".", "..", "x".repeat(513), "é".repeat(257), "💶".repeat(129), "a\0", "\ud800", "a\udc00"])
      assert.throws(() => parseId(id), { code: "invalid-id" }, JSON.stringify(id));
    for (const id of [undefined, null, 5, {}, ["a"]]) assert.throws(() => parseId(id), { code: "invalid-id" });
  });
});

describe("a name", () => {
  test("is a letter followed by letters, digits, underscores and hyphens, 64 in all", () => {
    for (const name of ["a", "Z9", "order-book", "a_b", "x".repeat(64)]) assert.equal(parseName(name), name);
    for (const name of ["", "9a", "_a", "-a", "a.b", "a b", "ä", "a\n", "x".repeat(65), "__proto__", 5, undefined]) {
      assert.equal(isName(name), false);
      assert.throws(() => parseName(name, "tenant"), /The tenant must be/);
    }
  });
});

describe("a slot", () => {
  // These numbers are part of the format: a change of any of them would move entities.
  test("is the one that the format says, for ever", () => {
    assert.equal(slotOf("account", "alice", "default"), 2557);
    assert.equal(slotOf("account", "bob", "default"), 3124);
    assert.equal(slotOf("account", "💶/é", "acme"), 1966);
    assert.equal(slotOfAffinity("customer-7", "default"), 553);
  });

  test("is the first 12 bits of SHA-256 over the length-prefixed parts", () => {
    const naive = (parts: readonly string[]): number => {
      const hash = createHash("sha256");
      for (const part of parts) {
        const bytes = Buffer.from(part, "utf8");
        const length = Buffer.alloc(4);
        length.writeUInt32BE(bytes.length);
        hash.update(length).update(bytes);
      }
      return hash.digest().readUInt16BE(0) >> 4;
    };
    const id = fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(id, fc.constantFrom("account", "order"), fc.constantFrom("default", "acme"), (text, kind, tenant) => {
        assert.equal(slotOf(kind, text, tenant), naive([tenant, kind, text]));
        assert.equal(slotOfAffinity(text, tenant), naive([tenant, text]));
      }),
    );
  });

  test("is found for the longest parts", () => {
    const name = "n".repeat(limits.nameBytesMax);
    const slot = slotOf(name, "é".repeat(limits.idBytesMax / 2), name);
    assert.ok(slot >= 0 && slot < limits.slotCount);
  });

  test("spreads ids evenly", () => {
    const counts = new Uint32Array(16);
    for (let i = 0; i < 16_000; i++) counts[slotOf("account", `account-${i}`, "default") >> 8]!++;
    for (const count of counts) assert.ok(count > 800 && count < 1200, `${count} of about 1000`);
  });

  test("is shared by the entities of one affinity, of whatever kind, within a tenant", () => {
    const customer = (id: string): string => id.split("/")[0]!;
    const order = { name: "order", affinity: customer };
    const cart = { name: "cart", affinity: customer };
    assert.equal(slotOfEntity(order, "c7/1", "default"), slotOfEntity(cart, "c7/2", "default"));
    assert.notEqual(slotOfEntity(order, "c7/1", "default"), slotOfEntity(order, "c7/1", "acme"));
    assert.equal(slotOfEntity({ name: "order", affinity: undefined }, "x", "t"), slotOf("order", "x", "t"));
  });

  test("is refused for an affinity that is no text of 1 to 512 bytes", () => {
    for (const affinity of ["", 5, undefined, "x".repeat(513)])
      assert.throws(() => slotOfEntity({ name: "order", affinity: () => affinity as string }, "x", "t"), {
        code: "invalid-definition",
      });
  });
});

describe("the closest name", () => {
  test("is the one that was probably meant", () => {
    const names = ["deposit", "withdraw", "balance"];
    assert.equal(closest("depozit", names), "deposit");
    assert.equal(closest("Withdraw", names), "withdraw");
    assert.equal(closest("balnce", names), "balance");
    assert.equal(closest("transfer", names), undefined);
    assert.equal(closest("x".repeat(1_000_000), names), undefined);
    assert.equal(closest("a", []), undefined);
  });
});
