/**
 * Opening a log: verify what must be verified, and only then tidy what a crash left behind.
 *
 * V1  Nothing is changed before every check has passed: damage is evidence, and evidence is kept.
 * V2  A torn append is cut off only if no anchor, no caller and no later frame knows of its record.
 * V3  What recovery found is made durable again before it is built on. After a failed sync the cache may show bytes that the
 *     disk doesn't have, and no later sync brings them there; so the last frame and the zeros after it are rewritten, and the
 *     directory is synced.
 * V4  Recovery can crash anywhere and be run again.
 */
import { OnefoldError } from "../../../base/errors.ts";
import type { Disk, Trace } from "../../../host/host.ts";
import type { ChainLink } from "../../chain.ts";
import { damagedLog } from "../../damage.ts";
import type { LogPosition } from "../../log.ts";
import { AnchorFile, decodeUnfinishedAnchorFile } from "./anchors.ts";
import { anchorFileName, frameBytesMax, parseSegmentFileName, segmentHeaderBytes } from "./format.ts";
import { type Segment, walkBytes, withFile } from "./segment.ts";
import {
  checkDemands,
  demandsOf,
  readSegments,
  type SegmentEnd,
  scanUnusedSpace,
  segmentNames,
  walkSegment,
} from "./walk.ts";

export interface RecoveryOptions {
  readonly disk: Disk;
  readonly trace: Trace;
  readonly directory: string;
  readonly verifiedThrough: readonly LogPosition[];
  readonly verifyFromSequence: number;
}

export interface RecoveredLog {
  readonly anchors: AnchorFile;
  /** In order; empty for a log without a genesis. */
  readonly segments: Segment[];
  readonly end: ChainLink | null;
  /** Where the next frame goes in the last segment. */
  readonly tailOffset: number;
}

/** Throws `damaged` or `unsupported-version` (retry `never`), or `DiskError`. */
export async function recoverLog(options: RecoveryOptions): Promise<RecoveredLog> {
  const { disk, directory, trace } = options;
  const names = await disk.list(directory);
  if (segmentNames(names).length === 0) return createLog(options, names);
  if (!names.includes(anchorFileName)) {
    throw damagedLog({ file: anchorFileName, offset: 0, sequence: undefined, reason: "the file is missing" });
  }
  const anchors = await AnchorFile.open(disk, directory, trace);
  try {
    return await recoverSegments(options, names, anchors);
  } catch (error) {
    await anchors.close();
    throw error;
  }
}

/** There are no segments: a new log, unless somebody remembers an old one. */
async function createLog(options: RecoveryOptions, names: readonly string[]): Promise<RecoveredLog> {
  const { disk, directory } = options;
  if (names.includes(anchorFileName)) {
    const bytes = await withFile(disk, `${directory}/${anchorFileName}`, async (file) =>
      file.read(0, await file.size()),
    );
    const content = decodeUnfinishedAnchorFile(bytes);
    if (content !== undefined) await checkEmptyLog(options, content.slot);
  }
  await checkEmptyLog(options, { anchor: null, firstSequence: 1 });
  await makeDirectories(disk, directory);
  return { anchors: await AnchorFile.create(disk, directory), segments: [], end: null, tailOffset: 0 };
}

async function checkEmptyLog(
  options: RecoveryOptions,
  state: { readonly anchor: LogPosition | null; readonly firstSequence: number },
): Promise<void> {
  await readSegments(options.disk, options.directory, [], state.firstSequence);
  const demands = demandsOf(state, options.verifiedThrough);
  await checkDemands(options.disk, [], { link: null, file: anchorFileName, offset: 0 }, demands, new Map());
}

/** Makes a directory, whose name is durable at return, and those on the way to it. Throws `DiskError`. */
export async function makeDirectories(disk: Disk, directory: string): Promise<void> {
  await disk.makeDirectory(directory);
  const parts = directory.split("/");
  for (let depth = parts.length - 1; depth >= 0; depth--) await disk.syncDirectory(parts.slice(0, depth).join("/"));
}

async function recoverSegments(
  options: RecoveryOptions,
  names: readonly string[],
  anchors: AnchorFile,
): Promise<RecoveredLog> {
  const { disk, directory } = options;
  const segments = await readSegments(disk, directory, names, anchors.state.firstSequence);
  const demands = demandsOf(anchors.state, options.verifiedThrough);
  const wanted = new Set(demands.map(({ position }) => position.sequence));
  const seen = new Map<number, LogPosition>();
  const onRecord = (record: LogPosition): void => {
    if (wanted.has(record.sequence)) seen.set(record.sequence, record);
  };
  const start = segments.findLastIndex(({ header }) => header.firstSequence <= options.verifyFromSequence);
  let tail: { readonly end: SegmentEnd; readonly usedUntil: number } | undefined;
  for (let i = Math.max(0, start); i < segments.length; i++) {
    const segment = segments[i]!;
    tail = await withFile(disk, segment.path, async (file) => {
      const end = await walkSegment(file, segment, segments[i + 1], { onRecord });
      const { usedUntil } = i + 1 < segments.length ? { usedUntil: 0 } : await scanUnusedSpace(file, segment, end);
      return { end, usedUntil };
    });
  }
  const last = segments.at(-1)!;
  const { end, usedUntil } = tail!;
  await checkDemands(disk, segments, { link: end.link, file: last.name, offset: end.offset }, demands, seen);

  // All is verified; from here on things are changed (V1).
  await anchors.refresh();
  await settleNames(options, names, anchors.state.firstSequence);
  if (end.link === null) {
    // The segment was begun for a genesis that nobody ever saw. Another genesis has another incarnation: begin again.
    await disk.remove(last.path);
    await disk.syncDirectory(directory);
    return { anchors, segments: [], end: null, tailOffset: 0 };
  }
  await rewriteTail(options, last, end, usedUntil);
  return { anchors, segments, end: end.link, tailOffset: end.offset };
}

/** Removes the segments that a trim gave up and a crash kept, and makes the names that were seen durable (V3). */
async function settleNames(options: RecoveryOptions, names: readonly string[], firstSequence: number): Promise<void> {
  const given = segmentNames(names).filter((name) => parseSegmentFileName(name)! < firstSequence);
  for (const name of given) await options.disk.remove(`${options.directory}/${name}`);
  await options.disk.syncDirectory(options.directory);
}

/** Makes the end of the log durable as it was read: the last frame, then zeros as far as an append can reach (V3). */
async function rewriteTail(
  options: RecoveryOptions,
  segment: Segment,
  end: SegmentEnd,
  usedUntil: number,
): Promise<void> {
  if (usedUntil > end.offset) traceCut(options.trace, segment, end, usedUntil);
  const { segmentBytes } = segment.header;
  const clearUntil = Math.min(segmentBytes, Math.max(usedUntil, end.offset + frameBytesMax));
  await withFile(options.disk, segment.path, async (file) => {
    const from = end.lastFrameOffset ?? segmentHeaderBytes;
    const frame = await file.read(from, end.offset - from);
    if (frame.length !== end.offset - from) {
      throw new OnefoldError("internal", "A segment changed while it was recovered.");
    }
    if (frame.length > 0) await file.writeDurable(from, frame);
    for (let at = end.offset; at < clearUntil; at += walkBytes) {
      await file.writeDurable(at, new Uint8Array(Math.min(walkBytes, clearUntil - at)));
    }
  });
}

function traceCut(trace: Trace, segment: Segment, end: SegmentEnd, usedUntil: number): void {
  const fields = { file: segment.name, offset: end.offset, bytes: usedUntil - end.offset };
  if (usedUntil <= end.offset + frameBytesMax) {
    trace("info", "An append that a crash cut short, and that was never acknowledged, was removed.", fields);
  } else {
    trace("warn", "Unused space of the log held bytes that are no record. They were cleared; check the disk.", fields);
  }
}
