/**
 * Values by JSON Schema, from a seed: such that their schema accepts them, as far as its keywords say, and such that they meet, as
 * texts are mostly drawn from a few and numbers are mostly small.
 */
import type { SeededRandom } from "../../base/random.ts";
import type { Value } from "../../base/value.ts";

export type JsonSchema = Readonly<Record<string, unknown>>;

/** Ids that entities have, and that texts are drawn from, so that what names an entity mostly names one that there is. */
export const commonIds: readonly string[] = ["ada", "bob", "cyd", "dan"];

/** Deeper than this, optional parts and items are left out, so that recursive schemas end. */
const depthMax = 4;
const timeStartMs = Date.UTC(2026, 0, 1);

const formats: Readonly<Record<string, (random: SeededRandom) => string>> = {
  email: (random) => `${random.pick(commonIds)}@example.com`,
  uri: (random) => `https://example.com/${random.pick(commonIds)}`,
  uuid: (random) => {
    const hex = Array.from(random.bytes(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
  },
  "date-time": (random) => someDate(random).toISOString(),
  date: (random) => someDate(random).toISOString().slice(0, 10),
  time: (random) => someDate(random).toISOString().slice(11, 19),
  ipv4: (random) => `192.0.2.${random.integer(256)}`,
};

/** Makes values. `resolve` gives what a `$ref` names, be that a schema, or a value itself. */
export class RandomValues {
  readonly #random: SeededRandom;
  readonly #root: JsonSchema;

  /** `root` is the schema that references within it start from. */
  constructor(random: SeededRandom, root: JsonSchema) {
    this.#random = random;
    this.#root = root;
  }

  next(): Value {
    return this.#of(this.#root, 0);
  }

  #of(schema: JsonSchema, depth: number): Value {
    const { $ref, type, allOf } = schema;
    if (typeof $ref === "string") return this.#referenced($ref, depth);
    if ("const" in schema) return schema.const as Value;
    if (Array.isArray(schema.enum)) return this.#random.pick(schema.enum as Value[]);
    const choices = schema.anyOf ?? schema.oneOf;
    if (Array.isArray(choices)) return this.#of(this.#random.pick(choices as JsonSchema[]), depth + 1);
    if (Array.isArray(allOf)) return this.#of(merged(allOf as JsonSchema[]), depth + 1);
    switch (Array.isArray(type) ? this.#random.pick(type as string[]) : type) {
      case "null":
        return null;
      case "boolean":
        return this.#random.chance(0.5);
      case "integer":
        return this.#number(schema, { isWhole: true });
      case "number":
        return this.#number(schema, { isWhole: this.#random.chance(0.8) });
      case "string":
        return this.#text(schema);
      case "array":
        return this.#list(schema, depth);
      case "object":
        return this.#object(schema, depth);
      default:
        return this.#random.pick([null, true, 0, 1, this.#random.pick(commonIds)]);
    }
  }

  /** What tagged JSON has names for is made as the value itself. */
  #referenced(reference: string, depth: number): Value {
    const random = this.#random;
    if (reference.endsWith("/schemas/Date")) return someDate(random);
    if (reference.endsWith("/schemas/Bytes")) return random.bytes(random.integer(16));
    if (reference.endsWith("/schemas/BigInt")) return BigInt(random.between(-1000, 1000));
    let target: unknown = this.#root;
    for (const name of reference.replace(/^#\/?/, "").split("/")) {
      if (name !== "") target = (target as Record<string, unknown> | undefined)?.[name];
    }
    return this.#of((target ?? {}) as JsonSchema, depth + 1);
  }

  #number(schema: JsonSchema, { isWhole }: { readonly isWhole: boolean }): number {
    const step = isWhole ? 1 : 1e-6;
    const bound = (name: string, exclusive: string, inward: number): number | undefined => {
      const beyond = schema[exclusive];
      if (typeof beyond === "number") return beyond + inward;
      return typeof schema[name] === "number" ? schema[name] : undefined;
    };
    const max = bound("maximum", "exclusiveMaximum", -step) ?? Number.POSITIVE_INFINITY;
    const min = bound("minimum", "exclusiveMinimum", step) ?? Math.min(max, this.#random.chance(0.2) ? -1000 : 0);
    // Small ones often: what takes from what another one gave can only take as much.
    const most = Math.min(max, min + this.#random.pick([3, 10, 1000]));
    const multiple = typeof schema.multipleOf === "number" ? schema.multipleOf : undefined;
    if (multiple !== undefined) {
      const from = Math.ceil(min / multiple);
      return this.#random.between(from, Math.max(from, Math.floor(most / multiple))) * multiple;
    }
    const [from, to] = [Math.ceil(min), Math.floor(most)];
    if (isWhole && from <= to) return this.#random.between(from, to);
    return min + this.#random.next() * (most - min);
  }

  #text(schema: JsonSchema): string {
    const random = this.#random;
    const format = typeof schema.format === "string" ? formats[schema.format] : undefined;
    if (format !== undefined) return format(random);
    const { minLength = 0, maxLength = Number.POSITIVE_INFINITY } = schema as {
      minLength?: number;
      maxLength?: number;
    };
    const fits = (text: string): boolean => text.length >= minLength && text.length <= maxLength;
    if (typeof schema.pattern === "string") {
      const pattern = new RegExp(schema.pattern, "u");
      const candidates = [...commonIds, "a", "A", "0", "1", "12", "a1", "A1", "abc", "ABC", "2026-01-01", "a-b", "a_b"];
      const fitting = candidates.filter((text) => fits(text) && pattern.test(text));
      if (fitting.length > 0) return random.pick(fitting);
    }
    const common = commonIds.filter(fits);
    if (common.length > 0 && random.chance(0.9)) return random.pick(common);
    const length = random.between(minLength, Math.max(minLength, Math.min(maxLength, minLength + 12)));
    return Array.from({ length }, () => random.pick([..."abcxyz019 é"])).join("");
  }

  #list(schema: JsonSchema, depth: number): Value[] {
    const {
      prefixItems,
      items,
      minItems = 0,
      maxItems = 4,
    } = schema as {
      prefixItems?: readonly JsonSchema[];
      items?: JsonSchema;
      minItems?: number;
      maxItems?: number;
    };
    if (prefixItems !== undefined) return prefixItems.map((each) => this.#of(each, depth + 1));
    const most = depth > depthMax ? minItems : Math.max(minItems, Math.min(maxItems, minItems + 3));
    const length = this.#random.between(minItems, most);
    return Array.from({ length }, () => this.#of(items ?? {}, depth + 1));
  }

  #object(schema: JsonSchema, depth: number): Value {
    const {
      properties = {},
      required = [],
      additionalProperties,
    } = schema as {
      properties?: Readonly<Record<string, JsonSchema>>;
      required?: readonly string[];
      additionalProperties?: JsonSchema | boolean;
    };
    const made: Record<string, Value> = {};
    for (const [name, each] of Object.entries(properties)) {
      const isShown = required.includes(name) || (depth <= depthMax && this.#random.chance(0.6));
      if (isShown) made[name] = this.#of(each, depth + 1);
    }
    if (typeof additionalProperties === "object" && depth <= depthMax) {
      for (let count = this.#random.integer(3); count > 0; count--) {
        made[this.#random.pick(commonIds)] = this.#of(additionalProperties, depth + 1);
      }
    }
    return made;
  }
}

/** Whole seconds of some year: with as few as can be, two are now and then the same. */
function someDate(random: SeededRandom): Date {
  return new Date(timeStartMs + random.integer(365) * 86_400_000);
}

function merged(schemas: readonly JsonSchema[]): JsonSchema {
  const properties = Object.assign({}, ...schemas.map((each) => each.properties ?? {})) as object;
  const required = schemas.flatMap((each) => (each.required ?? []) as string[]);
  return { ...Object.assign({}, ...schemas), ...(required.length === 0 ? {} : { properties, required }) };
}
