/**
 * Verifying a log that nobody has open: every byte of every record, the chain from the first to the last, the anchors, and
 * the space that must be empty. Changes nothing. Names the first bad place.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Disk } from "../host/host.ts";
import { type LogDamage, damagedLog, damageOf, reasonOf } from "./damage.ts";
import { decodeAnchorFile, decodeUnfinishedAnchorFile } from "./engine/segment/anchors.ts";
import { anchorFileName, frameBytesMax } from "./engine/segment/format.ts";
import { type Segment, withFile } from "./engine/segment/segment.ts";
import {
  checkDemands,
  demandsOf,
  readSegments,
  type SegmentEnd,
  scanUnusedSpace,
  segmentNames,
  walkSegment,
} from "./engine/segment/walk.ts";
import type { LogPosition } from "./log.ts";
import { positionOf } from "./record.ts";

export interface VerifyProgress {
  /** Bytes of segments verified so far, and of all that there are. */
  readonly bytes: number;
  readonly bytesTotal: number;
  readonly records: number;
}

export interface VerifyOptions {
  readonly disk: Disk;
  readonly directory: string;
  /** Positions that the log must hold besides its anchor: the store's and the snapshots'. */
  readonly verifiedThrough?: readonly LogPosition[];
  /** Called after every segment and about once for every MiB of records. */
  readonly onProgress?: (progress: VerifyProgress) => void;
}

export interface LogReport {
  /** The first bad place; null for a log that is whole. */
  readonly damage: LogDamage | null;
  readonly segmentCount: number;
  /** Records that were verified, up to the bad place if there is one. */
  readonly recordCount: number;
  readonly recordBytes: number;
  /** The lowest sequence that the log still holds. */
  readonly firstSequence: number;
  /** The last record that was verified; null where there is none. */
  readonly end: LogPosition | null;
  /** The last record is a seal: nobody appends behind it who doesn't know what became of what it was made for. */
  readonly isSealed: boolean;
  readonly anchor: LogPosition | null;
  /** What an append left behind that a crash cut short; the next start removes it. No damage. */
  readonly unfinished: { readonly file: string; readonly offset: number; readonly bytes: number } | null;
  /** What is not as it should be, yet harms nothing. */
  readonly warnings: readonly LogDamage[];
}

const progressBytes = 1024 * 1024;

/**
 * Verifies the segment log in `directory`, which must not change meanwhile: the caller holds its lock. Damage is reported,
 * not thrown. Throws `unsupported-version` (retry `never`) for what only a newer version can judge, and `DiskError` where
 * a directory can't be listed.
 */
export async function verifyLog(options: VerifyOptions): Promise<LogReport> {
  const verification = new Verification(options);
  return verification.run();
}

class Verification {
  readonly #options: VerifyOptions;
  #segments: readonly Segment[] = [];
  #anchor: LogPosition | null = null;
  #firstSequence = 1;
  #end: LogPosition | null = null;
  #isSealed = false;
  #recordCount = 0;
  #recordBytes = 0;
  #bytes = 0;
  #unfinished: LogReport["unfinished"] = null;
  readonly #warnings: LogDamage[] = [];

  constructor(options: VerifyOptions) {
    this.#options = options;
  }

  async run(): Promise<LogReport> {
    let damage: LogDamage | null = null;
    try {
      await this.#verify();
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
      damage = damageOf(error) ?? { file: "", offset: 0, sequence: undefined, reason: reasonOf(error) };
    }
    return {
      damage,
      segmentCount: this.#segments.length,
      recordCount: this.#recordCount,
      recordBytes: this.#recordBytes,
      firstSequence: this.#firstSequence,
      end: this.#end,
      isSealed: this.#isSealed,
      anchor: this.#anchor,
      unfinished: this.#unfinished,
      warnings: this.#warnings,
    };
  }

  async #verify(): Promise<void> {
    const { disk, directory } = this.#options;
    const names = await disk.list(directory);
    const hasSegments = segmentNames(names).length > 0;
    if (names.includes(anchorFileName)) await this.#readAnchors(hasSegments);
    else if (hasSegments) {
      throw damagedLog({ file: anchorFileName, offset: 0, sequence: undefined, reason: "the file is missing" });
    }
    this.#segments = await readSegments(disk, directory, names, this.#firstSequence);
    const demands = demandsOf(
      { anchor: this.#anchor, firstSequence: this.#firstSequence },
      this.#options.verifiedThrough ?? [],
    );
    const wanted = new Set(demands.map(({ position }) => position.sequence));
    const seen = new Map<number, LogPosition>();
    let last = { file: anchorFileName, offset: 0 };
    for (const [index, segment] of this.#segments.entries()) {
      const end = await this.#verifySegment(segment, this.#segments[index + 1], (position) => {
        if (wanted.has(position.sequence)) seen.set(position.sequence, position);
      });
      last = { file: segment.name, offset: end.offset };
    }
    const link = this.#end === null ? null : { ...this.#end, timeMs: 0 };
    await checkDemands(disk, this.#segments, { link, ...last }, demands, seen);
  }

  async #readAnchors(hasSegments: boolean): Promise<void> {
    const { disk, directory } = this.#options;
    const bytes = await withFile(disk, `${directory}/${anchorFileName}`, async (file) =>
      file.read(0, await file.size()),
    );
    // Without a segment the file may be half-made: the next start makes it again.
    const content = hasSegments ? decodeAnchorFile(bytes) : decodeUnfinishedAnchorFile(bytes);
    if (content === undefined) return;
    const { slot, badOffset } = content;
    this.#anchor = slot.anchor;
    this.#firstSequence = slot.firstSequence;
    if (badOffset === undefined) return;
    const reason = "one of the two anchors is damaged; the other one is good and is used";
    this.#warnings.push({ file: anchorFileName, offset: badOffset, sequence: undefined, reason });
  }

  async #verifySegment(
    segment: Segment,
    next: Segment | undefined,
    onPosition: (position: LogPosition) => void,
  ): Promise<SegmentEnd> {
    let reported = 0;
    this.#end ??= segment.header.before === null ? null : positionOf(segment.header.before);
    return withFile(this.#options.disk, segment.path, async (file) => {
      const end = await walkSegment(file, segment, next, {
        checkPadding: true,
        onRecord: (record, _segment, offset) => {
          this.#recordCount++;
          this.#recordBytes += record.bytes.length;
          this.#end = positionOf(record);
          this.#isSealed = record.kind === "seal";
          onPosition(this.#end);
          if (offset - reported < progressBytes) return;
          reported = offset;
          this.#report(this.#bytes + offset);
        },
      });
      const { usedUntil } = await scanUnusedSpace(file, segment, end);
      if (usedUntil > end.offset) this.#leftOver(segment, next, end, usedUntil);
      this.#bytes += segment.header.segmentBytes;
      this.#report(this.#bytes);
      return end;
    });
  }

  #leftOver(segment: Segment, next: Segment | undefined, end: SegmentEnd, usedUntil: number): void {
    if (next === undefined && usedUntil <= end.offset + frameBytesMax) {
      this.#unfinished = { file: segment.name, offset: end.offset, bytes: usedUntil - end.offset };
      return;
    }
    const reason = "space that should be zeros holds bytes that are no record";
    this.#warnings.push({ file: segment.name, offset: end.offset, sequence: undefined, reason });
  }

  #report(bytes: number): void {
    let bytesTotal = 0;
    for (const segment of this.#segments) bytesTotal += segment.header.segmentBytes;
    this.#options.onProgress?.({ bytes, bytesTotal, records: this.#recordCount });
  }
}
