/**
 * The note that a watchdog leaves of a call of user code while it is under way (`Guard.noteCalls`): one JSON object, padded with
 * spaces to `callNoteBytes`. Where no call is noted the file is absent, empty or blank.
 */
import type { CallSubject } from "./host.ts";

export interface CallNote extends CallSubject {
  /** How long the call had run when it was noted. */
  readonly elapsedMs: number;
  /** By how much the process had grown meanwhile. */
  readonly grownBytes: number;
  /** Wall time of the note; no two notes of one entity have the same. */
  readonly atMs: number;
}

/** Code units of the entity's name, and of what runs. */
export const callSubjectMax = { entity: 1024, what: 128 } as const;

/** Each code unit may become six bytes of JSON. */
export const callNoteBytes = 8192;

/**
 * The note as it stands in the file. Uses nothing but the language: the watcher's thread is given its text (`watch-thread.ts`).
 */
export function callNoteText({ entity, what, elapsedMs, grownBytes, atMs }: CallNote): string {
  return `${JSON.stringify({ entity, what, elapsedMs: Math.round(elapsedMs), grownBytes, atMs })}\n`;
}

/** The note in a file; undefined where it holds none, or what can't be one. */
export function parseCallNote(bytes: Uint8Array): CallNote | undefined {
  const text = new TextDecoder().decode(bytes).trim();
  if (text === "" || bytes.length > callNoteBytes) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The machine died while it was written, or somebody has been at the file. It is no evidence against anybody.
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { entity, what, elapsedMs, grownBytes, atMs } = value as { readonly [name in keyof CallNote]?: unknown };
  if (typeof entity !== "string" || entity.length > callSubjectMax.entity || !isName(entity)) return undefined;
  if (typeof what !== "string" || what.length > callSubjectMax.what) return undefined;
  if (!isNumber(elapsedMs) || !isNumber(grownBytes) || !isNumber(atMs)) return undefined;
  return { entity, what, elapsedMs, grownBytes, atMs };
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

/** Code units below 256, as `CallSubject` has them. */
function isName(entity: string): boolean {
  for (let i = 0; i < entity.length; i++) if (entity.charCodeAt(i) > 0xff) return false;
  return entity !== "";
}
