/**
 * Opens a store, or makes it anew from the newest snapshot that is whole. Afterwards the store holds some state that once
 * was committed; the caller replays the log from `store.position` on, and holds that position against the log: a store
 * ahead of its log is an anchor that the log has lost (G8).
 *
 * V1  A store that is damaged, or was left half loaded, is destroyed before anything is read from it.
 * V2  A snapshot that turns out damaged while it loads leaves nothing of itself in the store.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Trace } from "../host/host.ts";
import type { BlobAddress, Blobs } from "./blobs.ts";
import { isSnapshotDamage, type Manifest, readManifest, readNewest, searchManifests } from "./manifest.ts";
import { isLoading } from "./position.ts";
import { loadSnapshot } from "./snapshot.ts";
import type { Store, StoreEngine } from "./store.ts";

export interface OpenedStore {
  readonly store: Store;
  /** `kept`: as it was. `snapshot`: position is that snapshot's. `empty`: the log must be replayed from its genesis. */
  readonly rebuiltFrom: "kept" | "snapshot" | "empty";
  /** Why it was not kept, in one sentence. */
  readonly reason?: string;
  /** What was loaded: the base for the next incremental snapshot, with the slots dirty that the replay touches. */
  readonly manifest?: Manifest;
}

const emptyReason = "The store was empty.";

export interface OpenStoreOptions {
  readonly engine: StoreEngine;
  readonly blobs: Blobs;
  readonly trace: Trace;
  readonly yield: () => Promise<void>;
}

/** Throws `DiskError` where the disk refuses and `unsupported-version` where the data are newer; never for damage. */
export async function openStoreOrRebuild(options: OpenStoreOptions): Promise<OpenedStore> {
  const { engine, trace } = options;
  const opened = await openOrReason(engine);
  if (typeof opened !== "string") return { store: opened, rebuiltFrom: "kept" };
  const reason = opened;
  const candidates = await snapshotCandidates(options);
  for (const [index, address] of candidates.entries()) {
    const fallback = index + 1 < candidates.length ? "The next older one is tried." : "The whole log is replayed.";
    const loaded = await tryLoad(options, address, fallback);
    if (loaded === undefined) continue;
    trace("info", "The store was rebuilt from a snapshot; the log behind it is replayed next.", {
      reason,
      sequence: loaded.manifest.position.sequence,
    });
    return { ...loaded, rebuiltFrom: "snapshot", reason };
  }
  await engine.destroy();
  const store = await engine.open();
  // Nothing to tell where nothing was there before: each shard of a new node begins so.
  const isNew = reason === emptyReason && candidates.length === 0;
  trace(isNew ? "debug" : "info", "The store starts empty; the log is replayed from its begin.", { reason });
  return { store, rebuiltFrom: "empty", reason };

  async function openOrReason(engine: StoreEngine): Promise<Store | string> {
    try {
      const store = await engine.open();
      if (store.position !== null && !isLoading(store.position)) return store;
      const half = store.position !== null;
      await store.close();
      if (half) trace("warn", "The store was left while a snapshot was being loaded; it is rebuilt now.");
      return half ? "The store was left while a snapshot was being loaded." : emptyReason;
    } catch (error) {
      if (!(error instanceof OnefoldError && error.code === "damaged")) throw error;
      trace("warn", "The store is damaged; it is deleted and rebuilt from a snapshot and the log.", { error });
      return error.message;
    }
  }
}

/** Newest first. With a damaged pointer, whatever can be found. */
async function snapshotCandidates({ blobs, trace }: OpenStoreOptions): Promise<readonly BlobAddress[]> {
  try {
    return await readNewest(blobs);
  } catch (error) {
    if (!isSnapshotDamage(error)) throw error;
    trace("warn", "The pointer to the newest snapshots is damaged; all blobs are searched for snapshots.", { error });
    return await searchManifests(blobs);
  }
}

async function tryLoad(
  options: OpenStoreOptions,
  address: BlobAddress,
  fallback: string,
): Promise<{ readonly store: Store; readonly manifest: Manifest } | undefined> {
  const { engine, blobs, trace } = options;
  await engine.destroy();
  const store = await engine.open();
  try {
    const manifest = await readManifest(blobs, address);
    await loadSnapshot({ manifest, blobs, store, yield: options.yield });
    return { store, manifest };
  } catch (error) {
    await store.close();
    if (!isSnapshotDamage(error)) throw error;
    trace("warn", `A snapshot is damaged and can't be loaded. ${fallback}`, { address, error });
    return undefined;
  }
}
