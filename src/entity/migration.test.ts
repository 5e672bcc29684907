import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Value } from "../base/value.ts";
import { keepUnknownFields } from "./migration.ts";

type Old = { name: string };
type Extra = { name?: string; first?: string; future?: unknown };

describe("a migration", () => {
  test("keeps the fields that it knows nothing of", () => {
    const migrate = keepUnknownFields((old: Old) => ({ first: old.name }));
    const at = new Date(5);
    assert.deepStrictEqual(migrate({ name: "Ada", future: { deep: [1n, at] } }), {
      future: { deep: [1n, at] },
      first: "Ada",
    });
  });

  test("loses the fields that it read and did not give back", () => {
    const migrate = keepUnknownFields(({ name }: Old) => ({ first: name }));
    assert.deepStrictEqual(migrate({ name: "Ada" }), { first: "Ada" });
  });

  test("decides over all fields once it has listed them", () => {
    const rest = keepUnknownFields(({ name, ...rest }: Old) => ({ ...rest, first: name }));
    assert.deepStrictEqual(rest({ name: "Ada", future: 1 }), { future: 1, first: "Ada" });
    const picky = keepUnknownFields((old: Old) => ({ names: Object.keys(old) }));
    assert.deepStrictEqual(picky({ name: "Ada", future: 1 }), { names: ["name", "future"] });
  });

  test("may change its state in place and return it", () => {
    const migrate = keepUnknownFields((old: Extra) => {
      old.first = old.name ?? "";
      delete old.name;
      return old;
    });
    assert.deepStrictEqual(migrate({ name: "Ada", future: 1 }), { future: 1, first: "Ada" });
  });

  test("does not bring back what it deleted when it returns another object", () => {
    const migrate = keepUnknownFields((old: Extra) => {
      delete old.future;
      return { first: "x" };
    });
    assert.deepStrictEqual(migrate({ future: 1, other: 2 }), { other: 2, first: "x" });
  });

  test("wins over an unknown field of the same name", () => {
    const migrate = keepUnknownFields((_old: Old) => ({ future: "mine" }));
    assert.deepStrictEqual(migrate({ name: "Ada", future: "theirs" }), { name: "Ada", future: "mine" });
  });

  test("leaves the state that it was given as it was", () => {
    const given = { name: "Ada", list: [1] };
    const migrate = keepUnknownFields((old: { list: number[] }) => {
      old.list.push(2);
      return old;
    });
    const migrated = migrate(given);
    assert.deepStrictEqual(given, { name: "Ada", list: [1] });
    assert.deepStrictEqual(migrated, { name: "Ada", list: [1, 2] });
  });

  test("is refused where its result is no state", () => {
    const give = (result: unknown): ((old: Value) => Value) => keepUnknownFields(() => result as object);
    for (const result of [undefined, null, 5, [], Promise.resolve({}), new Date(0)])
      assert.throws(() => give(result)({ name: "Ada" }), { code: "invalid-definition" });
    assert.throws(() => give({ f: () => 1 })({ name: "Ada" }), { code: "invalid-value" });
  });
});
