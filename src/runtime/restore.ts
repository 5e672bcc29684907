/**
 * Restoring a backup into an empty data directory: all of it, verified, or nothing.
 *
 * R1  Nothing is put in its place before the whole backup has been read and verified, and what was made of it read back. Whatever
 *     ends a restore before that (damage, a full disk, a crash) leaves a directory that nobody mistakes for data.
 * R2  The state is the backup's, byte for byte: sessions' outcomes, idempotency keys, outbox, inbox and timers with it, so
 *     exactly once goes on.
 * R3  The log is a new incarnation, which goes on from the backup's numbers. Its first record cites (incarnation, epoch,
 *     sequence, hash) of the one that the backup was taken of.
 */
import { BackupContents, clusterBackup } from "../backup/contents.ts";
import { BackupDecoder, type WholeBackup } from "../backup/decoder.ts";
import type { BackupSummary } from "../backup/summary.ts";
import { OnefoldError } from "../base/errors.ts";
import { DiskError, type Host } from "../host/host.ts";
import { beginSegmentLog } from "../log/engine/segment/beginning.ts";
import type { LogPosition } from "../log/log.ts";
import { incarnationBytes, positionOf } from "../log/record.ts";
import { verifyLog } from "../log/verify.ts";
import { type Blobs, openDiskBlobs } from "../store/blobs.ts";
import { encodeManifest, type Manifest, piecesOf, publishNewest } from "../store/manifest.ts";
import { verifySnapshot } from "../store/snapshot.ts";
import { dataLayout } from "./data-layout.ts";
import { continuingGenesis } from "../entity/genesis.ts";
import { clearRestorePlace, makeRestorePlace, restorePlace, takeRestorePlace } from "./restore-place.ts";

export interface RestoreProgress {
  /** `reading` the backup, then `verifying` what was made of it. */
  readonly step: "reading" | "verifying";
  /** Bytes of the backup so far, or of pieces. */
  readonly bytes: number;
  /** Where it is known. */
  readonly bytesTotal: number | undefined;
}

export interface RestoreOptions {
  /** Its disk's root is the directory that is to become the data directory. */
  readonly host: Pick<Host, "disk" | "clock" | "random" | "timers" | "trace">;
  /** The backup, in chunks of any size. Read only as fast as it is written. */
  readonly backup: AsyncIterable<Uint8Array>;
  /** Of the backup, where it is known. */
  readonly sizeBytes?: number;
  readonly onProgress?: (progress: RestoreProgress) => void;
}

export interface RestoreReport {
  readonly systemName: string;
  readonly takenAtMs: number;
  readonly sizeBytes: number;
  /** What was backed up. */
  readonly parent: LogPosition;
  /** The first record of the new incarnation. */
  readonly begin: LogPosition;
}

/**
 * At return the directory is a whole data directory, durably. Throws `damaged` and `unsupported-version` (retry never) for the
 * backup, with the part in its `details`; `invalid-configuration` (never) for a directory that is not empty,
 * `data-directory-busy` and `disk-full` (safe), `DiskError`, and what reading `backup` throws. The directory is then as empty as
 * it was (R1).
 */
export async function restoreBackup(options: RestoreOptions): Promise<RestoreReport> {
  const { disk, trace } = options.host;
  const lock = await lockPlace(options);
  try {
    await makeRestorePlace(disk);
    try {
      return await restore(options);
    } catch (error) {
      await clearRestorePlace(disk).catch((cause: unknown) => {
        trace("warn", "What a failed restore has left could not be removed. Delete the data directory.", { cause });
      });
      throw error;
    }
  } catch (error) {
    if (!(error instanceof DiskError) || error.code !== "full") throw error;
    const message = "There is no room on the disk for what is in the backup. Nothing was restored.";
    throw new OnefoldError("disk-full", message, { cause: error });
  } finally {
    await lock.release();
  }
}

/**
 * Reads all of a backup and verifies every part, and that they make one snapshot; keeps nothing. Throws `damaged` and
 * `unsupported-version` (retry never), and what reading `backup` throws.
 */
export async function verifyBackup(
  backup: AsyncIterable<Uint8Array>,
  onProgress: (bytes: number) => void = () => undefined,
): Promise<WholeBackup> {
  const decoder = new BackupDecoder();
  const contents = new BackupContents();
  for await (const chunk of backup) {
    for (const blob of decoder.push(chunk)) contents.note(blob);
    onProgress(decoder.sizeBytes);
  }
  const whole = decoder.end();
  contents.manifests(whole);
  return whole;
}

async function restore(options: RestoreOptions): Promise<RestoreReport> {
  const { disk, random, clock } = options.host;
  const blobs = await openDiskBlobs({ disk, directory: restorePlace.snapshots });
  const { whole, manifest, summary } = await readInto(blobs, options);
  const { header, sizeBytes } = whole;
  await verifyPieces(blobs, manifest, options);

  const parent = positionOf(summary.position);
  const before = { ...summary.position, incarnation: random.bytes(incarnationBytes) };
  const { record, link } = continuingGenesis(summary.genesis, parent, before, clock);
  const position = positionOf(before);
  await publishNewest(blobs, [await blobs.put(encodeManifest({ ...manifest, position }))]);
  await blobs.delete(summary.manifest);
  await beginSegmentLog({ disk, random, directory: restorePlace.log, before, record: record.bytes });
  const { damage } = await verifyLog({ disk, directory: restorePlace.log, verifiedThrough: [position] });
  if (damage !== null) {
    throw new OnefoldError("damaged", `What was written can't be read back: ${damage.reason}. Check the disk.`, {
      details: damage,
    });
  }
  await takeRestorePlace(disk);
  return { systemName: summary.systemName, takenAtMs: header.takenAtMs, sizeBytes, parent, begin: positionOf(link) };
}

async function readInto(
  blobs: Blobs,
  options: RestoreOptions,
): Promise<{ readonly whole: WholeBackup; readonly manifest: Manifest; readonly summary: BackupSummary }> {
  const { backup, sizeBytes: bytesTotal, onProgress } = options;
  const decoder = new BackupDecoder();
  const contents = new BackupContents();
  for await (const chunk of backup) {
    for (const blob of decoder.push(chunk)) {
      if (blob.kind === "manifest") throw clusterBackup();
      contents.note(blob);
      await blobs.put(blob.content);
    }
    onProgress?.({ step: "reading", bytes: decoder.sizeBytes, bytesTotal });
  }
  const whole = decoder.end();
  return { whole, ...contents.manifest(whole) };
}

/** R1: what is on the disk now is what the manifest names, in the order and place that it says. */
async function verifyPieces(blobs: Blobs, manifest: Manifest, options: RestoreOptions): Promise<void> {
  const { timers } = options.host;
  const bytesTotal = piecesOf(manifest).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let bytes = 0;
  const counting: Pick<Blobs, "get"> = {
    get: async (address) => {
      const content = await blobs.get(address);
      bytes += content.length;
      options.onProgress?.({ step: "verifying", bytes, bytesTotal });
      return content;
    },
  };
  const takeTurn = (): Promise<void> => new Promise((resolve) => timers.soon(resolve));
  await verifySnapshot({ manifest, blobs: counting, yield: takeTurn });
}

async function lockPlace({ host }: RestoreOptions): Promise<{ release(): Promise<void> }> {
  try {
    return await host.disk.lock(dataLayout.lock);
  } catch (cause) {
    if (!(cause instanceof DiskError) || cause.code !== "busy") throw cause;
    throw new OnefoldError("data-directory-busy", `Another process uses the data directory: ${cause.message}`, {
      cause,
    });
  }
}
