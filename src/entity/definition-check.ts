/**
 * What the builders refuse, with texts for the person who writes the definition. Everything here throws
 * `invalid-definition` (retry never) and runs while a system is put together, never for a request.
 */
import { OnefoldError } from "../base/errors.ts";
import { isName } from "../base/ids.ts";
import { limits } from "../base/limits.ts";
import { collidingRegions, type Region, regionOf } from "../base/regions.ts";
import type { Documentation, EntityDefinition, Schema } from "./definition.ts";

/**
 * Names that JavaScript gives a meaning of its own: an object with a method `then` is taken for a promise by every
 * `await`, and the others are looked up on any object by the language or by tools.
 */
const reservedNames: ReadonlySet<string> = new Set([
  "then",
  "constructor",
  "prototype",
  "toString",
  "toLocaleString",
  "toJSON",
  "valueOf",
  "hasOwnProperty",
  "isPrototypeOf",
  "propertyIsEnumerable",
]);

export function invalidDefinition(message: string, cause?: unknown): OnefoldError {
  return new OnefoldError("invalid-definition", message, cause === undefined ? {} : { cause });
}

/** `what` names the thing, capitalised: "Command", "Entity". `of` is where it stands: " of account" or "". */
export function checkName(name: unknown, what: string, of = ""): void {
  if (!isName(name))
    throw invalidDefinition(
      `${what} ${describe(name)}${of}: a name is a letter followed by up to ${limits.nameBytesMax - 1} letters, digits, "_" and "-"`,
    );
  if (reservedNames.has(name))
    throw invalidDefinition(`${what} "${name}"${of}: JavaScript gives this name a meaning of its own; choose another`);
}

export function checkRegion(name: unknown, of: string): Region {
  try {
    return regionOf(name);
  } catch (cause) {
    throw invalidDefinition(`Region ${describe(name)}${of}: ${(cause as OnefoldError).message}`, cause);
  }
}

/**
 * Refuses what would put entities that belong together in two places: regions with the same slots, and an affinity that kinds of different
 * regions share.
 */
export function checkRegions(entities: readonly EntityDefinition[]): void {
  const colliding = collidingRegions(entities.flatMap(({ region }) => region ?? []));
  if (colliding !== undefined) {
    const [one, other] = colliding;
    throw invalidDefinition(
      `The regions "${one.name}" and "${other.name}" would have the same slots: call one of them otherwise, such as "${other.name}-1"`,
    );
  }
  const regionOfAffinity = new Map<unknown, EntityDefinition>();
  for (const definition of entities) {
    const { affinity, name, region } = definition;
    if (affinity === undefined) continue;
    const first = regionOfAffinity.get(affinity) ?? definition;
    regionOfAffinity.set(affinity, first);
    if (first.region?.name === region?.name) continue;
    const where = (each: EntityDefinition): string =>
      each.region === undefined ? `${each.name} is not pinned` : `${each.name} is pinned to ${each.region.name}`;
    throw invalidDefinition(
      `${first.name} and ${name} have the same affinity, which is to keep their entities together, and ${where(first)}, ${where(definition)}: pin both to one region, or give each an affinity of its own`,
    );
  }
}

/** Whether something follows Standard Schema, as far as can be seen. Schemas may be objects or functions. */
export function isSchema(schema: unknown): schema is Schema {
  const standard: unknown =
    (typeof schema === "object" && schema !== null) || typeof schema === "function"
      ? (schema as { readonly "~standard"?: unknown })["~standard"]
      : undefined;
  const validate: unknown =
    typeof standard === "object" && standard !== null
      ? (standard as { readonly validate?: unknown }).validate
      : undefined;
  return typeof validate === "function";
}

export function checkSchema(schema: unknown, where: string): void {
  if (!isSchema(schema))
    throw invalidDefinition(`${where}: the schema must follow Standard Schema, as those of zod do`);
}

/** What a builder was given as documentation, in the form of the definition; undefined where nothing was given. */
export function checkDocumentation(given: unknown, where: string): Documentation | undefined {
  if (given === undefined) return undefined;
  if (typeof given !== "object" || given === null || isSchema(given))
    throw invalidDefinition(
      `${where}: what comes after its function is documentation: { description, output, refusals }`,
    );
  const { description, output, refusals, ...rest } = given as { readonly [name: string]: unknown };
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined)
    throw invalidDefinition(`${where}: documentation has no "${unknown}", only description, output and refusals`);
  if (description !== undefined && typeof description !== "string")
    throw invalidDefinition(`${where}: its description must be text`);
  if (output !== undefined) checkSchema(output, `${where}, its output`);
  return { description, output: output as Schema | undefined, refusals: checkRefusals(refusals, where) };
}

function checkRefusals(given: unknown, where: string): Documentation["refusals"] {
  if (given === undefined) return undefined;
  if (typeof given !== "object" || given === null)
    throw invalidDefinition(
      `${where}: its refusals must be an object: codes, with the schemas of their details or null`,
    );
  const refusals = new Map<string, Schema | "no details">();
  for (const [code, details] of Object.entries(given)) {
    if (details !== null) checkSchema(details, `${where}, its refusal "${code}"`);
    refusals.set(code, details === null ? "no details" : (details as Schema));
  }
  return refusals;
}

export function checkFunction(run: unknown, where: string): void {
  if (typeof run !== "function") throw invalidDefinition(`${where}: its function is missing`);
}

/** Generators and asynchronous functions return before they have done anything. */
export function checkSynchronous(run: unknown, where: string): void {
  checkFunction(run, where);
  if (Object.prototype.toString.call(run) !== "[object Function]")
    throw invalidDefinition(
      `${where}: it must be an ordinary synchronous function; asynchronous work belongs in a transaction`,
    );
}

function describe(name: unknown): string {
  return typeof name === "string" ? `"${name.slice(0, limits.nameBytesMax)}"` : `of type ${typeof name}`;
}
