/**
 * Who is suspected of ending a process, and how often, as values: what the file `suspects` of a data directory holds, and what a cluster's
 * system log counts of all its nodes.
 *
 * Each death is counted for the entity whose call was noted at it (`host/call-note.ts`). What the counts hold is a cache of bad
 * experience, not of data: a file that can't be read counts as none.
 */
import { encodeUtf8 } from "../base/bytes.ts";
import type { Limits } from "../base/limits.ts";
import { type BinaryString, entityName, parseEntityName } from "./keys.ts";
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

/** For people, those with most deaths first. */
export function suspectViews(
  suspects: readonly Suspect[],
  limits: Bounds,
): readonly (Suspect & { readonly isInQuarantine: boolean })[] {
  return [...suspects]
    .sort((a, b) => b.deaths - a.deaths || b.lastDeathMs - a.lastDeathMs)
    .map((suspect) => ({ ...suspect, isInQuarantine: isInQuarantine(suspect, limits) }));
}

/** For health, which anybody may read: how many and of which kinds, not which. Undefined where there are none. */
export function quarantineProblem(
  held: readonly Suspect[],
  { ended, command }: { readonly ended: string; readonly command: string },
): string | undefined {
  if (held.length === 0) return undefined;
  const kinds = [...new Set(held.map(({ kind }) => kind))].sort().join(", ");
  return `quarantined: ${held.length} of ${kinds}, whose commands ended ${ended}; see ${command}`;
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
  const death = { ...parts, what: note.what, deaths: 1, lastDeathMs: note.atMs };
  return bounded(new Map(suspects).set(note.entity, counted(before, death, limits)), limits);
}

/** Deaths that are far apart make no series, unless the entity is in quarantine. */
function counted(before: Suspect | undefined, more: Suspect, limits: Bounds): Suspect {
  const isInSeries =
    before !== undefined &&
    (isInQuarantine(before, limits) || more.lastDeathMs - before.lastDeathMs <= limits.suspectMs);
  return isInSeries ? { ...more, deaths: before.deaths + more.deaths } : more;
}

/**
 * The suspects after what another node tells of deaths there; the same object where that is known already. A death that is not later than
 * the last one known counts for nothing: it may be told twice, and clocks of nodes differ by less than deaths do.
 */
export function withDeaths(suspects: Suspects, told: Suspect, limits: Bounds): Suspects {
  const name = nameOf(told);
  const before = suspects.get(name);
  if (!isEntity({ ...told }) || (before !== undefined && told.lastDeathMs <= before.lastDeathMs)) return suspects;
  return bounded(new Map(suspects).set(name, counted(before, told, limits)), limits);
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

export function nameOf({ tenant, kind, id }: Pick<Suspect, "tenant" | "kind" | "id">): BinaryString {
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
