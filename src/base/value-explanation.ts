/**
 * Says why something is not a value and where: the slow half of `checkValue`, run only once the fast half has refused.
 * It walks the same way (first property first), so it finds the part that made the check fail.
 */
import { isWellFormed } from "./bytes.ts";
import { OnefoldError } from "./errors.ts";
import { limits } from "./limits.ts";

/** A deep path of long keys would make the message as large as the value. */
const pathCharactersMax = 200;

interface Finding {
  readonly path: string;
  readonly reason: string;
}

/** True for an object literal, whichever realm made it: its prototype is null or some realm's `Object.prototype`. */
export function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return true;
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, "isPrototypeOf");
}

/** The error `invalid-value` for `value`, with `details: { path, reason }`. `what` names the value in the message. */
export function explainInvalidValue(value: unknown, what: string, cause?: unknown): OnefoldError {
  let finding: Finding | undefined;
  try {
    finding = find(value, "$", limits.valueDepthMax);
  } catch (error) {
    // The getter or proxy that stopped the check has stopped the explanation too.
    finding = { path: "$", reason: `reading it threw ${describeThrown(error)}` };
  }
  const { path, reason } = finding ?? { path: "$", reason: "it changed while it was read" };
  const shown = path.length > pathCharactersMax ? `${path.slice(0, pathCharactersMax)}…` : path;
  return new OnefoldError("invalid-value", `${what} is not a value: at ${shown}, ${reason}`, {
    details: { path: shown, reason },
    ...(cause === undefined ? {} : { cause }),
  });
}

function find(value: unknown, path: string, depthLeft: number): Finding | undefined {
  const reason = reasonAgainst(value, depthLeft);
  if (reason !== undefined) return { path, reason };
  if (typeof value !== "object" || value === null) return undefined;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const at = `${path}[${i}]`;
      if (value[i] === undefined)
        return { path: at, reason: i in value ? "undefined stands in an array" : "the array has a hole" };
      const finding = find(value[i], at, depthLeft - 1);
      if (finding) return finding;
    }
    return undefined;
  }
  if (value instanceof Date || value instanceof Uint8Array) return undefined;
  for (const [key, property] of Object.entries(value)) {
    const at = /^[a-zA-Z_$][\w$]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
    if (key === "__proto__") return { path: at, reason: 'the key "__proto__" is not allowed' };
    if (!isWellFormed(key)) return { path: at, reason: "the key holds half a surrogate pair" };
    if (property === undefined) continue;
    const finding = find(property, at, depthLeft - 1);
    if (finding) return finding;
  }
  return undefined;
}

/** Undefined if nothing speaks against this part by itself. */
function reasonAgainst(value: unknown, depthLeft: number): string | undefined {
  switch (typeof value) {
    case "string":
      return isWellFormed(value) ? undefined : "the text holds half a surrogate pair";
    case "number":
      return Number.isFinite(value) ? undefined : `${value} is not a finite number`;
    case "boolean":
      return undefined;
    case "bigint":
      return BigInt.asIntN(limits.valueBigintBitsMax, value) === value
        ? undefined
        : `the bigint has more than ${limits.valueBigintBitsMax} bits`;
    case "undefined":
      return "it is undefined";
    case "function":
    case "symbol":
      return `a ${typeof value} can't be stored`;
    case "object":
      return value === null ? undefined : reasonAgainstObject(value, depthLeft);
  }
}

function reasonAgainstObject(value: object, depthLeft: number): string | undefined {
  if (depthLeft === 0) return `it is nested deeper than ${limits.valueDepthMax} levels, or it contains itself`;
  if (Array.isArray(value) || isPlainObject(value)) return undefined;
  if (value instanceof Date)
    return Number.isFinite(Date.prototype.getTime.call(value)) ? undefined : "the Date is invalid";
  if (value instanceof Uint8Array && ArrayBuffer.isView(value)) return undefined;
  if (value instanceof Promise) return "it is a promise; only a transaction may be asynchronous";
  const maker: unknown = (value as { readonly constructor?: unknown }).constructor;
  const name = typeof maker === "function" && maker.name !== "" ? `an instance of ${maker.name}` : "a class instance";
  return `${name} can't be stored: only plain objects, arrays, Date and Uint8Array can`;
}

function describeThrown(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : `a ${typeof error}`;
}
