/** Values by JSON Schema, for fast-check: mostly valid ones, and ones that were valid before something was done to them. */
import fc from "fast-check";

export type JsonSchema = Readonly<Record<string, unknown>>;
export type Resolve = (reference: string) => JsonSchema;

/** Deeper than this, optional parts and items are left out, so that recursive schemas end. */
const depthMax = 4;

/** Text that is likely to find something: other scripts, other lengths in bytes than in characters, tags, paths. */
const oddText = fc.constantFrom(
  "",
  " ",
  "0",
  "null",
  "é",
  "日本語",
  "😀",
  "\u0000",
  "\u202e",
  "a/b",
  "%2f",
  "..",
  "$date",
  '"',
);
/** Ids that there are, because the fuzzer uses them in paths: text that is an id hits one now and then. */
export const usualIds: readonly string[] = ["alice", "bob", "inbox"];
const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 12 }) },
  { weight: 3, arbitrary: fc.constantFrom(...usualIds) },
  { weight: 1, arbitrary: oddText },
);

const plainKey = fc.string({ maxLength: 8 }).filter((key) => !key.startsWith("$") && key !== "__proto__");

/** Any JSON; keys that tagged JSON gives a meaning are left to `mutated`. */
export const anyJson: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  json: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(null, true, false, 0, -0, 1, -1, 1.5, 2 ** 31, Number.MAX_SAFE_INTEGER, 1e21, 5e-324),
    fc.integer(),
    text,
    fc.array(tie("json"), { maxLength: 4 }),
    fc.dictionary(plainKey, tie("json"), { maxKeys: 4 }),
  ),
})).json as fc.Arbitrary<unknown>;

/** Values that `schema` accepts, as far as this can tell: keywords that it does not know are not looked at. */
export function valuesOf(schema: JsonSchema, resolve: Resolve, depth = 0): fc.Arbitrary<unknown> {
  const { $ref, type } = schema;
  const anyOf = schema.anyOf ?? schema.oneOf;
  if (typeof $ref === "string") return valuesOf(resolve($ref), resolve, depth + 1);
  if ("const" in schema) return fc.constant(schema.const);
  if (Array.isArray(schema.enum)) return fc.constantFrom(...(schema.enum as unknown[]));
  if (Array.isArray(anyOf))
    return fc.oneof(...(anyOf as JsonSchema[]).map((each) => valuesOf(each, resolve, depth + 1)));
  if (Array.isArray(type)) return fc.oneof(...type.map((each) => valuesOf({ ...schema, type: each }, resolve, depth)));
  switch (type) {
    case "null":
      return fc.constant(null);
    case "boolean":
      return fc.boolean();
    case "integer":
    case "number":
      return numbersOf(schema);
    case "string":
      return stringsOf(schema);
    case "array":
      return arraysOf(schema, resolve, depth);
    case "object":
      return objectsOf(schema, resolve, depth);
    default:
      return anyJson;
  }
}

function numbersOf(schema: JsonSchema): fc.Arbitrary<number> {
  const bound = (name: string, exclusive: string, step: number, absent: number): number => {
    const value = schema[name];
    const beyond = schema[exclusive];
    if (typeof beyond === "number") return beyond + step;
    return typeof value === "number" ? value : absent;
  };
  const min = bound("minimum", "exclusiveMinimum", 1, -1_000_000);
  const max = bound("maximum", "exclusiveMaximum", -1, 1_000_000_000);
  const small = { min, max: Math.max(min, Math.min(max, min + 1000)) };
  const smallest = { min, max: Math.max(min, Math.min(max, min + 5)) };
  // Small ones often: what takes from what another one gave can only take as much.
  const whole = fc.oneof(
    { weight: 2, arbitrary: fc.integer(smallest) },
    { weight: 2, arbitrary: fc.integer(small) },
    { weight: 1, arbitrary: fc.maxSafeInteger() },
  );
  const inside = whole.map((value) => Math.min(max, Math.max(min, value)));
  if (schema.type === "integer") return inside;
  return fc.oneof(inside, fc.double({ min, max, noNaN: true, noDefaultInfinity: true }));
}

function stringsOf(schema: JsonSchema): fc.Arbitrary<string> {
  const {
    minLength = 0,
    maxLength = 24,
    pattern,
  } = schema as { minLength?: number; maxLength?: number; pattern?: string };
  const bounds = { minLength, maxLength: Math.max(minLength, Math.min(maxLength, 24)) };
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern), { size: "small" });
  // Libraries differ in how they count characters outside the first plane (see `openapi-schema.ts`), so bounded ones have none.
  const isBounded = minLength > 0 || maxLength < 1000;
  const fitting = usualIds.filter((id) => id.length >= minLength && id.length <= maxLength);
  if (isBounded)
    return fitting.length === 0 ? fc.string(bounds) : fc.oneof(fc.string(bounds), fc.constantFrom(...fitting));
  return text;
}

function arraysOf(schema: JsonSchema, resolve: Resolve, depth: number): fc.Arbitrary<unknown> {
  const {
    prefixItems,
    items,
    minItems = 0,
    maxItems = 4,
  } = schema as {
    prefixItems?: JsonSchema[];
    items?: JsonSchema | false;
    minItems?: number;
    maxItems?: number;
  };
  if (prefixItems !== undefined) return fc.tuple(...prefixItems.map((each) => valuesOf(each, resolve, depth + 1)));
  const most = depth > depthMax ? minItems : Math.max(minItems, Math.min(maxItems, 4));
  if (most === 0) return fc.constant([]);
  return fc.array(items ? valuesOf(items, resolve, depth + 1) : anyJson, { minLength: minItems, maxLength: most });
}

function objectsOf(schema: JsonSchema, resolve: Resolve, depth: number): fc.Arbitrary<unknown> {
  const {
    properties = {},
    required = [],
    additionalProperties = true,
  } = schema as {
    properties?: Readonly<Record<string, JsonSchema>>;
    required?: readonly string[];
    additionalProperties?: JsonSchema | boolean;
  };
  const shown = Object.entries(properties).filter(([name]) => depth <= depthMax || required.includes(name));
  const model = Object.fromEntries(shown.map(([name, each]) => [name, valuesOf(each, resolve, depth + 1)]));
  const own = fc.record(model, { requiredKeys: shown.map(([name]) => name).filter((name) => required.includes(name)) });
  if (additionalProperties === false || depth > depthMax) return own;
  const more = additionalProperties === true ? anyJson : valuesOf(additionalProperties, resolve, depth + 1);
  const keys = plainKey.filter((key) => !(key in properties));
  return fc
    .tuple(own, fc.option(fc.dictionary(keys, more, { maxKeys: 2 }), { freq: 3, nil: {} }))
    .map(([object, extra]) => ({ ...extra, ...object }));
}

/** A value that had something done to it: a part of it replaced, removed, added, or given a name that has a meaning. */
export function mutated(values: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const meaningful = fc.constantFrom(
    "$date",
    "$bytes",
    "$bigint",
    "$object",
    "$nothing",
    "constructor",
    "toString",
    "length",
  );
  return fc
    .tuple(values, fc.nat(), fc.constantFrom("replace", "remove", "add", "rename"), anyJson, meaningful)
    .map(([value, at, how, other, name]) => {
      const copy: unknown = structuredClone(value);
      const places: { readonly holder: Record<string, unknown>; readonly key: string }[] = [];
      collect(copy, places);
      const place = places[at % Math.max(1, places.length)];
      if (place === undefined) return how === "add" ? { [name]: copy } : other;
      const { holder, key } = place;
      if (how === "remove" && !Array.isArray(holder)) delete holder[key];
      else if (how === "add" && !Array.isArray(holder)) holder[name] = other;
      else if (how === "rename") holder[key] = { [name]: holder[key] };
      else holder[key] = other;
      return copy;
    });
}

function collect(value: unknown, places: { readonly holder: Record<string, unknown>; readonly key: string }[]): void {
  if (typeof value !== "object" || value === null) return;
  const holder = value as Record<string, unknown>;
  for (const key of Object.keys(holder)) {
    places.push({ holder, key });
    collect(holder[key], places);
  }
}
