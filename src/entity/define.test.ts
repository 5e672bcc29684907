import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { OnefoldError } from "../base/errors.ts";
import { entity } from "./define.ts";
import { type System, system, transaction } from "./define-system.ts";
import type { EntityHandle, Schema } from "./definition.ts";

const state = z.object({ count: z.number() });
const initial = (): { count: number } => ({ count: 0 });
const counter = entity("counter")
  .state(state, initial)
  .collection("items", z.object({ a: z.number() }))
  .command("add", z.object({ by: z.number() }), (state, { by }) => {
    state.count += by;
    return state.count;
  })
  .command("reset", (state) => {
    state.count = 0;
  })
  .query("count", (state) => state.count);

/** The builders as a JavaScript user sees them: nothing stands between a mistake and the check at run time. */
interface Untyped extends EntityHandle {
  (id: unknown): unknown;
  state(...all: unknown[]): Untyped;
  collection(...all: unknown[]): Untyped;
  command(...all: unknown[]): Untyped;
  query(...all: unknown[]): Untyped;
  affinity(...all: unknown[]): Untyped;
  region(...all: unknown[]): Untyped;
}
const untypedCounter = counter as unknown as Untyped;
const untypedEntity = entity as unknown as (name: unknown) => Untyped;
const untypedTransaction = transaction as unknown as (
  name: unknown,
  schema?: unknown,
) => { at(home: unknown): { run(run: unknown): unknown }; run(run: unknown): unknown };
const untypedSystem = system as unknown as (name: unknown, parts: unknown) => System;

function assertRefused(define: () => unknown, message: RegExp): void {
  assert.throws(define, (error) => {
    assert.ok(error instanceof OnefoldError, String(error));
    assert.equal(error.code, "invalid-definition");
    assert.match(error.message, message);
    return true;
  });
}

describe("an entity's definition", () => {
  test("holds what the builder was told, as plain data", () => {
    const { definition } = counter;
    assert.equal(definition.name, "counter");
    assert.equal(definition.schemaVersion, 1);
    assert.deepEqual(definition.initial(), { count: 0 });
    assert.deepEqual([...definition.commands.keys()], ["add", "reset"]);
    assert.deepEqual([...definition.queries.keys()], ["count"]);
    assert.deepEqual([...definition.collections.keys()], ["items"]);
    assert.equal(definition.commands.get("reset")!.input, undefined);
    const draft = { count: 1 };
    const run = definition.commands.get("add")!.run as (state: unknown, input: unknown, context: unknown) => unknown;
    assert.equal(run(draft, { by: 2 }, {}), 3);
    assert.equal(draft.count, 3);
    assert.equal(definition.affinity, undefined);
    assert.equal(definition.region, undefined);
    assert.equal(counter.region("eu").definition.region!.name, "eu");
  });

  test("is not changed by a builder that goes on from it", () => {
    const more = counter.command("more", () => 1).affinity((id) => id.slice(0, 1));
    assert.equal(counter.definition.commands.size, 2);
    assert.equal(counter.definition.affinity, undefined);
    assert.equal(more.definition.commands.size, 3);
    assert.equal(more.definition.affinity!("abc"), "a");
    assert.ok(Object.isFrozen(counter) && Object.isFrozen(counter.definition));
  });

  test("is called with an id to refer to one entity", () => {
    assert.deepEqual(counter("a"), { entity: counter, id: "a" });
    assert.throws(() => counter(".."), { code: "invalid-id" });
    assert.throws(() => untypedCounter(5), { code: "invalid-id" });
  });

  test("is refused for names that are malformed, reserved or taken", () => {
    for (const name of ["", "9lives", "a b", "a.b", "__proto__", "x".repeat(65), 5, undefined])
      assertRefused(() => untypedEntity(name), /^Entity .*a name is a letter followed by/);
    assertRefused(() => untypedEntity("constructor"), /Entity "constructor": JavaScript gives this name/);
    assertRefused(() => counter.command("then", () => 1), /Command "then" of counter: JavaScript gives this name/);
    assertRefused(() => counter.query("toString", () => 1), /Query "toString" of counter/);
    assertRefused(() => untypedCounter.command("add", () => 1), /Command "add" of counter: another command or query/);
    assertRefused(() => untypedCounter.query("add", () => 1), /Query "add" of counter: another command or query/);
    assertRefused(() => untypedCounter.command("count", () => 1), /Command "count" of counter: another/);
    assertRefused(() => untypedCounter.collection("items", state), /Collection "items" of counter is defined twice/);
    assertRefused(() => counter.affinity(String).affinity(String), /affinity of counter is defined twice/);
    assertRefused(() => counter.region("eu").region("us"), /region of counter is defined twice/);
    assertRefused(() => untypedCounter.region("EU"), /Region "EU" of counter: A region's name is a lower-case letter/);
  });

  test("is refused for schemas and functions that are none, or not synchronous", () => {
    assertRefused(
      () => untypedEntity("a").state({ count: "number" }, initial),
      /The state of a: the schema must follow/,
    );
    assertRefused(() => untypedEntity("a").state(undefined, initial), /the schema must follow/);
    assertRefused(() => untypedEntity("a").state(state, { count: 0 }), /its initial value: its function is missing/);
    assertRefused(() => untypedCounter.command("x", { by: 1 }, () => 1), /Command "x" of counter: the schema must/);
    assertRefused(() => untypedCounter.command("x", state), /Command "x" of counter: its function is missing/);
    assertRefused(() => untypedCounter.command("x"), /its function is missing/);
    assertRefused(() => untypedCounter.command("x", async () => 1), /must be an ordinary synchronous function/);
    function* later(): Generator<number> {
      yield 1;
    }
    assertRefused(() => untypedCounter.query("x", later), /must be an ordinary synchronous function/);
    assertRefused(() => untypedCounter.affinity("id"), /The affinity of counter: its function is missing/);
  });

  test("is refused unless there is one migration for each step between versions", () => {
    const migrate = (old: { count: number }): { count: number } => old;
    const versioned = entity("a").state(state, initial, { version: 2, migrations: [migrate] });
    assert.equal(versioned.definition.schemaVersion, 2);
    assert.equal(versioned.definition.migrations.length, 1);
    assertRefused(
      () => entity("a").state(state, initial, { version: 3, migrations: [migrate] }),
      /version 3 needs 2 migrations, one for each step from version 1, and has 1/,
    );
    assertRefused(() => entity("a").state(state, initial, { version: 0, migrations: [] }), /whole number from 1/);
    assertRefused(() => entity("a").state(state, initial, { version: 1.5, migrations: [] }), /whole number from 1/);
    assertRefused(
      () => untypedEntity("a").state(state, initial, { version: 2, migrations: [async () => ({})] }),
      /its migration from version 1 to 2: it must be an ordinary synchronous function/,
    );
  });
});

describe("a transaction's definition", () => {
  test("holds its input, its home and its body", () => {
    const input = z.object({ id: z.string() });
    const { definition } = transaction("bump", input)
      .at(({ id }) => counter(id))
      .run(async (tx, { id }) => tx(counter, id).add({ by: 1 }));
    assert.equal(definition.name, "bump");
    assert.equal(definition.input, input as Schema);
    assert.deepEqual(definition.at!({ id: "a" } as never), { entity: counter, id: "a" });
    const homeless = transaction("all").run(async () => 1);
    assert.equal(homeless.definition.at, undefined);
    assert.equal(homeless.definition.input, undefined);
  });

  test("is refused for a wrong name, schema, home or body", () => {
    assertRefused(() => transaction("valueOf"), /Transaction "valueOf": JavaScript/);
    assertRefused(() => untypedTransaction("a", { id: "string" }), /Transaction "a": the schema must/);
    assertRefused(() => untypedTransaction("a").at("home"), /Transaction "a", its home: its function is missing/);
    assertRefused(() => untypedTransaction("a").run(undefined), /Transaction "a": its function is missing/);
  });
});

describe("a system's definition", () => {
  const bump = transaction("bump").run(async () => 1);

  test("holds its entities and transactions by name", () => {
    const { definition, parts } = system("counters", { counter, bump });
    assert.equal(definition.name, "counters");
    assert.equal(definition.entities.get("counter"), counter.definition);
    assert.equal(definition.transactions.get("bump"), bump.definition);
    assert.equal(parts.counter, counter);
  });

  test("is refused when a key is not the part's name or holds no finished part", () => {
    assertRefused(
      () => untypedSystem("s", { counting: counter }),
      /"counting" of system s holds counter: the key must/,
    );
    assertRefused(() => untypedSystem("s", { bump: transaction("bump") }), /"bump" of system s is neither an entity/);
    assertRefused(() => untypedSystem("s", { a: entity("a") }), /is neither an entity with a state nor a transaction/);
    assertRefused(() => untypedSystem("s", { a: undefined }), /is neither/);
    assertRefused(() => untypedSystem("my system", {}), /System "my system": a name is/);
  });

  test("is refused for regions with the same slots, and for an affinity that kinds of two regions share", () => {
    const kind = (name: string): Untyped => untypedEntity(name).state(state, initial);
    const firstPart = (id: string): string => id.split("/")[0]!;
    assertRefused(
      () => untypedSystem("s", { a: kind("a").region("us"), b: kind("b").region("in") }),
      /The regions "us" and "in" would have the same slots: call one of them otherwise, such as "in-1"/,
    );
    const split = { a: kind("a").region("eu").affinity(firstPart), b: kind("b").affinity(firstPart) };
    assertRefused(
      () => untypedSystem("s", split),
      /a and b have the same affinity.*a is pinned to eu, b is not pinned/,
    );
    const together = { a: kind("a").region("eu").affinity(firstPart), b: kind("b").affinity(firstPart).region("eu") };
    assert.deepEqual([...untypedSystem("s", together).definition.entities.keys()], ["a", "b"]);
  });

  test("is refused when an initial state is no value, no object, or refused by its own schema", () => {
    const part = (schema: unknown, make: () => unknown): unknown => ({ a: untypedEntity("a").state(schema, make) });
    assertRefused(
      () =>
        untypedSystem(
          "s",
          part(z.object({ n: z.number().positive() }), () => ({ n: 0 })),
        ),
      /The initial state of a does not match its schema at n/,
    );
    assertRefused(
      () =>
        untypedSystem(
          "s",
          part(z.any(), () => ({ f: () => 1 })),
        ),
      /the initial state of a is not a value/,
    );
    assertRefused(
      () =>
        untypedSystem(
          "s",
          part(z.any(), () => []),
        ),
      /must be an object with named fields/,
    );
    assertRefused(
      () =>
        untypedSystem(
          "s",
          part(z.any(), () => {
            throw new Error("no database");
          }),
        ),
      /no database/,
    );
  });
});

describe("what a definition says of its calls", () => {
  const base = () => entity("counter").state(z.object({ count: z.number() }), () => ({ count: 0 }));

  test("is kept beside the function, with input and without", () => {
    const output = z.number();
    const details = z.object({ at: z.date() });
    const documentation = { description: "Adds.", output, refusals: { full: details, never: null } };
    const counter = base()
      .command("add", z.object({ by: z.number() }), (state, { by }) => (state.count += by), documentation)
      .command("bump", (state) => ++state.count, { output })
      .query("count", (state) => state.count, { description: "Counts." });
    const { commands, queries } = counter.definition;
    const expected = new Map<string, unknown>([
      ["full", details],
      ["never", "no details"],
    ]);
    assert.deepEqual(commands.get("add")!.documentation, { description: "Adds.", output, refusals: expected });
    assert.equal(commands.get("bump")!.input, undefined);
    assert.equal(commands.get("bump")!.documentation?.output, output);
    assert.equal(queries.get("count")!.documentation?.description, "Counts.");
    assert.equal(
      base()
        .command("add", () => 1)
        .definition.commands.get("add")!.documentation,
      undefined,
    );
    const all = transaction("all").run(async () => 1, { output });
    assert.equal(all.definition.documentation?.output, output);
  });

  test("takes a schema that is a function for the input, not for the command", () => {
    const callable = Object.assign(() => "never called", z.object({ by: z.number() }));
    Object.defineProperty(callable, "~standard", { value: z.object({ by: z.number() })["~standard"] });
    const schema = callable as unknown as z.ZodObject<{ by: z.ZodNumber }>;
    const { definition } = base().command("add", schema, (state, { by }) => (state.count += by));
    assert.equal(definition.commands.get("add")!.input, schema);
  });

  test("is refused where it is no documentation", () => {
    const wrong: readonly (readonly [unknown, RegExp])[] = [
      ["text", /Command "add" of counter: what comes after its function is documentation/],
      [z.number(), /what comes after its function is documentation/],
      [{ outputs: z.number() }, /documentation has no "outputs"/],
      [{ output: "number" }, /its output: the schema must follow Standard Schema/],
      [{ description: 1 }, /its description must be text/],
      [{ refusals: [1] }, /its refusal "0": the schema must follow Standard Schema/],
      [{ refusals: "full" }, /its refusals must be an object/],
    ];
    for (const [documentation, message] of wrong) {
      const untyped = base() as unknown as { command(...all: readonly unknown[]): unknown };
      assert.throws(() => untyped.command("add", () => 1, documentation), { code: "invalid-definition", message });
    }
  });
});
