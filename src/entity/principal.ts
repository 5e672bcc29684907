/**
 * What a principal must be, checked in one place, for whoever makes one: a system's `authenticate`, or a caller in the same
 * process. Its tenant becomes a part of keys, its subject of tokens and of the history.
 */
import { isWellFormed, utf8Length } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { isName } from "../base/ids.ts";
import { limits } from "../base/limits.ts";
import type { Principal } from "./service.ts";

/**
 * What is wrong with it, as the rest of a sentence that begins with "a principal"; undefined if nothing is. Its tenant is a
 * name (see `isName`), its subject well-formed text of at most 512 bytes of UTF-8, its scopes are an array of text.
 */
export function problemOfPrincipal(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return "has a tenant, a subject and scopes";
  const { tenant, subject, scopes } = value as { readonly [name in keyof Principal]: unknown };
  // Tenants whose names are anything at all could come to share a key.
  if (!isName(tenant)) return "has a tenant that is a letter followed by letters, digits, '_' and '-', 64 at most";
  if (typeof subject !== "string" || !isWellFormed(subject)) return "has a subject that is well-formed text";
  // A character has three bytes at most per UTF-16 unit, so most subjects need no counting.
  const { idBytesMax } = limits;
  if (subject.length > idBytesMax / 3 && utf8Length(subject) > idBytesMax) {
    return `has a subject of at most ${idBytesMax} bytes of UTF-8`;
  }
  if (!Array.isArray(scopes)) return "has an array of scopes";
  for (const scope of scopes) if (typeof scope !== "string") return "has scopes that are text";
  return undefined;
}

/** Throws `malformed` (retry never) for what is no principal. */
export function assertPrincipal(value: unknown): asserts value is Principal {
  const problem = problemOfPrincipal(value);
  if (problem !== undefined) throw new OnefoldError("malformed", `A principal ${problem}; this one does not.`);
}
