/**
 * Values as JSON text, for HTTP. What JSON lacks is an object with one key that begins with `$`:
 *
 *     bytes   {"$bytes": "AQID"}                       base64 with padding (RFC 4648, section 4)
 *     Date    {"$date": "2026-01-31T12:00:00.000Z"}    as `Date.prototype.toISOString` writes it
 *     bigint  {"$bigint": "-123"}                      decimal, no leading zeros, no "+", no "-0"
 *     object  {"$object": {"$date": "not a date"}}     a user's own object of that shape
 *
 * J1  `parseTaggedJson(stringifyTaggedJson(value))` equals `value`, for every value.
 * J2  Parsing ends in a value or in `malformed`; depth is checked before anything recurses, in one pass over the text.
 * J3  Text without tags is plain JSON and gives what `JSON.parse` gives; a plain number stays a number.
 */
import { decodeUtf8 } from "./bytes.ts";
import { OnefoldError } from "./errors.ts";
import { positionOfJsonFault } from "./json-fault.ts";
import { limits } from "./limits.ts";
import { checkValue, type Value } from "./value.ts";

/** Base64 digits come in fours; the last group may be padded. */
const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const bigintPattern = /^(?:0|-?[1-9][0-9]*)$/;
/** Escapes (`\u0024`) can hide a tag or a forbidden key from a search of the text, so they count as one. */
const unusualPattern = /"\$|__proto__|\\u/;
/** Turning digits into a bigint takes time that grows faster than their number. */
const bigintDigitsMax = 20_000;
/** A tag's own object and an escaping one are levels of the text, not of the value. */
const textDepthMax = 2 * limits.valueDepthMax + 2;

// ---------------------------------------------------------------------------------------------------------- to a value

/**
 * The value of a JSON text; of duplicate keys the last counts.
 * Throws `malformed` (retry never) with `details: { position }` where the fault has one: a position in UTF-16 units; for
 * text that is not JSON or not UTF-8, is nested too deep, has a key `__proto__`, or a tag whose content is not its kind's.
 */
export function parseTaggedJson(source: string | Uint8Array): Value {
  const text = typeof source === "string" ? source : decode(source);
  checkDepth(text);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw notJson(error, text);
  }
  const value = unusualPattern.test(text) ? untag(parsed as Json) : (parsed as Value);
  try {
    // Half surrogates and numbers such as 1e999 are JSON and no values.
    checkValue(value);
  } catch (error) {
    if (error instanceof OnefoldError && error.code === "invalid-value")
      throw new OnefoldError("malformed", error.message, { details: error.details, cause: error });
    throw error;
  }
  return value;
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

function decode(bytes: Uint8Array): string {
  try {
    return decodeUtf8(bytes);
  } catch (error) {
    throw new OnefoldError("malformed", "The text is not UTF-8", { cause: error });
  }
}

/** One pass that recurses nowhere, so that deep nesting can't exhaust the stack of what comes after it. */
function checkDepth(text: string): void {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 0x22) {
      i = endOfString(text, i);
    } else if (unit === 0x5b || unit === 0x7b) {
      depth++;
      if (depth > textDepthMax) throw malformed(`The text is nested deeper than ${textDepthMax} levels`, i);
    } else if (unit === 0x5d || unit === 0x7d) depth--;
  }
}

/** The position of the quote that ends the string which begins at `start`; the text's end if none does. */
function endOfString(text: string, start: number): number {
  let from = start + 1;
  for (;;) {
    const quote = text.indexOf('"', from);
    if (quote === -1) return text.length;
    let backslashes = 0;
    while (text.charCodeAt(quote - 1 - backslashes) === 0x5c) backslashes++;
    if (backslashes % 2 === 0) return quote;
    from = quote + 1;
  }
}

/** Bounded by `checkDepth`. Changes `json` in place: nobody else has it. */
function untag(json: Json): Value {
  if (typeof json !== "object" || json === null) return json;
  if (Array.isArray(json)) {
    const items = json as Value[];
    for (let i = 0; i < json.length; i++) items[i] = untag(json[i]!);
    return items;
  }
  const keys = Object.keys(json);
  const first = keys[0];
  if (keys.length === 1 && first!.startsWith("$")) return untagOne(first!, json[first!]!);
  return untagProperties(json, keys);
}

function untagProperties(object: { [key: string]: Json }, keys: readonly string[]): Value {
  for (const key of keys) {
    if (key === "__proto__") throw malformed('The key "__proto__" is not allowed');
    (object as Record<string, Value>)[key] = untag(object[key]!);
  }
  return object as Record<string, Value>;
}

function untagOne(tag: string, content: Json): Value {
  switch (tag) {
    case "$bytes":
      if (typeof content !== "string" || !base64Pattern.test(content)) throw malformed("$bytes needs base64 text");
      return bytesOfBase64(content);
    case "$date": {
      const date = typeof content === "string" ? new Date(content) : undefined;
      if (date === undefined || Number.isNaN(date.getTime()) || date.toISOString() !== content)
        throw malformed('$date needs text such as "2026-01-31T12:00:00.000Z"');
      return date;
    }
    case "$bigint":
      if (typeof content !== "string" || content.length > bigintDigitsMax || !bigintPattern.test(content))
        throw malformed(`$bigint needs a decimal number of up to ${bigintDigitsMax} digits as text`);
      return BigInt(content);
    case "$object":
      if (typeof content !== "object" || content === null || Array.isArray(content))
        throw malformed("$object needs an object");
      return untagProperties(content, Object.keys(content));
    default:
      throw malformed(
        `"${tag.slice(0, limits.nameBytesMax)}" is no tag; an object of your own with this one key is written {"$object": …}`,
      );
  }
}

function bytesOfBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function malformed(message: string, position?: number): OnefoldError {
  return new OnefoldError("malformed", message, position === undefined ? {} : { details: { position } });
}

function notJson(cause: unknown, text: string): OnefoldError {
  const position = positionOfJsonFault(text) ?? 0;
  return new OnefoldError("malformed", `The text is not JSON from position ${position} on`, {
    details: { position },
    cause,
  });
}

// -------------------------------------------------------------------------------------------------------- from a value

/** The JSON text of a value; -0 becomes 0. Throws as `checkValue` does. */
export function stringifyTaggedJson(value: Value): string {
  checkValue(value);
  // Most values need no tag, and the native serializer is many times faster than a walk that makes a new tree.
  return JSON.stringify(needsTags(value) ? tag(value) : value);
}

function needsTags(value: Value | undefined): boolean {
  if (typeof value === "bigint") return true;
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.some(needsTags);
  if (value instanceof Date || value instanceof Uint8Array) return true;
  const object = value as { readonly [key: string]: Value | undefined };
  for (const key in object) {
    if (key.startsWith("$") || needsTags(object[key])) return true;
  }
  return false;
}

function tag(value: Value): Json {
  if (typeof value === "bigint") return { $bigint: String(value) };
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(tag);
  if (value instanceof Date) return { $date: value.toISOString() };
  if (value instanceof Uint8Array) return { $bytes: base64OfBytes(value) };
  const tagged: Record<string, Json> = {};
  for (const [key, property] of Object.entries(value)) if (property !== undefined) tagged[key] = tag(property as Value);
  const keys = Object.keys(tagged);
  return keys.length === 1 && keys[0]!.startsWith("$") ? { $object: tagged } : tagged;
}

function base64OfBytes(bytes: Uint8Array): string {
  // In pieces, because a call's arguments are limited.
  const piece = 8192;
  let binary = "";
  for (let i = 0; i < bytes.length; i += piece) binary += String.fromCharCode(...bytes.subarray(i, i + piece));
  return btoa(binary);
}
