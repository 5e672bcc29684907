/**
 * Snapshots of a shard that this node owns, in the engine's blobs, and the trimming of its log behind them.
 *
 * SS1 The log is trimmed only behind the older of two published snapshots, all of which was read back just before (hazard 15).
 * SS2 Each ownership has a place of its own for its blobs. So an owner that no longer is one, and has slept in the middle of tidying up,
 *     takes nothing away that a later one has put.
 * SS3 What counts as published is in the system log, where an older epoch never follows a younger one.
 * SS4 One snapshot is written at a time, a backup's (`shard-cut.ts`) too; what a backup reads is no garbage until it lets go of it.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { version } from "../base/version.ts";
import type { Shard } from "../entity/shard.ts";
import type { Host } from "../host/host.ts";
import type { LogPosition } from "../log/log.ts";
import type { Blobs } from "../store/blobs.ts";
import { HeldBlobs } from "../store/held-blobs.ts";
import { isSnapshotDamage, type Manifest, manifestAddress, piecesOf, readNewestManifests } from "../store/manifest.ts";
import { collectGarbage, verifySnapshot, writeSnapshot } from "../store/snapshot.ts";
import type { Store, StoreView } from "../store/store.ts";
import type { OwnedLog } from "./owned-log.ts";
import { type KeptSnapshot, ShardCut } from "./shard-cut.ts";

export interface ShardSnapshotsParts {
  readonly host: Pick<Host, "timers" | "trace">;
  readonly store: Store;
  readonly log: OwnedLog;
  /** Of this ownership alone (SS2). */
  readonly blobs: Blobs;
  /** Tells the system log of it (SS3). False where that was declined: a later owner has published. */
  readonly publish: (position: LogPosition) => Promise<boolean>;
  readonly shard: Shard;
  readonly limits: Limits;
  /** One is due after so much log. */
  readonly snapshotBytes: number;
}

const checkMs = 1000;
const retryMs = 10_000;

export class ShardSnapshots {
  readonly #parts: ShardSnapshotsParts;
  #newest: Manifest | undefined;
  #takenAtBytes = 0;
  #isOver = false;
  #timer: { cancel(): void } | undefined;
  /** Resolves when all that were begun are over. */
  #last: Promise<void> = Promise.resolve();
  readonly #held = new HeldBlobs();
  readonly #cuts = new Set<ShardCut>();

  constructor(parts: ShardSnapshotsParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#after(checkMs);
  }

  /** No other is begun; resolves when the one under way is over. */
  async stop(): Promise<void> {
    this.#isOver = true;
    this.#timer?.cancel();
    for (const cut of this.#cuts) cut.end();
    await this.#last;
  }

  /** Takes one now, and trims. Throws `unavailable`, `damaged`, `DiskError`. */
  async take(): Promise<void> {
    const leave = await this.#enter();
    try {
      const { applier } = this.#parts.shard;
      const atBytes = this.#parts.log.appendedBytes;
      await applier.flush();
      await this.#write(this.#parts.store.view(), applier.takeDirtySlots(), atBytes);
      await this.#publish();
    } finally {
      leave();
    }
  }

  /** Prepares a backup's cut: no other snapshot is written before it is over. Throws `unavailable` (retry safe), `damaged`. */
  async cut(): Promise<ShardCut> {
    const { shard, store, log, host, limits } = this.#parts;
    const leave = await this.#enter();
    try {
      if (this.#isOver) throw new OnefoldError("unavailable", "The shard is given up.", { retryAfterMs: 500 });
      await shard.applier.flush();
      const cut: ShardCut = new ShardCut({
        shard,
        store,
        timers: host.timers,
        restMs: limits.backupRestMs,
        keepMs: limits.backupKeepMs,
        write: async (view, dirtySlots) => {
          await this.#write(view, dirtySlots, log.appendedBytes);
          const kept = this.#keep(this.#newest!);
          await this.#publish().catch((error: unknown) => this.#failed(error));
          return kept;
        },
        onOver: () => {
          this.#cuts.delete(cut);
          leave();
        },
      });
      this.#cuts.add(cut);
      return cut;
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** SS4. What it gives must be called. */
  async #enter(): Promise<() => void> {
    const before = this.#last;
    let leave: (() => void) | undefined;
    this.#last = new Promise((resolve) => {
      leave = resolve;
    });
    await before;
    return leave!;
  }

  #keep(manifest: Manifest): KeptSnapshot {
    const address = manifestAddress(manifest);
    return {
      manifest: address,
      release: this.#held.hold([...piecesOf(manifest).map((piece) => piece.address), address]),
    };
  }

  /** Closes `view`, whatever comes. `dirtySlots` are what has changed since the newest, up to it. */
  async #write(view: StoreView, dirtySlots: ReadonlySet<number>, atBytes: number): Promise<void> {
    const { blobs, shard } = this.#parts;
    const previous = this.#newest;
    try {
      this.#newest = await writeSnapshot({
        view,
        blobs,
        codeVersion: version,
        yield: this.#takeTurn,
        ...(previous === undefined ? {} : { previous, dirtySlots }),
      });
    } catch (error) {
      shard.applier.returnDirtySlots(dirtySlots);
      throw error;
    } finally {
      view.close();
    }
    this.#takenAtBytes = atBytes;
  }

  readonly #takeTurn = (): Promise<void> => new Promise((resolve) => this.#parts.host.timers.soon(resolve));

  async #publish(): Promise<void> {
    if (await this.#parts.publish(this.#newest!.position)) await this.#trim();
  }

  /** SS1. */
  async #trim(): Promise<void> {
    const { blobs, host, log } = this.#parts;
    await collectGarbage({ blobs, yield: this.#takeTurn, held: this.#held.addresses });
    const older = (await readNewestManifests(blobs, host.trace))[1];
    if (older === undefined || older.position.sequence < log.firstSequence) return;
    await verifySnapshot({ manifest: older, blobs, yield: this.#takeTurn });
    await log.trim(older.position.sequence + 1);
  }

  #after(delayMs: number): void {
    if (this.#isOver) return;
    this.#timer = this.#parts.host.timers.after(delayMs, () => {
      const { log, snapshotBytes } = this.#parts;
      if (log.appendedBytes - this.#takenAtBytes < snapshotBytes) return this.#after(checkMs);
      void this.#takeDue();
    });
  }

  async #takeDue(): Promise<void> {
    let nextMs = checkMs;
    try {
      await this.take();
    } catch (error) {
      nextMs = retryMs;
      this.#failed(error);
    }
    this.#after(nextMs);
  }

  /** The log grows meanwhile; nothing else depends on it. */
  #failed(error: unknown): void {
    const isExpected = isSnapshotDamage(error) || error instanceof OnefoldError;
    const message = "A snapshot of a shard failed; its log grows until the next one succeeds.";
    this.#parts.host.trace(isExpected ? "warn" : "error", message, { cause: error });
  }
}
