import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { checkConvergence } from "./convergence.ts";

const replica = (name: string, entries: Readonly<Record<string, string>>) => ({
  name,
  entries: new Map(Object.entries(entries)),
});

describe("convergence", () => {
  test("replicas that hold the same in any order have converged", () => {
    assert.deepEqual(checkConvergence([]), []);
    assert.deepEqual(checkConvergence([replica("a", { x: "1", y: "2" }), replica("b", { y: "2", x: "1" })]), []);
  });

  test("a key that differs or is absent is told with who holds what", () => {
    const [a, b, c] = [replica("a", { x: "1", y: "2" }), replica("b", { x: "1" }), replica("c", { x: "1", y: "2" })];
    assert.deepEqual(checkConvergence([a, b, c]), [
      { anomaly: "diverged", explanation: "y is not the same everywhere:\n  a, c: 2\n  b: absent" },
    ]);
  });

  test("keys beyond the twentieth are counted", () => {
    const many = Object.fromEntries(Array.from({ length: 25 }, (_, index) => [`k${index}`, "1"]));
    const found = checkConvergence([replica("a", many), replica("b", {})]);
    assert.equal(found.length, 21);
    assert.equal(found.at(-1)?.explanation, "5 more keys differ.");
  });

  test("one changed entry is found wherever it is", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.string(), { minKeys: 1 }),
        fc.nat(),
        fc.integer({ min: 2, max: 5 }),
        (entries, at, count) => {
          const replicas = Array.from({ length: count }, (_, index) => replica(`r${index}`, entries));
          assert.deepEqual(checkConvergence(replicas), []);
          const keys = Object.keys(entries);
          const key = keys[at % keys.length]!;
          const changed = { name: "changed", entries: new Map(replicas[0]!.entries).set(key, `${entries[key]}!`) };
          assert.equal(checkConvergence([...replicas, changed]).length, 1);
        },
      ),
    );
  });
});
