/**
 * Making the log of a directory at once, with its first record in it or none yet: for logs that continue another one, whose place is
 * only given to them when everything is durable, and for copies that begin in the middle of a log.
 *
 * N1  What is made is a log as the engine makes it, trimmed up to its first record; that record's predecessor, which the
 *     log doesn't hold, stands in the segment's header and is held against everybody who remembers it (G8).
 * N2  At return all of it is durable, but for the directory's own name. Before, nothing of it may be opened.
 */
import { assert } from "../../../base/assert.ts";
import { limits } from "../../../base/limits.ts";
import type { Disk, Random } from "../../../host/host.ts";
import { type ChainLink, chainFault } from "../../chain.ts";
import { decodeRecord, type LogRecord, positionOf } from "../../record.ts";
import { AnchorFile } from "./anchors.ts";
import {
  encodeSegmentHeader,
  FrameEncoder,
  saltBytes,
  saltChecksum,
  segmentFileName,
  segmentHeaderBytes,
} from "./format.ts";

export interface BeginningOptions {
  readonly disk: Disk;
  readonly random: Random;
  /** Exists and is empty. */
  readonly directory: string;
  /** Of the first segment; default `shortSegmentBytes`. */
  readonly segmentBytes?: number;
  /** What the first record stands behind: of the new incarnation, at the end of the log that is continued. */
  readonly before: ChainLink;
  /** The encoded first record, a genesis. Absent: whatever follows `before` in its log is appended later. */
  readonly record?: Uint8Array;
}

/** Throws `DiskError`; whatever was made by then is worthless. */
export async function beginSegmentLog(options: BeginningOptions): Promise<void> {
  const { disk, random, directory, before } = options;
  const record = options.record === undefined ? undefined : genesisBehind(before, options.record);
  const firstSequence = before.sequence + 1;
  const header = {
    // A short one: where the disk is full, a log can still be begun, and the engine makes the next one as large as it likes.
    segmentBytes: options.segmentBytes ?? limits.shortSegmentBytes,
    firstSequence,
    previousFirstSequence: 0,
    incarnation: before.incarnation,
    before,
    salt: random.bytes(saltBytes),
  };
  const segment = new Uint8Array(header.segmentBytes);
  segment.set(encodeSegmentHeader(header), 0);
  if (record !== undefined) {
    const frame = new FrameEncoder().encode(record.bytes, record.sequence, saltChecksum(header.salt));
    segment.set(frame, segmentHeaderBytes);
  }
  const file = await disk.open(`${directory}/${segmentFileName(firstSequence)}`, { create: "new" });
  try {
    await file.write(0, segment);
    await file.sync();
  } finally {
    await file.close();
  }
  // Syncs the directory, so the segment's name is durable, too.
  const anchors = await AnchorFile.create(disk, directory);
  try {
    await anchors.trim(firstSequence);
    await anchors.anchor(positionOf(record ?? before));
  } finally {
    await anchors.close();
  }
}

function genesisBehind(before: ChainLink, bytes: Uint8Array): LogRecord {
  const record = decodeRecord(bytes);
  assert(record.kind === "genesis", "a log begins with a genesis");
  const fault = chainFault(before, record);
  assert(fault === undefined, `a log begins where it continues another one: ${fault}`);
  return record;
}
