/**
 * Backups of an open node: a snapshot is taken, kept from being collected, and given out piece by piece as it is asked for.
 *
 * K1  A backup holds everything that was acknowledged before it was asked for, and one state of the log, whole: that of a
 *     snapshot. Writes go on meanwhile; only taking the snapshot costs them something, and only what has changed.
 * K2  However slowly it is read, nothing of the store is pinned and no more than one piece is in memory. What it costs is room on
 *     the disk: the pieces that later snapshots replace stay until it is over.
 * K3  At most `backupsOpenMax` at once; at the limit `overloaded`.
 * K4  Every piece is verified when it is read. One that is damaged ends the backup, without a summary: it is never one.
 */
import { BackupEncoder, backupSizeBytes, type LogFacts } from "../backup/encoder.ts";
import { backupIdBytes } from "../backup/format.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { version } from "../base/version.ts";
import type { OpenBackup } from "../gateway/backup.ts";
import { DiskError, type Host } from "../host/host.ts";
import { encodeManifest, manifestAddress, pieceSizes } from "../store/manifest.ts";
import { decodeGenesis, readGenesisPayload } from "../entity/genesis.ts";
import { BackupPlaces } from "./backup-places.ts";
import type { OpenParts } from "./opening.ts";
import type { HeldSnapshot } from "./snapshots.ts";
import { readingStore } from "./store-damage.ts";

const retryAfterMs = 5000;

export class Backups {
  readonly #host: Pick<Host, "clock" | "random">;
  readonly #present: () => OpenParts;
  readonly #places: BackupPlaces;

  /** `present` gives what is open just now; throws `not-ready` where nothing is. */
  constructor(host: Pick<Host, "clock" | "random">, limits: Limits, present: () => OpenParts) {
    this.#host = host;
    this.#places = new BackupPlaces(limits.backupsOpenMax);
    this.#present = present;
  }

  /** See `BackupSource.openBackup`. */
  async open(): Promise<OpenBackup> {
    const leave = this.#places.take();
    try {
      const parts = this.#present();
      const held = await holdSnapshot(parts);
      try {
        const backup = await this.#describe(parts, held);
        const close = once(() => {
          leave();
          held.release();
        });
        return { ...backup, close };
      } catch (error) {
        held.release();
        throw error;
      }
    } catch (error) {
      leave();
      throw error;
    }
  }

  async #describe(parts: OpenParts, held: HeldSnapshot): Promise<Omit<OpenBackup, "close">> {
    const { manifest } = held;
    const { position } = manifest;
    const record = await parts.log.read(position.sequence);
    if (record === undefined) throw new OnefoldError("damaged", "The log has lost the record of its newest snapshot.");
    const genesis = readingStore(() => readGenesisPayload(parts.store));
    const facts: LogFacts = {
      systemName: decodeGenesis(genesis).systemName,
      codeVersion: version,
      position: { ...position, timeMs: record.timeMs },
      genesis,
      manifest: manifestAddress(manifest),
    };
    const header = {
      version: 1,
      id: this.#host.random.bytes(backupIdBytes),
      takenAtMs: this.#host.clock.wallMs(),
    } as const;
    const encodedManifest = encodeManifest(manifest);
    const sizes = pieceSizes(manifest);
    const sizeBytes = backupSizeBytes([...sizes.values(), encodedManifest.length], facts);
    async function* chunks(): AsyncIterable<Uint8Array> {
      const encoder = new BackupEncoder(header);
      yield encoder.begin();
      for (const address of sizes.keys()) yield* encoder.blob(await held.read(address), address);
      yield* encoder.blob(encodedManifest, facts.manifest);
      yield* encoder.end(facts);
    }
    return { sequence: position.sequence, sizeBytes, chunks };
  }
}

/** K1. */
async function holdSnapshot({ log, snapshots }: OpenParts): Promise<HeldSnapshot> {
  const acknowledged = log.end?.sequence ?? 0;
  let held: HeldSnapshot;
  try {
    held = await snapshots.hold();
  } catch (error) {
    if (!(error instanceof DiskError) || error.code !== "full") throw error;
    throw new OnefoldError("disk-full", `There is no room for the backup's snapshot: ${error.message}`, {
      cause: error,
      retryAfterMs,
    });
  }
  if (held.manifest.position.sequence >= acknowledged) return held;
  held.release();
  throw new OnefoldError("disk-full", "There is no room for a snapshot of all that was written. Free some space.", {
    retryAfterMs,
  });
}

function once(run: () => void): () => void {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    run();
  };
}
