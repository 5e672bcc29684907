/**
 * Values as tagged JSON (`docs/http.md`), for the client where there is no socket. The gateway's own is `base/tagged-json.ts`, which
 * checks whatever anybody sends; this one trusts the server, and stays small.
 */
import type { Value } from "../base/value.ts";

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** The value must be one: it was encoded or decoded before. */
export function writeTaggedJson(value: Value): string {
  return JSON.stringify(tag(value));
}

export function readTaggedJson(text: string): Value {
  return untag(JSON.parse(text) as Json);
}

function tag(value: Value): Json {
  if (typeof value === "bigint") return { $bigint: String(value) };
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(tag);
  if (value instanceof Date) return { $date: value.toISOString() };
  if (value instanceof Uint8Array)
    return { $bytes: btoa(Array.from(value, (byte) => String.fromCharCode(byte)).join("")) };
  const entries = Object.entries(value).map(([key, property]): [string, Json] => [key, tag(property as Value)]);
  const tagged = Object.fromEntries(entries);
  return entries.length === 1 && entries[0]![0].startsWith("$") ? { $object: tagged } : tagged;
}

function untag(json: Json): Value {
  if (typeof json !== "object" || json === null) return json;
  if (Array.isArray(json)) return json.map(untag);
  const entries = Object.entries(json as { readonly [key: string]: Json });
  const [first] = entries;
  if (entries.length === 1 && first![0].startsWith("$")) {
    const [name, content] = first!;
    if (name === "$bytes") return Uint8Array.from(atob(content as string), (character) => character.charCodeAt(0));
    if (name === "$date") return new Date(content as string);
    if (name === "$bigint") return BigInt(content as string);
    if (name === "$object") return untagProperties(Object.entries(content as { readonly [key: string]: Json }));
  }
  return untagProperties(entries);
}

function untagProperties(entries: readonly (readonly [string, Json])[]): Value {
  return Object.fromEntries(entries.map(([key, property]) => [key, untag(property)]));
}
