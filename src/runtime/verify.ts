/**
 * Checks a data directory that no node has open: every record of the log and the chain through them, the anchors, and the two
 * newest snapshots. The store is left out: it is a copy with checksums of its own, rebuilt where one doesn't hold.
 *
 * F1  The directory is locked meanwhile, so that what is checked does not change.
 * F2  Damage is reported with file, byte and reason, not thrown; the first of the log, and one of each snapshot.
 * F3  The log must hold the position of every snapshot that is whole: a rolled-back log can't hide behind its own anchor.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Host } from "../host/host.ts";
import type { LogPosition } from "../log/log.ts";
import { type LogReport, type VerifyProgress, verifyLog } from "../log/verify.ts";
import { type BlobAddress, type Blobs, openDiskBlobs } from "../store/blobs.ts";
import { type Manifest, readManifest, readNewest } from "../store/manifest.ts";
import { verifySnapshot } from "../store/snapshot.ts";
import { dataLayout } from "./data-layout.ts";
import { readPromotionFile } from "./promotion-file.ts";

export interface DataDamage {
  /** Relative to the data directory. */
  readonly file: string;
  /** Bytes from the start of the file. A snapshot's part is known by its content: it is damaged as a whole, from 0 on. */
  readonly offset: number;
  /** The log's record, where one is concerned. */
  readonly sequence: number | undefined;
  readonly reason: string;
}

export interface DataReport {
  /** Empty if everything is whole. */
  readonly damages: readonly DataDamage[];
  readonly log: LogReport;
  /** Of each published snapshot that is whole, newest first. */
  readonly snapshotSequences: readonly number[];
  /** Of a log that is sealed for a move to a cluster: where to, and whether it is known here that it took hold. */
  readonly move: { readonly to: string; readonly isDone: boolean; readonly nodes: readonly string[] } | undefined;
}

export interface VerifyDataOptions {
  /** Its disk's root is the data directory. */
  readonly host: Pick<Host, "disk" | "timers">;
  readonly onProgress?: (progress: VerifyProgress) => void;
}

/**
 * Throws `data-directory-busy` (retry `safe`) where a process has the directory, `unsupported-version` (retry `never`) for what
 * only a newer version can judge, and `DiskError`.
 */
export async function verifyDataDirectory(options: VerifyDataOptions): Promise<DataReport> {
  const { host, onProgress } = options;
  const lock = await host.disk.lock(dataLayout.lock).catch((cause: unknown) => {
    throw translateLockError(cause);
  });
  try {
    const snapshots = await verifySnapshots(host);
    const log = await verifyLog({
      disk: host.disk,
      directory: dataLayout.log,
      verifiedThrough: snapshots.positions,
      ...(onProgress === undefined ? {} : { onProgress }),
    });
    const damages = [...snapshots.damages];
    if (log.damage !== null) damages.unshift({ ...log.damage, file: `${dataLayout.log}/${log.damage.file}` });
    const snapshotSequences = snapshots.positions.map((position) => position.sequence);
    return { damages, log, snapshotSequences, move: log.isSealed ? await readMove(host) : undefined };
  } finally {
    await lock.release();
  }
}

async function readMove({ disk }: Pick<Host, "disk">): Promise<DataReport["move"]> {
  const file = await readPromotionFile(disk);
  return file && { to: file.target.to, isDone: file.status === "moved", nodes: file.nodes };
}

interface SnapshotFindings {
  readonly damages: readonly DataDamage[];
  readonly positions: readonly LogPosition[];
}

async function verifySnapshots(host: VerifyDataOptions["host"]): Promise<SnapshotFindings> {
  // Looking at an empty directory would make one: a directory without snapshots stays as it is.
  if ((await host.disk.list(dataLayout.snapshots)).length === 0) return { damages: [], positions: [] };
  const blobs = await openDiskBlobs({ disk: host.disk, directory: dataLayout.snapshots });
  let newest: readonly BlobAddress[];
  try {
    newest = await readNewest(blobs);
  } catch (error) {
    return { damages: [damageOf(error, "the pointer to the newest snapshots")], positions: [] };
  }
  const damages: DataDamage[] = [];
  const positions: LogPosition[] = [];
  for (const address of newest) {
    try {
      positions.push((await verifyOne(host, blobs, address)).position);
    } catch (error) {
      damages.push(damageOf(error, address));
    }
  }
  return { damages, positions };
}

async function verifyOne(host: VerifyDataOptions["host"], blobs: Blobs, address: BlobAddress): Promise<Manifest> {
  const manifest = await readManifest(blobs, address);
  const takeTurn = (): Promise<void> => new Promise((resolve) => host.timers.soon(resolve));
  await verifySnapshot({ manifest, blobs, yield: takeTurn });
  return manifest;
}

function damageOf(error: unknown, fallbackName: string): DataDamage {
  const isDamage = error instanceof OnefoldError && (error.code === "damaged" || error.code === "not-found");
  if (!isDamage) throw error;
  const details = error.details as { readonly address?: unknown } | undefined;
  const name = typeof details?.address === "string" ? details.address : fallbackName;
  return { file: `${dataLayout.snapshots}/${name}`, offset: 0, sequence: undefined, reason: error.message };
}

function translateLockError(cause: unknown): unknown {
  if (!(cause instanceof Error && "code" in cause && cause.code === "busy")) return cause;
  return new OnefoldError("data-directory-busy", "A node has this data directory open. Stop it, then verify.", {
    cause,
  });
}
