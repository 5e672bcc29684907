/**
 * Reading a whole log with distrust: which segments there must be, what each must hold, and where the log ends. Changes
 * nothing; `recovery.ts` acts on it, `verify.ts` reports it. Whatever is wrong is thrown as `damaged`, with its place.
 */
import { equalBytes } from "../../../base/bytes.ts";
import { OnefoldError } from "../../../base/errors.ts";
import type { Disk, DiskFile } from "../../../host/host.ts";
import { type ChainLink, chainFault, equalPositions } from "../../chain.ts";
import { damagedLog } from "../../damage.ts";
import type { LogPosition } from "../../log.ts";
import type { LogRecord } from "../../record.ts";
import type { AnchorState } from "./anchors.ts";
import {
  decodeFrameHeader,
  decodeSegmentHeader,
  parseSegmentFileName,
  sectorBytes,
  segmentFileName,
  segmentFormatVersion,
  segmentHeaderBytes,
} from "./format.ts";
import { FrameReader, isZero, makeSegment, readRecord, type Segment, walkBytes, withFile } from "./segment.ts";

/** Names of the segment files in a listing, in order of their sequences. */
export function segmentNames(names: readonly string[]): readonly string[] {
  return names.filter((name) => parseSegmentFileName(name) !== undefined).sort();
}

/**
 * Reads the headers of all segments from `firstSequence` on and checks that they fit together: none is missing in between,
 * none has another size or belongs to another log. Segments before `firstSequence` are ignored: a trim has given them up.
 */
export async function readSegments(
  disk: Disk,
  directory: string,
  names: readonly string[],
  firstSequence: number,
): Promise<Segment[]> {
  const segments: Segment[] = [];
  for (const name of segmentNames(names)) {
    if (parseSegmentFileName(name)! < firstSequence) continue;
    const segment = await readSegment(disk, directory, name);
    const fault = segmentFault(segments.at(-1), segment, firstSequence);
    if (fault !== undefined) throw damagedLog({ file: name, offset: 0, ...fault });
    segments.push(segment);
  }
  if (segments.length > 0 || firstSequence === 1) return segments;
  const reason = "the segment is missing";
  throw damagedLog({ file: segmentFileName(firstSequence), offset: 0, sequence: firstSequence, reason });
}

async function readSegment(disk: Disk, directory: string, name: string): Promise<Segment> {
  const path = `${directory}/${name}`;
  const { bytes, sizeBytes } = await withFile(disk, path, async (file) => ({
    bytes: await file.read(0, segmentHeaderBytes),
    sizeBytes: await file.size(),
  }));
  const decoded = decodeSegmentHeader(bytes);
  if (decoded.kind === "newer") {
    throw new OnefoldError("unsupported-version", `${name} needs format ${decoded.neededVersion}. Upgrade Onefold.`, {
      details: { file: name, neededVersion: decoded.neededVersion, supportedVersion: segmentFormatVersion },
    });
  }
  const sequence = parseSegmentFileName(name);
  if (decoded.kind === "bad") throw damagedLog({ file: name, offset: 0, sequence, reason: decoded.reason });
  const { header } = decoded;
  if (header.firstSequence !== sequence) {
    const reason = `the file's name and its header differ: it starts with record ${header.firstSequence}`;
    throw damagedLog({ file: name, offset: 16, sequence, reason });
  }
  if (sizeBytes !== header.segmentBytes) {
    const reason = `the file has ${sizeBytes} bytes instead of ${header.segmentBytes}`;
    throw damagedLog({ file: name, offset: Math.min(sizeBytes, header.segmentBytes), sequence, reason });
  }
  return makeSegment(directory, name, header);
}

function segmentFault(
  previous: Segment | undefined,
  segment: Segment,
  firstSequence: number,
): { readonly sequence: number; readonly reason: string } | undefined {
  const { header } = segment;
  const sequence = header.firstSequence;
  if (previous === undefined) {
    if (sequence === firstSequence) return undefined;
    return { sequence: firstSequence, reason: `the segment that starts with record ${firstSequence} is missing` };
  }
  if (!equalBytes(header.incarnation, previous.header.incarnation)) {
    return { sequence, reason: "the segment belongs to another incarnation of the log" };
  }
  if (header.previousFirstSequence === previous.header.firstSequence) return undefined;
  const missing = header.previousFirstSequence;
  return { sequence: missing, reason: `the segment that starts with record ${missing} is missing before this one` };
}

// ------------------------------------------------------------------------------------------------------------- frames

/** Where a segment's records stop. */
export interface SegmentEnd {
  /** The last record, in this segment or before it; null where there is none. */
  readonly link: ChainLink | null;
  readonly lastFrameOffset: number | undefined;
  /** Where the next frame would start. */
  readonly offset: number;
  /** Bytes of a torn frame that starts there; 0 where its first sector is zero. */
  readonly tornBytes: number;
}

export interface WalkOptions {
  readonly onRecord?: (record: LogRecord, segment: Segment, offset: number) => void;
  readonly checkPadding?: boolean;
}

/**
 * Verifies all records of a segment. With `next`, the segment after it, every record up to that one's first must be there;
 * without, the segment is the log's last and may end anywhere.
 */
export async function walkSegment(
  file: DiskFile,
  segment: Segment,
  next: Segment | undefined,
  options: WalkOptions = {},
): Promise<SegmentEnd> {
  const reader = new FrameReader(file, segment);
  let link = segment.header.before;
  let lastFrameOffset: number | undefined;
  while (next === undefined || (link?.sequence ?? 0) < next.header.firstSequence - 1) {
    const step = await reader.next(options);
    if (step.kind === "frame") {
      const fault = chainFault(link, step.record) ?? incarnationFault(segment, step.record);
      if (fault !== undefined) {
        throw damagedLog({ file: segment.name, offset: step.offset, sequence: step.record.sequence, reason: fault });
      }
      link = step.record;
      lastFrameOffset = step.offset;
      segment.index.note(link.sequence, step.offset);
      options.onRecord?.(step.record, segment, step.offset);
      continue;
    }
    const sequence = (link?.sequence ?? 0) + 1;
    if (step.kind === "bad") {
      const { offset, reason, cause } = step;
      throw damagedLog({ file: segment.name, offset, sequence: step.sequence ?? sequence, reason }, cause);
    }
    if (next !== undefined) {
      const reason = `records ${sequence} to ${next.header.firstSequence - 1} are missing`;
      throw damagedLog({ file: segment.name, offset: step.offset, sequence, reason });
    }
    if (step.kind === "torn" && step.sequence !== sequence) {
      const reason = `an unfinished record ${step.sequence} stands where record ${sequence} belongs`;
      throw damagedLog({ file: segment.name, offset: step.offset, sequence, reason });
    }
    return { link, lastFrameOffset, offset: step.offset, tornBytes: step.kind === "torn" ? step.frameBytes : 0 };
  }
  checkSuccession(link, next);
  return { link, lastFrameOffset, offset: reader.offset, tornBytes: 0 };
}

function incarnationFault(segment: Segment, record: LogRecord): string | undefined {
  if (equalBytes(segment.header.incarnation, record.incarnation)) return undefined;
  return "the record belongs to another incarnation than its segment";
}

function checkSuccession(link: ChainLink | null, next: Segment): void {
  const { before } = next.header;
  if (link !== null && before !== null && equalPositions(link, before) && link.timeMs === before.timeMs) return;
  const sequence = next.header.firstSequence;
  throw damagedLog({ file: next.name, offset: 48, sequence, reason: "the segment does not follow the one before it" });
}

// --------------------------------------------------------------------------------------------------------------- tail

/** What was found after the end of the log, where all should be zeros. */
export interface UnusedSpace {
  /** The end of the last sector that isn't zeros; the log's end where all are. */
  readonly usedUntil: number;
}

/**
 * Looks through the space after the log's end. A torn append leaves sectors there that are no frame of their own; a later
 * frame proves that the record at the end was once acknowledged and has since been lost, which is thrown as `damaged`.
 */
export async function scanUnusedSpace(file: DiskFile, segment: Segment, end: SegmentEnd): Promise<UnusedSpace> {
  const nextSequence = (end.link?.sequence ?? 0) + 1;
  let usedUntil = end.offset + end.tornBytes;
  for (let at = usedUntil; at < segment.header.segmentBytes; at += walkBytes) {
    const bytes = await file.read(at, Math.min(walkBytes, segment.header.segmentBytes - at));
    if (isZero(bytes)) continue;
    for (let inside = 0; inside < bytes.length; inside += sectorBytes) {
      const sector = bytes.subarray(inside, inside + sectorBytes);
      if (isZero(sector)) continue;
      usedUntil = at + inside + sector.length;
      const later = decodeFrameHeader(sector, segment.saltCrc);
      if (later === undefined || later.sequence < nextSequence) continue;
      const reason = `the record is gone, yet record ${later.sequence} stands after it at byte ${at + inside}`;
      throw damagedLog({ file: segment.name, offset: end.offset, sequence: nextSequence, reason });
    }
  }
  return { usedUntil };
}

// ---------------------------------------------------------------------------------------------------------- positions

/** A position that the log must hold, and who says so. */
export interface Demand {
  readonly position: LogPosition;
  readonly source: string;
}

export function demandsOf(anchors: AnchorState, positions: readonly LogPosition[]): Demand[] {
  const demands = positions.map((position) => ({ position, source: "a snapshot or the store" }));
  return anchors.anchor === null ? demands : [...demands, { position: anchors.anchor, source: "the log's anchor" }];
}

/**
 * Checks that the log holds every position at its sequence (G8). Those that were trimmed can't be checked and pass.
 * `seen` has what a walk has already verified; other records are read one by one.
 */
export async function checkDemands(
  disk: Disk,
  segments: readonly Segment[],
  end: { readonly link: ChainLink | null; readonly file: string; readonly offset: number },
  demands: readonly Demand[],
  seen: ReadonlyMap<number, LogPosition>,
): Promise<void> {
  for (const { position, source } of demands) {
    const { sequence } = position;
    if (end.link === null || sequence > end.link.sequence) {
      const last = end.link?.sequence ?? 0;
      const reason = `the log ends with record ${last}, yet ${source} has seen record ${sequence}: acknowledged records are lost or the log was rolled back`;
      throw damagedLog({ file: end.file, offset: end.offset, sequence, reason });
    }
    const segment = segments.findLast((each) => each.header.firstSequence - 1 <= sequence);
    if (segment === undefined) continue;
    const held = seen.get(sequence) ?? (await heldAt(disk, segment, sequence));
    if (held !== undefined && equalPositions(held, position)) continue;
    if (held === undefined) continue;
    const reason = `the record is not the one that ${source} has seen: the log was replaced or forked`;
    throw damagedLog({ file: segment.name, offset: 0, sequence, reason });
  }
}

async function heldAt(disk: Disk, segment: Segment, sequence: number): Promise<LogPosition | undefined> {
  const { before } = segment.header;
  if (sequence === segment.header.firstSequence - 1) return before ?? undefined;
  return withFile(disk, segment.path, (file) => readRecord(file, segment, sequence));
}
