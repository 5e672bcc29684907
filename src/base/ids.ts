/**
 * Names and ids: parsed once at the edge, trusted inside. And the slot of a key, which is part of the format: its
 * definition below (and in `docs/format.md`) never changes, because a change would move every entity.
 */
import { assert } from "./assert.ts";
import { isWellFormed, utf8Length } from "./bytes.ts";
import { sha256 } from "./digest.ts";
import { OnefoldError } from "./errors.ts";
import { limits } from "./limits.ts";

declare const brand: unique symbol;

/** An entity's id as `parseId` let it through. */
export type EntityId = string & { readonly [brand]: "EntityId" };

/** A name of a kind, command, query, collection, transaction, system or tenant as `parseName` let it through. */
export type Name = string & { readonly [brand]: "Name" };

/** The tenant of every principal whose system has no others. */
export const defaultTenant = "default";

const namePattern = /^[a-zA-Z][a-zA-Z0-9_-]*$/;

/**
 * An id: 1–512 bytes of UTF-8, any characters but NUL and halves of surrogate pairs, not `.` or `..` (paths swallow
 * them). Ids order by their bytes. Throws `invalid-id` (retry never).
 */
export function parseId(text: unknown): EntityId {
  const problem = problemOfId(text);
  if (problem !== undefined)
    throw new OnefoldError("invalid-id", `The id ${problem}`, { details: { reason: problem } });
  return text as EntityId;
}

function problemOfId(text: unknown): string | undefined {
  if (typeof text !== "string") return "must be text";
  if (text === "") return "is empty";
  if (text === "." || text === "..") return `"${text}" is not allowed: paths give it another meaning`;
  // A character has three bytes at most per UTF-16 unit, so most ids need no counting.
  if (text.length > limits.idBytesMax / 3 && utf8Length(text) > limits.idBytesMax)
    return `is longer than ${limits.idBytesMax} bytes of UTF-8`;
  if (text.includes("\0")) return "contains a NUL character";
  if (!isWellFormed(text)) return "holds half a surrogate pair";
  return undefined;
}

/** True for a letter followed by up to 63 letters, digits, `_` and `-`. */
export function isName(text: unknown): text is Name {
  return typeof text === "string" && text.length <= limits.nameBytesMax && namePattern.test(text);
}

/**
 * A name (see `isName`). `what` says what it names, for the message.
 * Throws `malformed` (retry never): a definition's own names are checked by its builders, so this is a caller's mistake.
 */
export function parseName(text: unknown, what = "name"): Name {
  if (isName(text)) return text;
  throw new OnefoldError(
    "malformed",
    `The ${what} must be a letter followed by up to ${limits.nameBytesMax - 1} letters, digits, "_" and "-"`,
  );
}

/**
 * The slot (0–4095) of an entity whose kind has no affinity function: hash of tenant, kind and id.
 * All three must have been parsed.
 */
export function slotOf(kind: string, id: string, tenant: string): number {
  return slotOfParts([tenant, kind, id]);
}

/** The slot (0–4095) of all entities, of whatever kind, with this affinity: hash of tenant and affinity. */
export function slotOfAffinity(affinity: string, tenant: string): number {
  return slotOfParts([tenant, affinity]);
}

/** What of an entity's definition decides its slot. */
export interface SlotRule {
  readonly name: string;
  readonly affinity: ((id: string) => string) | undefined;
  /** Of the region that the kind is pinned to; `regions.ts`. A power of two of slots, which begin at a multiple of it. */
  readonly region?: { readonly from: number; readonly to: number } | undefined;
}

/**
 * The slot of the entity: by its affinity, else by itself; of a kind that is pinned, the region's at that place. Throws `invalid-definition` (retry never) where the kind's affinity function gives no text of
 * 1–512 bytes; what that function itself throws passes through.
 */
export function slotOfEntity(rule: SlotRule, id: string, tenant: string): number {
  const slot = slotAnywhere(rule, id, tenant);
  const { region } = rule;
  return region === undefined ? slot : region.from + (slot % (region.to - region.from));
}

function slotAnywhere(rule: SlotRule, id: string, tenant: string): number {
  if (rule.affinity === undefined) return slotOf(rule.name, id, tenant);
  const affinity: unknown = rule.affinity(id);
  if (typeof affinity !== "string" || affinity === "" || utf8Length(affinity) > limits.idBytesMax)
    throw new OnefoldError(
      "invalid-definition",
      `The affinity of ${rule.name} must give text of 1–${limits.idBytesMax} bytes for every id`,
    );
  return slotOfAffinity(affinity, tenant);
}

/**
 * The first 12 bits of SHA-256 over the parts, each as its length in bytes (4 bytes, big-endian) and its UTF-8. Because
 * of the lengths no two lists of parts have the same encoding.
 */
export function slotOfParts(parts: readonly string[]): number {
  let at = 0;
  for (const part of parts) {
    const { read, written } = encoder.encodeInto(part, slotScratch.subarray(at + 4));
    assert(read === part.length, "a slot's parts have been parsed, so they fit");
    slotScratchView.setUint32(at, written);
    at += 4 + written;
  }
  const digest = sha256(slotScratch.subarray(0, at));
  return (digest[0]! << 4) | (digest[1]! >> 4);
}

const encoder = new TextEncoder();
/** Room for the longest tenant, kind and id; used within one call only. */
const slotScratch = new Uint8Array(3 * 4 + 2 * limits.nameBytesMax + limits.idBytesMax);
const slotScratchView = new DataView(slotScratch.buffer);

/**
 * The candidate that `name` was probably meant to be, for "did you mean" in messages; undefined if none is near: more
 * than a third of its characters would have to change.
 */
export function closest(name: string, candidates: Iterable<string>): string | undefined {
  if (name.length > limits.nameBytesMax) return undefined;
  const wanted = name.toLowerCase();
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein's distance, row by row (Wagner and Fischer, 1974). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
