/**
 * Opening a data directory: the store, the log and the snapshots are held against each other, and the store is brought up to
 * the log's end, before there is a shard that could serve.
 *
 * O1  The log must hold all anchors that are known: its own, the store's position, the snapshots' positions (G8).
 * O2  A damaged store is told apart (`StoreDamage`): it can be rebuilt. A damaged log is named, and nothing is opened.
 * O3  What can't be opened leaves nothing open.
 * O4  Code that would look for entities in other slots than they are in is refused (`entity/pins.ts`).
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { SystemHandle } from "../entity/definition.ts";
import { assertPins } from "../entity/pins.ts";
import { Shard } from "../entity/shard.ts";
import type { Host } from "../host/host.ts";
import { openSegmentLog, type SegmentLog, type SegmentLogOptions } from "../log/engine/segment/engine.ts";
import type { Log, LogPosition } from "../log/log.ts";
import { type Blobs, openDiskBlobs } from "../store/blobs.ts";
import { type Manifest, readNewestManifests } from "../store/manifest.ts";
import { type OpenedStore, openStoreOrRebuild } from "../store/recovery.ts";
import type { Store, StoreEngine } from "../store/store.ts";
import { Coordinator } from "../transaction/coordinator.ts";
import { dataLayout } from "./data-layout.ts";
import { appendGenesis, readGenesis } from "../entity/genesis.ts";
import { replay } from "../entity/replay.ts";
import { goOnAfter, promotionSealOf } from "./promotion-seal.ts";
import { Snapshots } from "./snapshots.ts";
import { readingStore } from "./store-damage.ts";

export interface OpeningProgress {
  readonly step: "store" | "log" | "replay" | "ready";
  readonly sequence?: number;
  readonly endSequence?: number;
}

export interface OpeningOptions {
  readonly system: SystemHandle;
  /** Its disk's root is the data directory, which the caller has locked. */
  readonly host: Host;
  readonly storeEngine: StoreEngine;
  readonly limits: Limits;
  readonly cacheBytes?: number;
  /** Names of entities that none of the user's code is to run for. */
  readonly quarantined?: ReadonlySet<string>;
  readonly segmentBytes?: number;
  readonly reserveBytes?: number;
  readonly onProgress: (progress: OpeningProgress) => void;
  /** The hash of a seal with which the log may end, and whose move to a cluster is known never to take hold: the log goes on behind it. */
  readonly abandonedSeal?: Uint8Array | undefined;
  /** See `SnapshotsParts`. */
  readonly mayTrim?: () => boolean;
  /** The log as the shard is to append to it, for metrics. */
  readonly measureLog?: (log: Log) => Log;
  /** The shard has stopped for good. */
  readonly onShardStopped: (error: OnefoldError, facts: { readonly isDamage: boolean }) => void;
}

/** What is open. The shard has not been started. */
export interface OpenParts {
  readonly store: Store;
  readonly log: SegmentLog;
  readonly shard: Shard;
  readonly snapshots: Snapshots;
}

/**
 * Opens what the data directory holds, or makes it. Throws `StoreDamage` (O2), `damaged`, `unsupported-version` and
 * `invalid-configuration` (retry never), `disk-full` (retry safe), `DiskError`, and `SealedForPromotion` for a log that ends with the seal of
 * a move to a cluster of which nothing is known (PS1).
 */
export async function openParts(options: OpeningOptions): Promise<OpenParts> {
  const { host, storeEngine, onProgress } = options;
  const { disk, trace } = host;
  onProgress({ step: "store" });
  for (const name of [dataLayout.log, dataLayout.snapshots]) await disk.makeDirectory(name);
  const blobs = await openDiskBlobs({ disk, directory: dataLayout.snapshots });
  const takeTurn = turnOf(host);
  const opened = await openStoreOrRebuild({ engine: storeEngine, blobs, trace, yield: takeTurn });
  try {
    return await openOnStore(options, blobs, opened);
  } catch (error) {
    await opened.store.close();
    throw error;
  }
}

async function openOnStore(options: OpeningOptions, blobs: Blobs, opened: OpenedStore): Promise<OpenParts> {
  const { system, host, segmentBytes, reserveBytes, onProgress } = options;
  const { disk, trace } = host;
  const { store, rebuiltFrom, manifest: loaded } = opened;
  const manifests = await readNewestManifests(blobs, trace);
  onProgress({ step: "log" });
  let snapshots: Snapshots | undefined;
  const log = await openLogBeside(host, store, manifests, {
    keepFreeBytes: () => snapshots?.roomBytes ?? 0,
    ...(segmentBytes === undefined ? {} : { segmentBytes }),
    ...(reserveBytes === undefined ? {} : { reserveBytes }),
  });
  try {
    if (log.end === null) await appendGenesis(log, host, system.definition.name);
    const endSequence = log.end!.sequence;
    const replayedSlots = await replay(log, store, (sequence) => onProgress({ step: "replay", sequence, endSequence }));
    const seal = readingStore(() => promotionSealOf(store));
    if (seal !== undefined) {
      await goOnAfter(log, host, seal, options.abandonedSeal);
      await replay(log, store, () => undefined);
    }
    const shard = await makeShard(options, log, store);
    // What the replay changed differs from the snapshot that the store came from.
    shard.applier.returnDirtySlots(replayedSlots);
    snapshots = new Snapshots({
      disk,
      trace,
      yield: turnOf(host),
      store,
      log,
      blobs,
      shard,
      newest: loaded ?? manifests[0],
      // Only of the snapshot that the store came from just now is it known what has changed since.
      knowsDirtySlots: rebuiltFrom === "snapshot" && loaded !== undefined,
      ...(options.mayTrim === undefined ? {} : { mayTrim: options.mayTrim }),
    });
    return { store, log, shard, snapshots };
  } catch (error) {
    await log.close();
    throw error;
  }
}

/**
 * Opens the log of a data directory, which must hold the positions of its store and snapshots (O1). What is behind the store's is verified
 * now, the rest when it is read. Throws `damaged` and `unsupported-version` (retry never), `disk-full` (retry safe), `DiskError`.
 */
export function openLogBeside(
  { disk, random, trace }: Pick<Host, "disk" | "random" | "trace">,
  store: Store,
  manifests: readonly Manifest[],
  options: Pick<SegmentLogOptions, "keepFreeBytes" | "segmentBytes" | "reserveBytes">,
): Promise<SegmentLog> {
  return openSegmentLog({
    ...options,
    disk,
    random,
    trace,
    directory: dataLayout.log,
    verifiedThrough: [store.position, ...manifests.map(({ position }) => position)].filter(
      (position): position is LogPosition => position !== null,
    ),
    verifyFromSequence: store.position?.sequence ?? 1,
  });
}

async function makeShard(options: OpeningOptions, log: SegmentLog, store: Store): Promise<Shard> {
  const { system, host, limits, cacheBytes, quarantined, onShardStopped } = options;
  const genesis = readingStore(() => readGenesis(store));
  if (genesis.systemName !== system.definition.name) {
    throw new OnefoldError(
      "invalid-configuration",
      `The data directory belongs to the system '${genesis.systemName}', not to '${system.definition.name}'. Choose another one with --data.`,
    );
  }
  readingStore(() => assertPins(store, system.definition));
  const last = await log.read(log.end!.sequence);
  return new Shard({
    host,
    limits,
    system: system.definition,
    log: options.measureLog?.(log) ?? log,
    store,
    lastTimeMs: last!.timeMs,
    secret: genesis.secret,
    ...(cacheBytes === undefined ? {} : { cacheBytes }),
    ...(quarantined === undefined ? {} : { quarantined }),
    transactions: (core) => new Coordinator(core, host.newScope()),
    onStopped: onShardStopped,
  });
}

function turnOf({ timers }: Pick<Host, "timers">): () => Promise<void> {
  return () => new Promise((resolve) => timers.soon(resolve));
}
