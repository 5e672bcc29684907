/**
 * What the builders refuse, with texts for the person who writes the definition. Everything here throws
 * `invalid-definition` (retry never) and runs while a system is put together, never for a request.
 */
import { OnefoldError } from "../base/errors.ts";
import { isName } from "../base/ids.ts";
import { limits } from "../base/limits.ts";

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

export function checkSchema(schema: unknown, where: string): void {
  const standard: unknown =
    (typeof schema === "object" && schema !== null) || typeof schema === "function"
      ? (schema as { readonly "~standard"?: unknown })["~standard"]
      : undefined;
  const validate: unknown =
    typeof standard === "object" && standard !== null
      ? (standard as { readonly validate?: unknown }).validate
      : undefined;
  if (typeof validate !== "function")
    throw invalidDefinition(`${where}: the schema must follow Standard Schema, as those of zod do`);
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
