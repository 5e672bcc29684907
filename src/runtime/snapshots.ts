/**
 * The snapshots of an open node: takes them, and gives up the log that two of them make superfluous.
 *
 * J1  One at a time: two at once would take each other's unpublished pieces for garbage.
 * J2  The log is trimmed only behind the older of two published snapshots, all of which was read back just before.
 * J3  On a full disk what nobody needs goes first: blobs that no snapshot names, and log behind the older snapshot. Then the
 *     log's reserve is lent to the next snapshot. Last, the older snapshot is given up; only where the newer one and every
 *     value of the store have just been read, and only if the next one then fits. The log is not trimmed for it: J2 holds.
 *     Where the newest one has the log's last record, and yet nothing could be trimmed, the log gets a short segment out of the
 *     reserve: the snapshot behind what comes into it makes more of the log superfluous.
 * J4  Nothing is begun on a full disk that has no room to be finished, and what was not finished leaves nothing behind.
 * J5  A store that turns out damaged while it is read is reported for a rebuild, not kept for a problem of snapshots.
 * J6  What is held for a backup is no garbage until it is released, however many snapshots are taken meanwhile.
 */
import { OnefoldError } from "../base/errors.ts";
import { version } from "../base/version.ts";
import type { Shard } from "../entity/shard.ts";
import { type Disk, DiskError, type Trace } from "../host/host.ts";
import type { SegmentLog } from "../log/engine/segment/engine.ts";
import type { BlobAddress, Blobs } from "../store/blobs.ts";
import { HeldBlobs } from "../store/held-blobs.ts";
import { isSnapshotDamage, type Manifest, manifestAddress, piecesOf, readNewestManifests } from "../store/manifest.ts";
import { collectGarbage, verifySnapshot, type WriteSnapshotOptions, writeSnapshot } from "../store/snapshot.ts";
import {
  estimatedRoomBytes,
  giveUpOlder,
  readWhole,
  roomOfOlderBytes,
  snapshotRoomBytes,
} from "../store/snapshot-room.ts";
import type { Store } from "../store/store.ts";
import { StoreDamage, watchedView } from "./store-damage.ts";

export interface SnapshotsParts {
  readonly disk: Disk;
  readonly trace: Trace;
  /** Gives other work its turn. */
  readonly yield: () => Promise<void>;
  readonly store: Store;
  readonly log: SegmentLog;
  readonly blobs: Blobs;
  readonly shard: Shard;
  /** The newest snapshot. */
  readonly newest: Manifest | undefined;
  /** Whether the shard's dirty slots are all that has changed since `newest`. */
  readonly knowsDirtySlots: boolean;
  /** False while somebody reads the log from its first record on: then none of it goes. */
  readonly mayTrim?: () => boolean;
}

/** A snapshot whose pieces stay where they are until `release`, which is idempotent. */
export interface HeldSnapshot {
  readonly manifest: Manifest;
  /** One of its pieces, verified. Throws `damaged` or `not-found` (retry never), and `not-ready` (safe) once the node is closed. */
  read(address: BlobAddress): Promise<Uint8Array>;
  release(): void;
}

export class Snapshots {
  readonly #parts: SnapshotsParts;
  #newest: Manifest | undefined;
  #knowsDirtySlots: boolean;
  #underWay: Promise<void> | undefined;
  #isOver = false;
  #takenAtBytes = 0;
  /** By how many bytes the state has grown for each byte of log, between the last two snapshots of this life; 0 to 1. */
  #growthShare = 1;
  /** The sequence of the older snapshot behind which the log has been trimmed in this life. */
  #trimmedBehind = 0;
  readonly #held = new HeldBlobs();

  constructor(parts: SnapshotsParts) {
    this.#parts = parts;
    this.#newest = parts.newest;
    this.#knowsDirtySlots = parts.knowsDirtySlots;
  }

  /** For metrics: where the newest snapshot stands; 0 without one. */
  get newestSequence(): number {
    return this.#newest?.position.sequence ?? 0;
  }

  get isUnderWay(): boolean {
    return this.#underWay !== undefined;
  }

  /** Bytes of log that the newest snapshot of this life doesn't have. */
  get grownBytes(): number {
    return this.#parts.shard.appendedBytes - this.#takenAtBytes;
  }

  /**
   * About what the next snapshot needs on the disk, for the log to leave: space that is freed is the snapshot's first, since
   * that gives the log more. After a start what has changed since the newest snapshot is not known: then rather too little.
   */
  get roomBytes(): number {
    const { applier } = this.#parts.shard;
    const dirtySlots = applier.takeDirtySlots();
    applier.returnDirtySlots(dirtySlots);
    const grownBytes = Math.ceil(this.grownBytes * this.#growthShare);
    return estimatedRoomBytes({ previous: this.#newest, dirtySlots, grownBytes });
  }

  /**
   * Takes a snapshot when those before it are over (J1), and trims what two of them make superfluous. Throws `not-ready`
   * (retry safe) where the node is closed meanwhile, `damaged` (retry never), `stopped`, and `DiskError`: `full` with how
   * much room there is and how much is needed.
   */
  take(): Promise<void> {
    const before = this.#underWay ?? Promise.resolve();
    const snapshot = before.then(() => {
      if (this.#isOver) throw notReady();
      return this.#take();
    });
    const over = snapshot
      .catch(() => undefined) // Whoever asked for it hears of it; the next in turn only waits.
      .then(() => {
        if (this.#underWay === over) this.#underWay = undefined;
      });
    this.#underWay = over;
    return snapshot;
  }

  /**
   * Takes a snapshot, and holds the newest one (J6): the one that was taken, but for a full disk where there may be none newer.
   * Throws as `take` does.
   */
  async hold(): Promise<HeldSnapshot> {
    await this.take();
    const manifest = this.#newest!;
    const release = this.#held.hold(piecesOf(manifest).map(({ address }) => address));
    return {
      manifest,
      release,
      read: async (address) => {
        if (this.#isOver) throw notReady();
        return this.#parts.blobs.get(address);
      },
    };
  }

  /** No other is begun; resolves when the one under way is over. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#underWay;
  }

  async #take(): Promise<void> {
    const { shard, log } = this.#parts;
    try {
      if (shard.isLogFull || shard.applier.isFull) return await this.#takeOnFullDisk();
      await shard.applier.flush();
      await this.#write({ fits: log.isShortOfSpace ? "perhaps" : "surely" });
      await this.#tidy();
    } catch (error) {
      if (!(error instanceof StoreDamage)) throw error;
      this.#parts.trace(
        "warn",
        "A snapshot has found the store damaged; it is rebuilt from snapshot and log. Check the disk.",
        {
          error: error.damage,
        },
      );
      shard.reportDamage(error.damage);
      throw error.damage;
    }
  }

  async #write({ fits }: { readonly fits: "surely" | "perhaps" }): Promise<void> {
    const { shard, store, blobs } = this.#parts;
    const atBytes = shard.appendedBytes;
    const dirtySlots = shard.applier.takeDirtySlots();
    const view = watchedView(store.view());
    const previous = this.#newest;
    const options: WriteSnapshotOptions = {
      view,
      blobs,
      codeVersion: version,
      yield: this.#parts.yield,
      ...(previous === undefined ? {} : { previous, dirtySlots: this.#knowsDirtySlots ? dirtySlots : "all" }),
    };
    try {
      if (fits === "perhaps") await this.#makeRoom(options);
      const newest = await writeSnapshot(options);
      if (previous !== undefined && this.#takenAtBytes > 0 && atBytes > this.#takenAtBytes) {
        const grownBytes = Math.max(0, sizeOf(newest) - sizeOf(previous));
        this.#growthShare = Math.min(1, grownBytes / (atBytes - this.#takenAtBytes));
      }
      this.#newest = newest;
    } catch (error) {
      shard.applier.returnDirtySlots(dirtySlots);
      throw error;
    } finally {
      view.close();
    }
    this.#knowsDirtySlots = true;
    this.#takenAtBytes = atBytes;
  }

  /** Removes what no snapshot names, then log behind the older of them (J2). */
  async #tidy(): Promise<void> {
    const { blobs, log, trace } = this.#parts;
    const turn = this.#parts.yield;
    try {
      await collectGarbage({ blobs, yield: turn, held: this.#held.addresses });
    } catch (error) {
      if (!isSnapshotDamage(error)) throw error;
      trace("warn", "A snapshot is damaged, so nothing is known to be garbage; the next snapshot replaces it.", {
        error,
      });
    }
    const older = (await readNewestManifests(blobs, trace))[1];
    if (older === undefined || older.position.sequence === this.#trimmedBehind) return;
    if (this.#parts.mayTrim?.() === false) return;
    // Pieces that the newer snapshot took over were read back long ago: what the log is given up for is read again.
    await verifySnapshot({ manifest: older, blobs, yield: turn });
    await log.trim(older.position.sequence + 1);
    this.#trimmedBehind = older.position.sequence;
  }

  // ---------------------------------------------------------------------------------------------------- on a full disk

  /** J3. */
  async #takeOnFullDisk(): Promise<void> {
    const { log, shard, store, trace } = this.#parts;
    try {
      await this.#tidy();
    } catch (error) {
      // The next snapshot is what replaces a damaged one.
      if (!isSnapshotDamage(error)) throw error;
      trace("warn", "The older snapshot is damaged; the log is kept until there is another. Check the disk.", {
        error,
      });
    }
    await log.releaseReserve();
    try {
      try {
        await shard.applier.flush();
      } catch (error) {
        // What has reached the store is a state, too: its snapshot gives up some log all the same.
        if (!isFull(error)) throw error;
      }
      if (this.#newest !== undefined && this.#newest.position.sequence === store.position?.sequence) {
        // The same state once more would be the same snapshot. For another there must be another record.
        if (shard.isLogFull) await log.prepareShortSegment();
        return;
      }
      await this.#write({ fits: "perhaps" });
      await this.#tidy();
    } finally {
      await log.restoreReserve();
    }
  }

  /** J3, J4. Throws `DiskError` `full` where the snapshot can't fit. */
  async #makeRoom(options: WriteSnapshotOptions): Promise<void> {
    const { disk, blobs, trace } = this.#parts;
    const neededBytes = await snapshotRoomBytes(options);
    const freeBytes = await disk.freeBytes();
    if (neededBytes <= freeBytes) return;
    const [newer, older] = await readNewestManifests(blobs, trace);
    // What the next one takes over from the newest must not go with the older one.
    const isBase = newer !== undefined && isSame(newer, this.#newest);
    const gainedBytes = isBase && older !== undefined ? roomOfOlderBytes(older, newer, this.#held.addresses) : 0;
    if (!isBase || freeBytes + gainedBytes < neededBytes) {
      throw new DiskError(
        "full",
        `The next snapshot needs ${neededBytes} bytes and ${freeBytes} are free. Free the rest, so that the log can be trimmed.`,
      );
    }
    await verifySnapshot({ manifest: newer, blobs, yield: options.yield });
    await readWhole(options.view, options.yield);
    trace("warn", "The disk is full: the older snapshot is given up to make room for the next. Free some space.", {
      neededBytes,
      freeBytes,
      gainedBytes,
    });
    await giveUpOlder({ newest: newer, blobs, yield: options.yield, held: this.#held.addresses });
  }
}

function notReady(): OnefoldError {
  return new OnefoldError("not-ready", "The node was closed meanwhile.", { retryAfterMs: 1000 });
}

function isSame(a: Manifest, b: Manifest | undefined): boolean {
  return b !== undefined && manifestAddress(a) === manifestAddress(b);
}

function sizeOf(manifest: Manifest): number {
  return piecesOf(manifest).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

function isFull(error: unknown): boolean {
  return error instanceof DiskError && error.code === "full";
}
