/**
 * Who is suspected of ending the process, and how often: the content of the file `suspects`, as values.
 *
 * Each death is counted for the entity whose call was noted at it (`host/call-note.ts`). What the counts hold is a cache of bad
 * experience, not of data: a file that can't be read counts as none.
 */
import { encodeUtf8 } from "../base/bytes.ts";
import type { Limits } from "../base/limits.ts";
import { type BinaryString, entityName, parseEntityName } from "../entity/keys.ts";
import type { CallNote } from "../host/call-note.ts";

export interface Suspect {
  readonly tenant: string;
  readonly kind: string;
  readonly id: string;
  /** The command, or what else of it ran at the last death. */
  readonly what: string;
  /** With less than `suspectMs` between one and the next. */
  readonly deaths: number;
  /** Wall time. */
  readonly lastDeathMs: number;
}

/** By the entity's name. */
export type Suspects = ReadonlyMap<BinaryString, Suspect>;

type Bounds = Pick<Limits, "suspectDeathsMax" | "suspectMs" | "suspectsMax">;

/** An entity in quarantine stays there until it is lifted, however long ago its deaths are. */
export function isInQuarantine({ deaths }: Suspect, { suspectDeathsMax }: Bounds): boolean {
  return deaths >= suspectDeathsMax;
}

/** The suspects after the death that `note` tells of; the same object where it tells of none, or of one that was counted. */
export function withDeath(suspects: Suspects, note: CallNote, limits: Bounds): Suspects {
  const parts = parseEntityName(note.entity);
  if (!isEntity(parts) || nameOf(parts) !== note.entity) return suspects;
  const before = suspects.get(note.entity);
  if (before?.lastDeathMs === note.atMs) return suspects;
  const isInSeries =
    before !== undefined && (isInQuarantine(before, limits) || note.atMs - before.lastDeathMs <= limits.suspectMs);
  const deaths = isInSeries ? before.deaths + 1 : 1;
  const after = new Map(suspects);
  after.set(note.entity, { ...parts, what: note.what, deaths, lastDeathMs: note.atMs });
  return bounded(after, limits);
}

/** The suspects without those that `isLet` lets go. */
export function without(suspects: Suspects, isLet: (suspect: Suspect) => boolean): Suspects {
  return new Map([...suspects].filter(([, suspect]) => !isLet(suspect)));
}

/** At the limit those go whose last death is the oldest. */
function bounded(suspects: Suspects, { suspectsMax }: Bounds): Suspects {
  if (suspects.size <= suspectsMax) return suspects;
  const newest = [...suspects].sort(([, a], [, b]) => b.lastDeathMs - a.lastDeathMs).slice(0, suspectsMax);
  return new Map(newest);
}

// ------------------------------------------------------------------------------------------------------------ the file

const fileVersion = 1;

export function suspectsBytes(suspects: Suspects): Uint8Array {
  return encodeUtf8(`${JSON.stringify({ version: fileVersion, suspects: [...suspects.values()] }, undefined, 1)}\n`);
}

/** Undefined for what is no file of suspects, or one of a later version. */
export function parseSuspects(bytes: Uint8Array, limits: Bounds): Suspects | undefined {
  let file: unknown;
  try {
    file = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // Whoever reads it says so.
    return undefined;
  }
  if (!isRecord(file) || file.version !== fileVersion || !Array.isArray(file.suspects)) return undefined;
  const suspects = new Map<BinaryString, Suspect>();
  for (const each of file.suspects as readonly unknown[]) {
    if (!isSuspect(each)) return undefined;
    const { tenant, kind, id, what, deaths, lastDeathMs } = each;
    suspects.set(nameOf(each), { tenant, kind, id, what, deaths, lastDeathMs });
  }
  return bounded(suspects, limits);
}

function nameOf({ tenant, kind, id }: Pick<Suspect, "tenant" | "kind" | "id">): BinaryString {
  return entityName(tenant, kind, id);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function isEntity({ tenant, kind, id }: Readonly<Record<string, unknown>>): boolean {
  return [tenant, kind, id].every((part) => typeof part === "string" && part !== "" && !part.includes("\0"));
}

function isSuspect(value: unknown): value is Suspect {
  if (!isRecord(value) || !isEntity(value) || typeof value.what !== "string") return false;
  return [value.deaths, value.lastDeathMs].every((number) => typeof number === "number" && Number.isFinite(number));
}
