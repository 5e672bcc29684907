/**
 * One machine: a shard with all slots on a segment-file log, its store, and its snapshots, from opening to closing.
 *
 * N1  Before anything is served, store, log and snapshots have been held against each other, and the store has been brought
 *     up to the log's end (`opening.ts`).
 * N2  A damaged store is rebuilt from snapshot and log, at the start or while running; a damaged log is named, not served.
 * N3  A rebuild that finds no room on the disk ends nothing: the node stays, not ready, says what it waits for, and goes on
 *     when there is room.
 * N4  One life at a time: what belongs to a life that has ended neither serves nor keeps anything up any more.
 * N5  A log that is sealed for a move to a cluster is served by nobody here before it is known that the move never takes hold
 *     (`move.ts`); where it has taken hold, never again.
 *
 *     opening ──> serving ──────────────────────────> closed
 *      │          │  │  ^                               ^
 *      │   damage v  │  │ rebuilt, move abandoned       │ close
 *      │   rebuilding ├──── log damaged, ─────────> stopped
 *      │   (waits     │     disk failed                 ^
 *      │    for room) v                                 │ restarted
 *      └─sealed──> moving ──────activated──────────> moved
 */
import { OnefoldError } from "../base/errors.ts";
import { assertLimits, limits as defaultLimits, type Limits } from "../base/limits.ts";
import type { SystemHandle } from "../entity/definition.ts";
import { suspectViews } from "../entity/suspects.ts";
import type { Service } from "../entity/service.ts";
import type { Shard } from "../entity/shard.ts";
import type { BackupSource, OpenBackup } from "../gateway/backup.ts";
import type { ClusterSource } from "../gateway/cluster-source.ts";
import type { PromotionSource } from "../gateway/promotion.ts";
import type { ClusterView, SuspectView } from "../wire/cluster-view.ts";
import type { PromotionOptions, PromotionProgress, PromotionReport } from "../wire/promotion.ts";
import { DiskError, type Host } from "../host/host.ts";
import type { SegmentLog } from "../log/engine/segment/engine.ts";
import type { Log } from "../log/log.ts";
import type { StoreEngine } from "../store/store.ts";
import { Backups } from "./backups.ts";
import { closeFiles, endServing, type Life } from "./life.ts";
import { loneView } from "./lone-view.ts";
import { assertRole, lockDirectory } from "./directory-role.ts";
import { type ConnectEngine, Move } from "./move.ts";
import { type OpeningProgress, type OpenParts, openParts } from "./opening.ts";
import { Quarantine } from "./quarantine.ts";
import { ServiceProxy } from "./service-proxy.ts";
import { readingStore, StoreDamage } from "./store-damage.ts";
import { Upkeep } from "./upkeep.ts";

export type { OpeningProgress } from "./opening.ts";

export interface EmbeddedOptions {
  readonly system: SystemHandle;
  /** Its disk's root is the data directory. */
  readonly host: Host;
  readonly storeEngine: StoreEngine;
  /** Lower bounds than the defaults, for tests. */
  readonly limits?: Partial<Limits>;
  readonly cacheBytes?: number;
  /** A snapshot is taken after this much log; default 256 MiB. */
  readonly snapshotBytes?: number;
  readonly segmentBytes?: number;
  readonly reserveBytes?: number;
  /** Told about the log and the rest while they are opened, for progress. */
  readonly onProgress?: (progress: OpeningProgress) => void;
  /** The log as the shard is to append to it, for metrics. */
  readonly measureLog?: (log: Log) => Log;
  /** To the engine of a cluster that the system is to move to. Absent: it can't move. */
  readonly connectEngine?: ConnectEngine;
  /** The node has stopped for good; nothing is served any more. */
  readonly onStopped?: (error: OnefoldError) => void;
}

const snapshotBytesDefault = 256 * 1024 * 1024;
/** Between two attempts to rebuild the store on a full disk: twice as long each time, within these. */
const roomFirstMs = 1000;
const roomMaxMs = 30_000;

export class EmbeddedNode implements BackupSource, ClusterSource, PromotionSource {
  readonly #options: EmbeddedOptions;
  readonly #host: Host;
  readonly #limits: Limits;
  readonly #proxy = new ServiceProxy();
  #lock: { release(): Promise<void> } | undefined;
  #quarantine: Quarantine | undefined;
  #life: Life | undefined;
  #rebuilding: Promise<void> | undefined;
  /** Of a rebuild that waits for room on the disk. */
  #wait: { readonly end: () => void } | undefined;
  #isClosing = false;
  #rebuildCount = 0;
  readonly #move: Move;
  readonly #backups: Backups;

  private constructor(options: EmbeddedOptions) {
    this.#options = options;
    this.#host = options.host;
    this.#limits = { ...defaultLimits, ...options.limits };
    assertLimits(this.#limits);
    this.#backups = new Backups(options.host, this.#limits, () => this.#present());
    this.#move = new Move({
      host: this.#host,
      limits: this.#limits,
      system: options.system.definition,
      connectEngine: options.connectEngine,
      present: () => this.#present(),
      isPresent: (life) => this.#life === life,
      isClosing: () => this.#isClosing,
      giveUp: (why) => this.#giveUp(why),
      open: () => this.#open(),
      stopped: (cause, what) => this.#stopped(cause, what),
    });
  }

  /**
   * Opens the data directory, or makes it. At return it serves; but for one whose log is sealed for a move to a cluster, where the engine
   * could not be asked yet what has become of that: it answers `not-ready` until it is known (N5).
   * Throws `data-directory-busy` (retry `safe`), `damaged`, `unsupported-version`, `invalid-configuration` (all `never`; the last also
   * where the system has moved), `disk-full` (`safe`), `DiskError`.
   */
  static async open(options: EmbeddedOptions): Promise<EmbeddedNode> {
    const node = new EmbeddedNode(options);
    node.#lock = await lockDirectory(options.host.disk);
    try {
      await assertRole(options.host.disk, "embedded");
      node.#quarantine = await Quarantine.open({ host: options.host, limits: node.#limits });
      await node.#move.openOrAsk();
    } catch (error) {
      await node.#quarantine?.close();
      await node.#lock.release();
      throw error;
    }
    return node;
  }

  get service(): Service {
    return this.#proxy;
  }

  /** For tests and benchmarks. Throws `not-ready` (retry safe), as `log` and `snapshot` do. */
  get shard(): Shard {
    return this.#present().shard;
  }

  /** For tests and benchmarks. */
  get log(): SegmentLog {
    return this.#present().log;
  }

  /** For metrics: what is open just now; undefined while the store is rebuilt, and after the end. */
  get parts(): OpenParts | undefined {
    return this.#life;
  }

  /** For metrics: entities in quarantine. */
  get quarantinedCount(): number {
    return this.#quarantine?.names.size ?? 0;
  }

  /** For metrics: how often the store was found damaged, and rebuilt, in this life of the node. */
  get rebuildCount(): number {
    return this.#rebuildCount;
  }

  /** Takes a snapshot now and trims what two of them make superfluous. Throws as `Snapshots.take` does. */
  async snapshot(): Promise<void> {
    await this.#present().snapshots.take();
  }

  /** See `BackupSource`. */
  openBackup(): Promise<OpenBackup> {
    return this.#backups.open();
  }

  /** One node that owns the one shard; see `ClusterSource`. Throws `not-ready` (retry safe). */
  async view(): Promise<ClusterView> {
    const { log, shard } = this.#present();
    return loneView({ system: this.#options.system.definition.name, end: log.end!, health: shard.health() });
  }

  /** See `ClusterSource`. */
  async split(): Promise<void> {
    throw new OnefoldError("conflict", "An embedded node is one shard, and stays one. Move it to a cluster first.", {
      retry: "never",
    });
  }

  /** See `ClusterSource`. */
  async suspects(): Promise<readonly SuspectView[]> {
    return suspectViews(this.#quarantine?.suspects ?? [], this.#limits);
  }

  /** See `ClusterSource`. */
  async lift(): Promise<number> {
    throw new OnefoldError("conflict", "Stop this node, and lift the quarantine with 'onefold quarantine lift'.", {
      retry: "never",
    });
  }

  // ------------------------------------------------------------------------------------------------ moving to a cluster

  /**
   * Moves the system to a cluster, while it serves (`move.ts`, `promotion.ts`). Throws `not-ready`, `overloaded` and `unavailable` (retry safe),
   * `invalid-configuration` (never); the node then serves on. When it resolves the cluster has the system, and this node serves it no more.
   */
  promote(options: PromotionOptions, onProgress: (progress: PromotionProgress) => void): Promise<PromotionReport> {
    return this.#move.promote(options, onProgress);
  }

  #giveUp(why: string): void {
    this.#life = undefined;
    this.#proxy.disconnect(why);
  }

  #stopped(cause: unknown, what: string): void {
    const failure = cause instanceof OnefoldError ? cause : new OnefoldError("stopped", what, { cause });
    this.#proxy.fail(failure);
    this.#host.trace("error", `${what} Look at the cause.`, { code: failure.code, error: failure.message });
    this.#options.onStopped?.(failure);
  }

  #present(): Life {
    if (this.#life === undefined) throw new OnefoldError("not-ready", "The node is not open.", { retryAfterMs: 500 });
    return this.#life;
  }

  // ------------------------------------------------------------------------------------------------------------ opening

  async #open(): Promise<void> {
    try {
      await this.#openOnce();
    } catch (error) {
      if (!(error instanceof StoreDamage)) throw error;
      this.#rebuildCount++;
      this.#host.trace("warn", "The store is damaged; it is deleted and rebuilt from a snapshot and the log.", {
        error: error.damage,
      });
      await this.#options.storeEngine.destroy();
      await this.#openRebuilt();
    }
  }

  /** What is damaged though it was made just now is damaged for good. */
  async #openRebuilt(): Promise<void> {
    try {
      await this.#openOnce();
    } catch (error) {
      throw error instanceof StoreDamage ? error.damage : error;
    }
  }

  async #openOnce(): Promise<void> {
    const parts = await openParts({
      ...this.#options,
      limits: this.#limits,
      quarantined: this.#quarantine?.names ?? new Set(),
      onProgress: (progress) => this.#options.onProgress?.(progress),
      abandonedSeal: this.#move.abandonedSeal,
      mayTrim: () => !this.#move.isUnderWay,
      onShardStopped: (error, { isDamage }) => this.#shardStopped(error, isDamage),
    });
    try {
      this.#begin(parts);
    } catch (error) {
      this.#life = undefined;
      await parts.log.close();
      await parts.store.close();
      throw error;
    }
  }

  #begin(parts: OpenParts): void {
    const { segmentBytes = this.#limits.segmentBytesDefault, snapshotBytes = snapshotBytesDefault } = this.#options;
    const upkeep = new Upkeep({ ...parts, host: this.#host, limits: this.#limits, snapshotBytes, segmentBytes });
    const life = { ...parts, upkeep };
    this.#life = life;
    readingStore(() => parts.shard.start());
    // Damage that its first works have found has ended it already, and the store is being rebuilt.
    if (this.#life !== life) return;
    parts.shard.setProblem("quarantine", this.#quarantine?.problem);
    this.#proxy.connect(parts.shard);
    upkeep.start();
    const { sequence } = parts.log.end!;
    this.#options.onProgress?.({ step: "ready", sequence, endSequence: sequence });
  }

  // --------------------------------------------------------------------------------------------------------- rebuilding

  #shardStopped(error: OnefoldError, isDamage: boolean): void {
    const { trace } = this.#host;
    if (isDamage && this.#move.tookLoss(error, { hasLife: this.#life !== undefined })) return;
    if (!isDamage || this.#isClosing) {
      trace("error", "The node has stopped. Mend the cause, then restart it.", {
        code: error.code,
        error: error.message,
      });
      this.#options.onStopped?.(error);
      return;
    }
    trace("warn", "The store is damaged; it is rebuilt from snapshot and log now. Check disk and memory.", {
      cause: error,
    });
    this.#rebuildCount++;
    this.#proxy.disconnect("The store is being rebuilt.");
    this.#rebuilding = this.#rebuild().catch((cause: unknown) => {
      const failure =
        cause instanceof OnefoldError
          ? cause
          : new OnefoldError("stopped", "The store could not be rebuilt.", { cause });
      this.#proxy.fail(failure);
      trace("error", "The store could not be rebuilt; the node has stopped. Mend the cause, then restart it.", {
        cause,
      });
      this.#options.onStopped?.(failure);
    });
  }

  /** N2, N3. */
  async #rebuild(): Promise<void> {
    for (let delayMs = roomFirstMs; ; delayMs = Math.min(2 * delayMs, roomMaxMs)) {
      await this.#endLife();
      if (this.#isClosing) return;
      await this.#options.storeEngine.destroy();
      try {
        return await this.#open();
      } catch (error) {
        if (!(error instanceof DiskError) || error.code !== "full") throw error;
        this.#host.trace("error", "The disk has no room to rebuild the store. Free some; it is tried again.", {
          error,
          delayMs,
        });
        this.#proxy.disconnect(
          `disk-full: the store can't be rebuilt until there is room on the disk: ${error.message}`,
        );
        // What is half rebuilt must not take the room of anything else meanwhile.
        await this.#options.storeEngine.destroy();
      }
      await this.#waitForRoom(delayMs);
    }
  }

  /** Resolves after the delay, or when the node is closed. */
  async #waitForRoom(delayMs: number): Promise<void> {
    if (this.#isClosing) return;
    await new Promise<void>((resolve) => {
      // The process stays for it: callers are told to come again.
      const timer = this.#host.timers.after(delayMs, resolve, { keepsAlive: true });
      this.#wait = {
        end: () => {
          timer.cancel();
          resolve();
        },
      };
    });
    this.#wait = undefined;
  }

  // ------------------------------------------------------------------------------------------------------------ closing

  async #endLife(): Promise<void> {
    const life = this.#life;
    this.#life = undefined;
    if (life === undefined) return;
    await endServing(life);
    await closeFiles(life);
  }

  /** Finishes what was accepted, anchors, and lets go of the data directory. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#wait?.end();
    await this.#rebuilding;
    await this.#move.ended();
    await this.#endLife();
    this.#proxy.disconnect("The node is stopping.");
    await this.#quarantine?.close();
    await this.#lock?.release();
  }
}
