/**
 * The move of a data directory's system to a cluster while no node has the directory open: opened as a start does, without a system, since
 * no user code runs in it.
 *
 * SM1 What an earlier move has left undecided is decided first; one that has taken hold is said, and nothing is done.
 */
import { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { readGenesis } from "../entity/genesis.ts";
import { replay } from "../entity/replay.ts";
import type { Host, Trace } from "../host/host.ts";
import { nodeHost } from "../host/node/host.ts";
import type { SegmentLog } from "../log/engine/segment/engine.ts";
import { openDiskBlobs } from "../store/blobs.ts";
import { lmdbStore } from "../store/engine/lmdb.ts";
import { readNewestManifests } from "../store/manifest.ts";
import { openStoreOrRebuild } from "../store/recovery.ts";
import type { Store, StoreEngine } from "../store/store.ts";
import type { PromotionOptions, PromotionProgress, PromotionReport, PromotionTarget } from "../wire/promotion.ts";
import type { ClusterEngine } from "./cluster-engine.ts";
import { dataLayout } from "./data-layout.ts";
import { assertRole, lockDirectory } from "./directory-role.ts";
import { connectTarget } from "./nats-cluster.ts";
import { openLogBeside } from "./opening.ts";
import { promote, settlePromotion } from "./promotion.ts";
import { readPromotionFile, writePromotionFile } from "./promotion-file.ts";
import { goOnAfter, promotionSealOf } from "./promotion-seal.ts";

export interface StoppedPromotionOptions {
  /** Its disk's root is the data directory. */
  readonly host: Pick<Host, "disk" | "clock" | "random" | "timers" | "trace">;
  readonly storeEngine: StoreEngine;
  readonly connectEngine: (target: PromotionTarget, systemName: string) => Promise<ClusterEngine>;
  readonly options: PromotionOptions;
  readonly onProgress: (progress: PromotionProgress) => void;
}

/** Throws as `EmbeddedNode.promote` does, `data-directory-busy` (retry safe), and `invalid-configuration` where there are no data. */
export async function promoteStopped(parts: StoppedPromotionOptions): Promise<PromotionReport> {
  const { disk } = parts.host;
  const lock = await lockDirectory(disk);
  try {
    await assertRole(disk, "embedded");
    if ((await disk.list(dataLayout.log)).length === 0) {
      const message = "There is no Onefold data in this directory. Name it with --data.";
      throw new OnefoldError("invalid-configuration", message);
    }
    return await openAndPromote(parts);
  } finally {
    await lock.release();
  }
}

/** The same for a directory of this machine, with the store that nodes use. */
export function promoteDataDirectory({
  dataDirectory,
  trace,
  ...rest
}: Pick<StoppedPromotionOptions, "options" | "onProgress"> & {
  readonly dataDirectory: string;
  readonly trace?: Trace;
}): Promise<PromotionReport> {
  const host = nodeHost({ dataDirectory, ...(trace === undefined ? {} : { trace }) });
  const storeEngine = lmdbStore({ directory: `${dataDirectory}/${dataLayout.store}`, trace: host.trace });
  return promoteStopped({ ...rest, host, storeEngine, connectEngine: connectTarget });
}

async function openAndPromote(parts: StoppedPromotionOptions): Promise<PromotionReport> {
  const { host, storeEngine } = parts;
  const { disk, timers, trace } = host;
  const blobs = await openDiskBlobs({ disk, directory: dataLayout.snapshots });
  const takeTurn = (): Promise<void> => new Promise((resolve) => timers.soon(resolve));
  const { store } = await openStoreOrRebuild({ engine: storeEngine, blobs, trace, yield: takeTurn });
  try {
    const manifests = await readNewestManifests(blobs, trace);
    const log = await openLogBeside(host, store, manifests, { reserveBytes: 0 });
    try {
      await replay(log, store, () => undefined);
      await settleEarlier(parts, log, store);
      return await move(parts, log, store);
    } finally {
      await log.close();
    }
  } finally {
    await store.close();
  }
}

/** SM1. */
async function settleEarlier({ host, connectEngine }: StoppedPromotionOptions, log: SegmentLog, store: Store) {
  const seal = promotionSealOf(store);
  if (seal === undefined) return;
  const file = await readPromotionFile(host.disk);
  if (file === undefined)
    throw new OnefoldError("damaged", `The log is sealed: ${seal.detail}. Where that is, is not known here.`);
  const { target, cluster, status } = file;
  const settled =
    status === "moved"
      ? { fate: "activated" as const, nodes: file.nodes }
      : await settlePromotion({
          host,
          limits,
          connect: () => connectEngine(target, readGenesis(store).systemName),
          cluster,
          attempt: seal.attempt,
          isWanted: () => true,
        });
  if (settled?.fate === "activated") {
    throw new OnefoldError("invalid-configuration", `The system has moved to the cluster on ${target.to} already.`, {
      details: { movedTo: { engine: target.to, nodes: [...settled.nodes] } },
    });
  }
  await goOnAfter(log, host, seal, seal.hash);
  await replay(log, store, () => undefined);
}

async function move(parts: StoppedPromotionOptions, log: SegmentLog, store: Store): Promise<PromotionReport> {
  const { host, options, connectEngine, onProgress } = parts;
  const engine = await connectEngine(options.target, readGenesis(store).systemName);
  try {
    const outcome = await promote({
      host,
      limits,
      options,
      // Without the system's code nobody knows what is pinned: nodes whose code pins something refuse to join, and the move does not take hold.
      regions: undefined,
      engine,
      onProgress,
      system: {
        log,
        store,
        pause: () => Promise.resolve(),
        watchDirtySlots: () => () => undefined,
        activated: ({ cluster, nodes }) =>
          writePromotionFile(host.disk, { target: options.target, cluster, nodes, status: "moved" }),
        isWanted: () => true,
      },
    });
    if (outcome.kind === "activated") return outcome.report;
    const message = "The move could not be finished in time; the system stays where it is. Try again.";
    const cause = outcome.kind === "abandoned" ? outcome.cause : undefined;
    throw new OnefoldError("unavailable", message, { cause });
  } finally {
    await engine.close();
  }
}
