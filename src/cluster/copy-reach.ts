/**
 * How far a node's copy of a log reaches, and how much of that says more than who owned it. Claims, releases and seals may stand on a log that
 * has lost what was acknowledged, and reach farther than a copy that has it all (hazard 1); so what counts for a repair, and for who may
 * leave, is the last record with content.
 */
import type { SegmentLog } from "../log/engine/segment/engine.ts";
import type { LogPosition } from "../log/log.ts";
import type { RecordKind } from "../log/record.ts";

export interface ContentPlace {
  readonly sequence: number;
  /** Of the record there; undefined where it has been trimmed from the copy, with all that is before it. */
  readonly hash: Uint8Array | undefined;
}

export interface CopyReach {
  readonly end: LogPosition;
  /** The last record of the copy that is neither a claim, a release nor a seal. */
  readonly content: ContentPlace;
}

/** Whether a record says more than who owns the log. */
export function hasContent(kind: RecordKind): boolean {
  return kind !== "claim" && kind !== "release" && kind !== "seal";
}

/** Reads back from the copy's end. Null for an empty copy. Throws as `read` does. */
export async function reachOf(copy: SegmentLog): Promise<CopyReach | null> {
  const { end, firstSequence } = copy;
  if (end === null) return null;
  for (let sequence = end.sequence; sequence >= firstSequence; sequence--) {
    const record = await copy.read(sequence);
    if (record !== undefined && hasContent(record.kind)) {
      return { end, content: { sequence, hash: record.hash } };
    }
  }
  return { end, content: { sequence: firstSequence - 1, hash: undefined } };
}

/** Positive where `a` has more of a log than `b`: by content, then by length. */
export function compareReaches(
  a: { readonly contentSequence: number; readonly sequence: number },
  b: { readonly contentSequence: number; readonly sequence: number },
): number {
  return a.contentSequence - b.contentSequence || a.sequence - b.sequence;
}
