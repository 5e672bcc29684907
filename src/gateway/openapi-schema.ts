/**
 * A user's schema (Standard Schema) as JSON Schema 2020-12 of what travels: tagged JSON, not JavaScript values.
 *
 * J1  What a library can't say about a schema is left open: the JSON Schema may accept more than the schema, and says so in a
 *     `$comment`; it never accepts less. (Checks that are code, and lengths in UTF-16 units, are such things.)
 * J2  A schema that can't be converted is no error: its JSON Schema accepts anything.
 */
import type { StandardJSONSchemaV1 } from "@standard-schema/spec";
import type { Schema } from "../entity/definition.ts";

export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

/** Makes JSON Schemas; see `schemaConverter`. */
export interface SchemaConverter {
  /** The JSON Schema of what may be sent for `schema`; `pointer` is where it will stand in the document, for recursion. */
  convert(schema: Schema, pointer: string): JsonSchema;
}

/** What tagged JSON makes of the values that JSON lacks, by the names under which the document holds them. */
export const taggedSchemas: Readonly<Record<"Bytes" | "Date" | "BigInt", JsonSchema>> = {
  Bytes: tagged("$bytes", "Bytes, as base64 with padding.", {
    contentEncoding: "base64",
    pattern: "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
  }),
  Date: tagged("$date", "A moment, as JavaScript's Date.toISOString writes it.", {
    pattern: "^(?:\\d{4}|[+-]\\d{6})-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$",
    examples: ["2026-01-31T12:00:00.000Z"],
  }),
  BigInt: tagged("$bigint", "A whole number of any size, in decimal digits.", {
    pattern: "^(?:0|-?[1-9][0-9]*)$",
    maxLength: 20_000,
  }),
};

function tagged(tag: string, description: string, content: JsonSchema): JsonSchema {
  return {
    description,
    type: "object",
    properties: { [tag]: { type: "string", ...content } },
    required: [tag],
    additionalProperties: false,
  };
}

export const schemasPointer = "#/components/schemas/";

/**
 * A converter for these schemas. Asks each schema itself (Standard JSON Schema); where one of zod's is too old to know, zod's
 * function, which is loaded for it. Reads definitions only, runs no user code but schemas' own.
 */
export async function schemaConverter(schemas: Iterable<Schema>): Promise<SchemaConverter> {
  let zodConvert: ZodConvert | undefined;
  for (const schema of schemas) {
    if (isOldZod(schema)) {
      // A type of its own: the library's knows only schemas of its own version.
      const zod = (await import("zod/v4/core")) as unknown as { readonly toJSONSchema: ZodConvert };
      zodConvert = zod.toJSONSchema;
      break;
    }
  }
  return {
    convert(schema, pointer) {
      try {
        return rebased(converted(schema, zodConvert), pointer);
      } catch (error) {
        return unknownSchema(error instanceof Error ? error.message : "the library gave no reason");
      }
    },
  };
}

/** Whether a caller may send nothing at all for it. A schema that throws or waits is asked in vain: then it must be sent. */
export function acceptsNothing(schema: Schema): boolean {
  try {
    const result = schema["~standard"].validate(undefined);
    if (!(result instanceof Promise)) return result.issues === undefined;
    // Refused at every call (`invalid-definition`); its outcome is nobody's business here.
    result.then(undefined, () => undefined);
    return false;
  } catch {
    // Told to whoever calls; a document has to come about all the same.
    return false;
  }
}

type ZodConvert = (schema: unknown, options: Readonly<Record<string, unknown>>) => JsonSchema;

/** The part of a zod schema that this looks at. `bag.Class` is what `z.instanceof` was given. */
interface ZodNode {
  readonly _zod: {
    readonly def: { readonly type: string; readonly coerce?: boolean };
    readonly bag?: { readonly Class?: unknown };
  };
}

const target = "draft-2020-12";

function isOldZod(schema: Schema): boolean {
  return schema["~standard"].vendor === "zod" && converterOf(schema) === undefined && "_zod" in schema;
}

function converterOf(schema: Schema): StandardJSONSchemaV1.Converter | undefined {
  return (schema["~standard"] as { readonly jsonSchema?: StandardJSONSchemaV1.Converter }).jsonSchema;
}

function converted(schema: Schema, zodConvert: ZodConvert | undefined): JsonSchema {
  const isZod = schema["~standard"].vendor === "zod";
  const zodOptions = { unrepresentable: "any", override: describeTagged };
  const converter = converterOf(schema);
  // Outputs, too, are what their schema takes in: nothing a schema would make of them reaches the wire.
  if (converter !== undefined) return converter.input({ target, ...(isZod ? { libraryOptions: zodOptions } : {}) });
  if (zodConvert !== undefined && isOldZod(schema)) return zodConvert(schema, { target, io: "input", ...zodOptions });
  return unknownSchema(`${schema["~standard"].vendor} offers no JSON Schema`);
}

function unknownSchema(reason: string): JsonSchema {
  return { $comment: `Not described: ${reason.slice(0, 200)}` };
}

/** Zod's hook: called for each node with the JSON Schema as it is so far, to be changed in place. */
function describeTagged(node: { readonly zodSchema: ZodNode; readonly jsonSchema: Record<string, unknown> }): void {
  const { def, bag } = node.zodSchema._zod;
  const name = taggedNameOf(def, bag?.Class);
  if (name !== undefined) node.jsonSchema.$ref = schemasPointer + name;
}

function taggedNameOf(def: ZodNode["_zod"]["def"], Class: unknown): keyof typeof taggedSchemas | undefined {
  // What is coerced may be sent as anything.
  if (def.coerce === true) return undefined;
  if (def.type === "date") return "Date";
  if (def.type === "bigint") return "BigInt";
  if (Class === Uint8Array) return "Bytes";
  return undefined;
}

/** References within the schema, from where it stood alone to where it stands in the document. */
function rebased(schema: JsonSchema, pointer: string): JsonSchema {
  const { $schema: _dialect, ...rest } = schema;
  return walk(rest, pointer) as JsonSchema;
}

function walk(part: unknown, pointer: string): unknown {
  if (Array.isArray(part)) return part.map((item) => walk(item, pointer));
  if (typeof part !== "object" || part === null) return part;
  return Object.fromEntries(
    Object.entries(part).map(([key, value]) => {
      const isReference =
        key === "$ref" && typeof value === "string" && (value === "#" || value.startsWith("#/$defs/"));
      return [key, isReference ? pointer + value.slice(1) : walk(value, pointer)];
    }),
  );
}
