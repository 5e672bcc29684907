/**
 * No acknowledged loss: what was acknowledged is there at the end, and where its acknowledgement said.
 *
 * NL1  Every acknowledged entry is held: else `lost`.
 * NL2  An entry that was acknowledged with its place stands there and nowhere else: else `moved`.
 * NL3  Two entries don't stand in one place where places are unique: else `shared-place`.
 */
import { type Finding, type History, placeOf } from "./history.ts";

export interface HeldEntry {
  /** The log, the entity or whatever holds entries. */
  readonly key: string;
  readonly id: string;
  /** The sequence; null where none is known. */
  readonly place: number | null;
}

export interface AcknowledgedOptions {
  /** Several entries may share a place, as the commands of one batch do. */
  readonly sharesPlaces?: boolean;
}

/** `held`: everything that is there at the end. An `ok` output is the place that was acknowledged, or null. */
export function checkAcknowledged(
  history: History<{ readonly key: string; readonly id: string }, number | null>,
  held: Iterable<HeldEntry>,
  { sharesPlaces = false }: AcknowledgedOptions = {},
): readonly Finding[] {
  const findings: Finding[] = [];
  const entries = new Map<string, HeldEntry[]>();
  const places = new Map<string, HeldEntry>();
  for (const entry of held) {
    const name = JSON.stringify([entry.key, entry.id]);
    entries.set(name, [...(entries.get(name) ?? []), entry]);
    if (sharesPlaces || entry.place === null) continue;
    const place = JSON.stringify([entry.key, entry.place]);
    const other = places.get(place);
    places.set(place, entry);
    if (other === undefined) continue;
    const explanation = `${other.id} and ${entry.id} both stand at ${entry.place} of ${entry.key}.`;
    findings.push({ anomaly: "shared-place", explanation });
  }
  for (const operation of history) {
    const { input, outcome } = operation;
    if (outcome.kind !== "ok") continue;
    const found = entries.get(JSON.stringify([input.key, input.id])) ?? [];
    const what = `${input.id} of ${input.key} was acknowledged to ${placeOf(operation)}`;
    if (found.length === 0) findings.push({ anomaly: "lost", explanation: `${what}, and is not there.` });
    const expected = outcome.output;
    const wrong = found.find(({ place }) => expected !== null && place !== null && place !== expected);
    if (wrong === undefined) continue;
    const explanation = `${what} at ${expected}, and stands at ${wrong.place}.`;
    findings.push({ anomaly: "moved", explanation });
  }
  return findings;
}
