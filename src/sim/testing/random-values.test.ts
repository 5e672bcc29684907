import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { SeededRandom } from "../../base/random.ts";
import { schemaConverter } from "../../gateway/openapi-schema.ts";
import { RandomValues } from "./random-values.ts";

/** What users' schemas are made of. */
const schemas: Readonly<Record<string, z.ZodType>> = {
  "an object with optional parts": z.object({ a: z.string(), b: z.number().optional(), c: z.boolean().nullable() }),
  "a whole number in bounds": z.number().int().min(3).max(9),
  "a positive number": z.number().positive(),
  "a number below a bound": z.number().lt(-2),
  "a multiple": z.number().int().multipleOf(5).min(11),
  "text with a length": z.string().min(2).max(3),
  "long text": z.string().min(20),
  "an email": z.email(),
  "a uuid": z.uuid(),
  "a moment as text": z.iso.datetime(),
  "one of some": z.enum(["left", "right"]),
  "one literal": z.literal(7),
  "a union by its tag": z.discriminatedUnion("is", [
    z.object({ is: z.literal("circle"), radius: z.number().nonnegative() }),
    z.object({ is: z.literal("square"), side: z.number().int() }),
  ]),
  "a list": z
    .array(z.object({ id: z.string() }))
    .min(1)
    .max(2),
  "a tuple": z.tuple([z.string(), z.number()]),
  "a record": z.record(z.string(), z.number()),
  "two objects in one": z.object({ a: z.string() }).and(z.object({ b: z.number() })),
  "a moment": z.date(),
  bytes: z.instanceof(Uint8Array),
  "a big whole number": z.bigint(),
  "text by a simple pattern": z.string().regex(/^[a-z]+$/),
  "a tree": z.object({
    name: z.string(),
    get children() {
      return z.array(tree).max(3);
    },
  }),
};
const tree: z.ZodType = schemas["a tree"]!;

describe("values by their schema", () => {
  for (const [name, schema] of Object.entries(schemas)) {
    test(`are accepted by it: ${name}`, async () => {
      const converted = (await schemaConverter([schema])).convert(schema, "#");
      const random = new SeededRandom(name);
      for (let count = 0; count < 200; count++) {
        const value = new RandomValues(random, converted).next();
        const result = schema.safeParse(value);
        assert.ok(result.success, `${String(result.error)}, by ${JSON.stringify(converted)}`);
      }
    });
  }

  test("are the same for one seed, and meet each other across seeds", () => {
    const schema = { type: "object", properties: { id: { type: "string" } }, required: ["id"] };
    const first = (seed: number) => new RandomValues(new SeededRandom(seed), schema).next() as { readonly id: string };
    assert.deepEqual(first(1), first(1));
    const ids = new Set(Array.from({ length: 100 }, (_, seed) => first(seed).id));
    assert.ok(ids.size > 2 && ids.size < 30, `${ids.size} ids`);
  });
});
