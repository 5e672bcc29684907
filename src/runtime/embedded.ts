/**
 * One machine: a shard with all slots on a segment-file log, its store, and its snapshots, from opening to closing.
 *
 * N1  Before anything is served, the store has been held against the log, the log against all anchors that are known
 *     (its own, the store's position, the snapshots'), and the store brought up to the log's end (G8).
 * N2  A damaged store is rebuilt from snapshot and log, at the start or while running; a damaged log is named, not served.
 * N3  The log is trimmed only behind the older of two snapshots that were read back.
 * N4  What the log has acknowledged is anchored within a second, and at a clean stop.
 */
import { OnefoldError } from "../base/errors.ts";
import { assertLimits, type Limits, limits as defaultLimits } from "../base/limits.ts";
import { decodeBatch } from "../entity/batch.ts";
import type { SystemHandle } from "../entity/definition.ts";
import { foldBatch, WriteSet } from "../entity/fold.ts";
import type { Service } from "../entity/service.ts";
import { Shard } from "../entity/shard.ts";
import { DiskError, type Host, type Timer } from "../host/host.ts";
import { openSegmentLog, type SegmentLog } from "../log/engine/segment/engine.ts";
import type { LogPosition } from "../log/log.ts";
import { type Blobs, openDiskBlobs } from "../store/blobs.ts";
import { type Manifest, readManifest, readNewest } from "../store/manifest.ts";
import { openStoreOrRebuild } from "../store/recovery.ts";
import { collectGarbage, verifySnapshot, writeSnapshot } from "../store/snapshot.ts";
import type { Store, StoreEngine, Write } from "../store/store.ts";
import { Coordinator } from "../transaction/coordinator.ts";
import { dataLayout } from "./data-layout.ts";
import { appendGenesis, foldGenesis, readGenesis } from "./genesis.ts";
import { ServiceProxy } from "./service-proxy.ts";

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
  /** The node has stopped for good; nothing is served any more. */
  readonly onStopped?: (error: OnefoldError) => void;
}

export interface OpeningProgress {
  readonly step: "store" | "log" | "replay" | "ready";
  readonly sequence?: number;
  readonly endSequence?: number;
}

const snapshotBytesDefault = 256 * 1024 * 1024;
const snapshotRetryMs = 5000;
const replayBytes = 4 * 1024 * 1024;
const codeVersion = "0.1.0";
/** The scrub reads this much, then rests: a pass over a gigabyte takes some minutes and no one notices. */
const scrubBytes = 1024 * 1024;
const scrubRestMs = 100;
const scrubIntervalMs = 24 * 3_600_000;
const scrubFirstMs = 60_000;

/** What one opening of the log and the store has given. */
interface Opened {
  readonly store: Store;
  readonly log: SegmentLog;
  readonly blobs: Blobs;
  readonly shard: Shard;
  /** The newest snapshot, and whether the slots changed since are known. */
  manifest: Manifest | undefined;
  knowsDirtySlots: boolean;
}

export class EmbeddedNode {
  readonly #options: EmbeddedOptions;
  readonly #host: Host;
  readonly #limits: Limits;
  readonly #proxy = new ServiceProxy();
  #lock: { release(): Promise<void> } | undefined;
  #opened: Opened | undefined;
  #timers = new Set<Timer>();
  #snapshotAtBytes: number;
  #snapshotNotBeforeMs = 0;
  #snapshotting: Promise<void> | undefined;
  #anchoring: Promise<void> | undefined;
  #reopening: Promise<void> | undefined;
  #isClosing = false;
  #storeDamage: OnefoldError | undefined;

  private constructor(options: EmbeddedOptions) {
    this.#options = options;
    this.#host = options.host;
    this.#limits = { ...defaultLimits, ...options.limits };
    assertLimits(this.#limits);
    this.#snapshotAtBytes = this.#snapshotBytes;
  }

  /**
   * Opens the data directory, or makes it. At return it serves.
   * Throws `data-directory-busy` (retry `safe`), `damaged`, `unsupported-version`, `invalid-configuration` (all `never`),
   * `disk-full` (`safe`), `DiskError`.
   */
  static async open(options: EmbeddedOptions): Promise<EmbeddedNode> {
    const node = new EmbeddedNode(options);
    node.#lock = await lockDirectory(options.host);
    try {
      await node.#open();
    } catch (error) {
      await node.#lock.release();
      throw error;
    }
    return node;
  }

  get service(): Service {
    return this.#proxy;
  }

  /** For tests and benchmarks. */
  get shard(): Shard {
    if (this.#opened === undefined) throw new OnefoldError("not-ready", "The node is not open.");
    return this.#opened.shard;
  }

  /** For tests and benchmarks. */
  get log(): SegmentLog {
    if (this.#opened === undefined) throw new OnefoldError("not-ready", "The node is not open.");
    return this.#opened.log;
  }

  get #snapshotBytes(): number {
    return this.#options.snapshotBytes ?? snapshotBytesDefault;
  }

  readonly #yield = (): Promise<void> => new Promise((resolve) => this.#host.timers.soon(resolve));

  #progress(progress: OpeningProgress): void {
    this.#options.onProgress?.(progress);
  }

  // ------------------------------------------------------------------------------------------------------------ opening

  async #open(): Promise<void> {
    try {
      await this.#openParts();
    } catch (error) {
      if (this.#storeDamage === undefined || error !== this.#storeDamage) throw error;
      this.#host.trace("warn", "The store is damaged; it is deleted and rebuilt from a snapshot and the log.", {
        error,
      });
      await this.#options.storeEngine.destroy();
      await this.#openParts();
    }
  }

  /** Remembers damage that reading the store found: it can be rebuilt, unlike the log (N2). */
  #readingStore<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (error instanceof OnefoldError && error.code === "damaged") this.#storeDamage = error;
      throw error;
    }
  }

  async #openParts(): Promise<void> {
    const { host, system, storeEngine } = this.#options;
    const { disk, random, trace } = host;
    this.#progress({ step: "store" });
    for (const name of [dataLayout.log, dataLayout.snapshots]) await disk.makeDirectory(name);
    const blobs = await openDiskBlobs({ disk, directory: dataLayout.snapshots });
    const {
      store,
      rebuiltFrom,
      manifest: loaded,
    } = await openStoreOrRebuild({
      engine: storeEngine,
      blobs,
      trace,
      yield: this.#yield,
    });
    try {
      const manifests = await newestManifests(blobs, trace);
      const manifest = loaded ?? manifests[0];
      this.#progress({ step: "log" });
      const verifiedThrough = [store.position, ...manifests.map(({ position }) => position)].filter(
        (position): position is LogPosition => position !== null,
      );
      const log = await openSegmentLog({
        disk,
        random,
        trace,
        directory: dataLayout.log,
        verifiedThrough,
        verifyFromSequence: store.position?.sequence ?? 1,
        ...(this.#options.segmentBytes === undefined ? {} : { segmentBytes: this.#options.segmentBytes }),
        ...(this.#options.reserveBytes === undefined ? {} : { reserveBytes: this.#options.reserveBytes }),
      });
      try {
        if (log.end === null) await appendGenesis(log, host, system.definition.name);
        const replayedSlots = await this.#replay(log, store);
        const shard = await this.#shardOf(log, store);
        // What the replay changed differs from the snapshot that the store came from.
        shard.applier.returnDirtySlots(replayedSlots);
        const opened: Opened = {
          store,
          log,
          blobs,
          shard,
          manifest,
          // Only of the snapshot that the store came from just now is it known what has changed since.
          knowsDirtySlots: rebuiltFrom === "snapshot" && loaded !== undefined,
        };
        this.#opened = opened;
        try {
          this.#readingStore(() => shard.start());
        } catch (error) {
          this.#opened = undefined;
          throw error;
        }
        // Damage that its first works have found has had it closed already, and it is being rebuilt.
        if (this.#opened !== opened) return;
        this.#proxy.connect(shard);
        this.#schedule();
        this.#progress({ step: "ready", sequence: log.end!.sequence, endSequence: log.end!.sequence });
      } catch (error) {
        await log.close();
        throw error;
      }
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  async #shardOf(log: SegmentLog, store: Store): Promise<Shard> {
    const { system, cacheBytes } = this.#options;
    const genesis = this.#readingStore(() => readGenesis(store));
    if (genesis.systemName !== system.definition.name) {
      throw new OnefoldError(
        "invalid-configuration",
        `The data directory belongs to the system '${genesis.systemName}', not to '${system.definition.name}'. Choose another one with --data.`,
      );
    }
    const last = await log.read(log.end!.sequence);
    return new Shard({
      host: this.#host,
      limits: this.#limits,
      system: system.definition,
      log,
      store,
      lastTimeMs: last!.timeMs,
      secret: genesis.secret,
      ...(cacheBytes === undefined ? {} : { cacheBytes }),
      transactions: (core) => new Coordinator(core, this.#host.newScope()),
      onStopped: (error, { isDamage }) => this.#shardStopped(error, isDamage),
    });
  }

  /** Folds what the log holds beyond the store; returns the slots that it changed. Runs no user code. */
  async #replay(log: SegmentLog, store: Store): Promise<ReadonlySet<number>> {
    const from = (store.position?.sequence ?? 0) + 1;
    const endSequence = log.end!.sequence;
    if (from < log.firstSequence) {
      throw new OnefoldError(
        "damaged",
        `The store must be rebuilt, but the log begins at ${log.firstSequence} and no whole snapshot reaches there. Restore a backup.`,
        { details: { firstSequence: log.firstSequence, neededSequence: from } },
      );
    }
    const slots = new Set<number>();
    let writes = new WriteSet();
    let extra: Write[] = [];
    let bytes = 0;
    let position: LogPosition | undefined;
    for await (const record of log.scan(from)) {
      if (record.kind === "genesis") extra.push(foldGenesis(record.payload));
      if (record.kind === "batch") foldBatch(decodeBatch(record.payload), record.sequence, writes);
      bytes += record.payload.length;
      const { incarnation, epoch, sequence, hash } = record;
      position = { incarnation, epoch, sequence, hash };
      if (bytes < replayBytes) continue;
      await store.apply([...extra, ...writes], position);
      for (const slot of writes.slots) slots.add(slot);
      this.#progress({ step: "replay", sequence, endSequence });
      writes = new WriteSet();
      extra = [];
      bytes = 0;
    }
    if (position !== undefined && position.sequence !== store.position?.sequence) {
      await store.apply([...extra, ...writes], position);
      for (const slot of writes.slots) slots.add(slot);
    }
    return slots;
  }

  // ------------------------------------------------------------------------------------------------------------ upkeep

  #after(delayMs: number, run: () => void): void {
    if (this.#isClosing) return;
    const timer = this.#host.timers.after(delayMs, () => {
      this.#timers.delete(timer);
      if (!this.#isClosing) run();
    });
    this.#timers.add(timer);
  }

  #schedule(): void {
    this.#snapshotAtBytes = this.#snapshotBytes;
    this.#after(this.#limits.anchorIntervalMs, this.#upkeep);
    this.#after(scrubFirstMs, this.#scrub);
  }

  readonly #upkeep = (): void => {
    const opened = this.#opened;
    if (opened === undefined) return;
    const { log, shard } = opened;
    this.#anchoring = log.anchor().then(
      () => undefined,
      (cause: unknown) => {
        this.#host.trace("error", "The log's end could not be anchored; a rollback could go unnoticed.", { cause });
        shard.setProblem("anchor", "The log's end could not be anchored.");
      },
    );
    const { isFull } = shard.applier;
    const isWanted = shard.appendedBytes >= this.#snapshotAtBytes || shard.isLogFull;
    const nowMs = this.#host.clock.monotonicMs();
    if (isWanted && !isFull && this.#snapshotting === undefined && nowMs >= this.#snapshotNotBeforeMs) {
      // On a disk that stays full it is tried again now and then, not with every breath.
      if (shard.isLogFull) this.#snapshotNotBeforeMs = nowMs + snapshotRetryMs;
      this.#startSnapshot(opened);
    }
    this.#anchoring.then(() => {
      this.#anchoring = undefined;
      if (this.#opened === opened) this.#after(this.#limits.anchorIntervalMs, this.#upkeep);
    }, undefined);
  };

  #startSnapshot(opened: Opened): void {
    this.#snapshotInTurn(opened).catch((cause: unknown) => {
      this.#host.trace("error", "A snapshot failed; the log is not trimmed until the next one succeeds.", { cause });
      opened.shard.setProblem("snapshot", "The last snapshot failed.");
    });
  }

  /** Takes a snapshot now and trims what two of them make superfluous. */
  async snapshot(): Promise<void> {
    const opened = this.#opened;
    if (opened === undefined) throw new OnefoldError("not-ready", "The node is not open.");
    await this.#snapshotInTurn(opened);
  }

  /** One after the other: two at once would take each other's unpublished pieces for garbage. */
  #snapshotInTurn(opened: Opened): Promise<void> {
    const before = this.#snapshotting ?? Promise.resolve();
    const snapshot = before.then(() => {
      if (this.#opened !== opened) throw new OnefoldError("not-ready", "The node was closed meanwhile.");
      this.#snapshotAtBytes = opened.shard.appendedBytes + this.#snapshotBytes;
      return this.#snapshot(opened);
    });
    const over = snapshot
      .catch(() => undefined) // Whoever asked for it hears of it; the next in turn only waits.
      .then(() => {
        if (this.#snapshotting === over) this.#snapshotting = undefined;
      });
    this.#snapshotting = over;
    return snapshot;
  }

  async #snapshot(opened: Opened): Promise<void> {
    const { store, blobs, shard, log, manifest: previous } = opened;
    if (shard.isLogFull) await log.releaseReserve();
    await shard.applier.flush();
    const dirtySlots = shard.applier.takeDirtySlots();
    const view = store.view();
    let manifest: Manifest;
    try {
      manifest = await writeSnapshot({
        view,
        blobs,
        codeVersion,
        yield: this.#yield,
        ...(previous === undefined ? {} : { previous, dirtySlots: opened.knowsDirtySlots ? dirtySlots : "all" }),
      });
    } catch (error) {
      shard.applier.returnDirtySlots(dirtySlots);
      throw error;
    } finally {
      view.close();
    }
    opened.manifest = manifest;
    opened.knowsDirtySlots = true;
    shard.setProblem("snapshot", undefined);
    await collectGarbage({ blobs, yield: this.#yield });
    const older = (await newestManifests(blobs, this.#host.trace))[1];
    if (older === undefined) return;
    // Pieces that the newer snapshot took over were read back long ago: what the log is given up for is read again.
    await verifySnapshot({ manifest: older, blobs, yield: this.#yield });
    await log.trim(older.position.sequence + 1);
  }

  /** Reads everything that the log holds, slowly: what was not verified at the start is found before it is needed. */
  readonly #scrub = (): void => {
    const opened = this.#opened;
    if (opened === undefined) return;
    this.#scrubLog(opened).then(
      () => opened.shard.setProblem("scrub", undefined),
      (cause: unknown) => {
        if (this.#isClosing || this.#opened !== opened) return;
        this.#host.trace("error", "The log is damaged; run `onefold verify` and restore a backup.", { cause });
        opened.shard.setProblem("scrub", `The log is damaged: ${cause instanceof Error ? cause.message : "unknown"}`);
      },
    );
    this.#after(scrubIntervalMs, this.#scrub);
  };

  async #scrubLog({ log }: Opened): Promise<void> {
    let bytes = 0;
    let sequence = log.firstSequence;
    for (;;) {
      if (this.#isClosing) return;
      if (sequence < log.firstSequence) sequence = log.firstSequence;
      const record = await log.read(sequence).catch((error: unknown) => {
        // Trimmed while it was looked for.
        if (sequence < log.firstSequence) return "trimmed" as const;
        throw error;
      });
      if (record === "trimmed") continue;
      if (record === undefined) return;
      sequence++;
      bytes += record.bytes.length;
      if (bytes < scrubBytes) continue;
      bytes = 0;
      await new Promise<void>((resolve) => this.#after(scrubRestMs, resolve));
    }
  }

  // ----------------------------------------------------------------------------------------------------------- stopping

  #shardStopped(error: OnefoldError, isDamage: boolean): void {
    if (!isDamage || this.#isClosing) {
      this.#host.trace("error", "The node has stopped; restart it.", { code: error.code, error: error.message });
      this.#options.onStopped?.(error);
      return;
    }
    this.#host.trace("error", "The store is damaged; it is rebuilt from snapshot and log now.", { cause: error });
    this.#proxy.disconnect();
    this.#reopening = this.#reopen().catch((cause: unknown) => {
      const failure =
        cause instanceof OnefoldError
          ? cause
          : new OnefoldError("stopped", "The store could not be rebuilt.", { cause });
      this.#proxy.fail(failure);
      this.#host.trace("error", "The store could not be rebuilt; the node has stopped.", { cause });
      this.#options.onStopped?.(failure);
    });
  }

  /** N2, while running. */
  async #reopen(): Promise<void> {
    await this.#closeParts();
    if (this.#isClosing) return;
    await this.#options.storeEngine.destroy();
    await this.#open();
  }

  async #closeParts(): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    if (opened === undefined) return;
    await opened.shard.close();
    await this.#anchoring;
    await this.#snapshotting;
    await opened.log.close();
    await opened.store.close();
  }

  /** Finishes what was accepted, anchors, and lets go of the data directory. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    await this.#reopening;
    await this.#closeParts();
    this.#proxy.disconnect();
    await this.#lock?.release();
  }
}

async function lockDirectory(host: Host): Promise<{ release(): Promise<void> }> {
  try {
    return await host.disk.lock(dataLayout.lock);
  } catch (cause) {
    if (!(cause instanceof DiskError) || cause.code !== "busy") throw cause;
    throw new OnefoldError("data-directory-busy", `Another process uses the data directory: ${cause.message}`, {
      cause,
    });
  }
}

/** The manifests of the newest two snapshots, newest first; one that can't be read is left out, and named. */
async function newestManifests(blobs: Blobs, trace: Host["trace"]): Promise<Manifest[]> {
  const manifests: Manifest[] = [];
  let addresses: Awaited<ReturnType<typeof readNewest>>;
  try {
    addresses = await readNewest(blobs);
  } catch (cause) {
    trace("error", "The list of snapshots is damaged; the next snapshot replaces it.", { cause });
    return manifests;
  }
  for (const address of addresses) {
    try {
      manifests.push(await readManifest(blobs, address));
    } catch (cause) {
      trace("error", "A snapshot's manifest is damaged; the log is kept until there are two good ones.", { cause });
    }
  }
  return manifests;
}
