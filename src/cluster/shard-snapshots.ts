/**
 * Snapshots of a shard that this node owns, in the engine's blobs, and the trimming of its log behind them.
 *
 * SS1 The log is trimmed only behind the older of two published snapshots, all of which was read back just before (hazard 15).
 * SS2 Each ownership has a place of its own for its blobs. So an owner that no longer is one, and has slept in the middle of tidying up,
 *     takes nothing away that a later one has put.
 * SS3 What counts as published is in the system log, where an older epoch never follows a younger one.
 */
import { OnefoldError } from "../base/errors.ts";
import { version } from "../base/version.ts";
import type { Applier } from "../entity/applier.ts";
import type { Host } from "../host/host.ts";
import type { LogPosition } from "../log/log.ts";
import type { Blobs } from "../store/blobs.ts";
import { isSnapshotDamage, type Manifest, readNewestManifests } from "../store/manifest.ts";
import { collectGarbage, verifySnapshot, writeSnapshot } from "../store/snapshot.ts";
import type { Store } from "../store/store.ts";
import type { OwnedLog } from "./owned-log.ts";

export interface ShardSnapshotsParts {
  readonly host: Pick<Host, "timers" | "trace">;
  readonly store: Store;
  readonly log: OwnedLog;
  /** Of this ownership alone (SS2). */
  readonly blobs: Blobs;
  /** Tells the system log of it (SS3). False where that was declined: a later owner has published. */
  readonly publish: (position: LogPosition) => Promise<boolean>;
  readonly applier: Applier;
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
  #underWay: Promise<void> | undefined;

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
    await this.#underWay;
  }

  /** Takes one now, and trims. Throws `unavailable`, `damaged`, `DiskError`. One at a time. */
  async take(): Promise<void> {
    const { host, store, blobs, applier, log } = this.#parts;
    const takeTurn = (): Promise<void> => new Promise((resolve) => host.timers.soon(resolve));
    const atBytes = log.appendedBytes;
    await applier.flush();
    const dirtySlots = applier.takeDirtySlots();
    const previous = this.#newest;
    const view = store.view();
    try {
      this.#newest = await writeSnapshot({
        view,
        blobs,
        codeVersion: version,
        yield: takeTurn,
        ...(previous === undefined ? {} : { previous, dirtySlots }),
      });
    } catch (error) {
      applier.returnDirtySlots(dirtySlots);
      throw error;
    } finally {
      view.close();
    }
    this.#takenAtBytes = atBytes;
    if (await this.#parts.publish(this.#newest.position)) await this.#trim(takeTurn);
  }

  /** SS1. */
  async #trim(takeTurn: () => Promise<void>): Promise<void> {
    const { blobs, host, log } = this.#parts;
    await collectGarbage({ blobs, yield: takeTurn });
    const older = (await readNewestManifests(blobs, host.trace))[1];
    if (older === undefined || older.position.sequence < log.firstSequence) return;
    await verifySnapshot({ manifest: older, blobs, yield: takeTurn });
    await log.trim(older.position.sequence + 1);
  }

  #after(delayMs: number): void {
    if (this.#isOver) return;
    this.#timer = this.#parts.host.timers.after(delayMs, () => {
      const { log, snapshotBytes } = this.#parts;
      if (log.appendedBytes - this.#takenAtBytes < snapshotBytes) return this.#after(checkMs);
      this.#underWay = this.#takeDue();
    });
  }

  async #takeDue(): Promise<void> {
    let nextMs = checkMs;
    try {
      await this.take();
    } catch (error) {
      nextMs = retryMs;
      // The log grows meanwhile; nothing else depends on it.
      const isExpected = isSnapshotDamage(error) || error instanceof OnefoldError;
      const message = "A snapshot of a shard failed; its log grows until the next one succeeds.";
      this.#parts.host.trace(isExpected ? "warn" : "error", message, { cause: error });
    }
    this.#after(nextMs);
  }
}
