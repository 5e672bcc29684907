/**
 * A backup of a data directory that no node has open: opens it as a start does, without a system, since no user code runs in it.
 *
 * B1  The state is the log's end: what the store lacks is folded first, as at a start, and stays.
 * B2  Nothing else is changed, and no directory without data is made one.
 * B3  The sink's pace is the backup's; no more than some pieces are in memory.
 */
import { BackupEncoder, type LogFacts } from "../backup/encoder.ts";
import { backupIdBytes } from "../backup/format.ts";
import { OnefoldError } from "../base/errors.ts";
import { version } from "../base/version.ts";
import { DiskError, type Host, type Trace } from "../host/host.ts";
import { nodeHost } from "../host/node/host.ts";
import { openSegmentLog, type SegmentLog } from "../log/engine/segment/engine.ts";
import type { LogPosition } from "../log/log.ts";
import { type Blobs, blobAddress, openDiskBlobs } from "../store/blobs.ts";
import { lmdbStore } from "../store/engine/lmdb.ts";
import { manifestAddress, readNewestManifests } from "../store/manifest.ts";
import { openStoreOrRebuild } from "../store/recovery.ts";
import { composeSnapshot } from "../store/snapshot.ts";
import type { Store, StoreEngine } from "../store/store.ts";
import { dataLayout } from "./data-layout.ts";
import { decodeGenesis, readGenesisPayload } from "../entity/genesis.ts";
import { replay } from "../entity/replay.ts";
import { assertRole } from "./directory-role.ts";

export interface StoppedBackupOptions {
  /** Its disk's root is the data directory. */
  readonly host: Pick<Host, "disk" | "clock" | "random" | "timers" | "trace">;
  readonly storeEngine: StoreEngine;
  /** Takes the backup's bytes in order; the next come when it has resolved. What it throws ends the backup. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
}

/**
 * Writes a backup of what the data directory holds; returns the position whose state it is. Throws `data-directory-busy` (retry
 * safe), `invalid-configuration` where there are no data, `damaged` and `unsupported-version` (never), `disk-full` (safe) where
 * there is no room for what the store lacks, and `DiskError`.
 */
export async function backUpStopped(options: StoppedBackupOptions): Promise<LogPosition> {
  const { disk } = options.host;
  const lock = await disk.lock(dataLayout.lock).catch((cause: unknown) => {
    if (!(cause instanceof DiskError) || cause.code !== "busy") throw cause;
    const message = "A node has this data directory open. Leave out --data, and the node is asked for its backup.";
    throw new OnefoldError("data-directory-busy", message, { cause });
  });
  try {
    await assertRole(disk, "embedded");
    if ((await disk.list(dataLayout.log)).length === 0) {
      throw new OnefoldError(
        "invalid-configuration",
        "There is no Onefold data in this directory. Name it with --data.",
      );
    }
    return await backUp(options);
  } catch (error) {
    if (!(error instanceof DiskError) || error.code !== "full") throw error;
    throw new OnefoldError("disk-full", "There is no room to bring the store up to date. Free some, then try again.", {
      cause: error,
    });
  } finally {
    await lock.release();
  }
}

/** The same for a directory of this machine, with the store that nodes use. */
export function backUpDataDirectory(options: {
  readonly dataDirectory: string;
  readonly write: StoppedBackupOptions["write"];
  readonly trace?: Trace;
}): Promise<LogPosition> {
  const { dataDirectory, write, trace } = options;
  const host = nodeHost({ dataDirectory, ...(trace === undefined ? {} : { trace }) });
  const storeEngine = lmdbStore({ directory: `${dataDirectory}/${dataLayout.store}`, trace: host.trace });
  return backUpStopped({ host, storeEngine, write });
}

async function backUp(options: StoppedBackupOptions): Promise<LogPosition> {
  const { host, storeEngine } = options;
  const { disk, trace } = host;
  const blobs = await openDiskBlobs({ disk, directory: dataLayout.snapshots });
  const { store } = await openStoreOrRebuild({ engine: storeEngine, blobs, trace, yield: () => takeTurn(host) });
  try {
    const log = await openLog(options, blobs, store);
    try {
      await replay(log, store, () => undefined);
      return await compose(options, log, store);
    } finally {
      await log.close();
    }
  } finally {
    await store.close();
  }
}

/** Held against the store and the snapshots, as at a start. */
async function openLog({ host }: StoppedBackupOptions, blobs: Blobs, store: Store): Promise<SegmentLog> {
  const { disk, random, trace } = host;
  const manifests = await readNewestManifests(blobs, trace);
  const verifiedThrough = manifests.map(({ position }) => position);
  return openSegmentLog({
    disk,
    random,
    trace,
    directory: dataLayout.log,
    verifiedThrough: store.position === null ? verifiedThrough : [store.position, ...verifiedThrough],
    verifyFromSequence: store.position?.sequence ?? 1,
    reserveBytes: 0,
  });
}

async function compose(options: StoppedBackupOptions, log: SegmentLog, store: Store): Promise<LogPosition> {
  const { host, write } = options;
  const encoder = new BackupEncoder({
    version: 1,
    id: host.random.bytes(backupIdBytes),
    takenAtMs: host.clock.wallMs(),
  });
  const writeAll = async (chunks: readonly Uint8Array[]): Promise<void> => {
    for (const chunk of chunks) await write(chunk);
  };
  const genesis = readGenesisPayload(store);
  const view = store.view();
  try {
    await writeAll([encoder.begin()]);
    const manifest = await composeSnapshot({
      view,
      blobs: {
        put: async (content) => {
          const address = blobAddress(content);
          await writeAll(encoder.blob(content, address));
          return address;
        },
      },
      present: new Set(),
      codeVersion: version,
      yield: () => takeTurn(host),
    });
    const { position } = manifest;
    const record = await log.read(position.sequence);
    if (record === undefined) throw new OnefoldError("damaged", "The log does not hold the record of its own end.");
    const facts: LogFacts = {
      systemName: decodeGenesis(genesis).systemName,
      codeVersion: version,
      position: { ...position, timeMs: record.timeMs },
      genesis,
      manifest: manifestAddress(manifest),
    };
    await writeAll(encoder.end(facts));
    return position;
  } finally {
    view.close();
  }
}

function takeTurn({ timers }: StoppedBackupOptions["host"]): Promise<void> {
  return new Promise((resolve) => timers.soon(resolve));
}
