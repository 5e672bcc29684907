/**
 * Reading values whose shape is known, as they come from a log: every property is checked, unknown ones are passed over, so that a
 * later version may add some. All readers throw `ShapeFault`.
 */
import type { Value } from "../base/value.ts";

/** What is wrong, as a clause: "the term is no whole number". */
export class ShapeFault extends Error {
  override readonly name = "ShapeFault";
}

/** `what` names the value in the fault's message. */
export type Reader<T> = (value: Value | undefined, what: string) => T;

/** Up to 1,024 characters. */
export const text: Reader<string> = (value, what) => {
  if (typeof value === "string" && value.length <= 1024) return value;
  throw new ShapeFault(`${what} is no text of an allowed length`);
};

/** 1 to `lengthMax` ASCII letters, digits, `_`, `-` and `.`: one byte each. */
export function tokenOf(lengthMax: number): Reader<string> {
  return (value, what) => {
    if (typeof value === "string" && value.length <= lengthMax && /^[\w.-]+$/.test(value)) return value;
    throw new ShapeFault(`${what} is no token of up to ${lengthMax} characters`);
  };
}

/** A whole number from 0 to 2^53 - 1. */
export const whole: Reader<number> = (value, what) => {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new ShapeFault(`${what} is no whole number`);
};

export function bytesOf(length: number): Reader<Uint8Array> {
  return (value, what) => {
    if (value instanceof Uint8Array && value.length === length) return value;
    throw new ShapeFault(`${what} is not ${length} bytes`);
  };
}

/** Hexadecimal digits for this many bytes. */
export function hexOf(length: number): Reader<string> {
  const pattern = new RegExp(`^[0-9a-f]{${2 * length}}$`);
  return (value, what) => {
    if (typeof value === "string" && pattern.test(value)) return value;
    throw new ShapeFault(`${what} is not ${length} bytes as hexadecimal digits`);
  };
}

export function oneOf<const T extends string>(...allowed: readonly T[]): Reader<T> {
  return (value, what) => {
    const found = allowed.find((each) => each === value);
    if (found !== undefined) return found;
    throw new ShapeFault(`${what} is none of ${allowed.join(", ")}`);
  };
}

/** An absent property is undefined. */
export function optional<T>(read: Reader<T>): Reader<T | undefined> {
  return (value, what) => (value === undefined ? undefined : read(value, what));
}

export function listOf<T>(read: Reader<T>): Reader<readonly T[]> {
  return (value, what) => {
    if (!Array.isArray(value)) throw new ShapeFault(`${what} is no list`);
    return (value as readonly Value[]).map((item, index) => read(item, `${what}[${index}]`));
  };
}

type Properties = { readonly [key: string]: Value | undefined };

export const properties: Reader<Properties> = (value, what) => {
  const isObject =
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Date) &&
    !(value instanceof Uint8Array);
  if (isObject) return value as Properties;
  throw new ShapeFault(`${what} is no object`);
};

/** An object with these properties, one reader for each. */
export function object<T>(readers: { readonly [K in keyof T]-?: Reader<T[K]> }): Reader<T> {
  const entries = Object.entries(readers) as [string, Reader<unknown>][];
  return (value, what) => {
    const from = properties(value, what);
    const read: Record<string, unknown> = {};
    for (const [key, reader] of entries) {
      read[key] = reader(Object.hasOwn(from, key) ? from[key] : undefined, `${what}.${key}`);
    }
    return read as T;
  };
}

/** An object whose properties all have one shape, whatever their names. */
export function mapOf<T>(read: Reader<T>): Reader<Readonly<Record<string, T>>> {
  return (value, what) => {
    const from = properties(value, what);
    return Object.fromEntries(Object.entries(from).map(([key, item]) => [key, read(item, `${what}.${key}`)]));
  };
}
