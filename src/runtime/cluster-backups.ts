/**
 * Backups of a cluster, by any node of it: a cut is taken of all shards (`cluster/cluster-cut.ts`), each owner writes its state there into
 * the engine, and this node reads that, piece by piece, as it is asked for.
 *
 * KC1 A backup holds everything that was acknowledged before it was asked for, and what all shards' logs held at one moment (CC1). No call
 *     fails for it; shards' logs rest for the moment of the cut.
 * KC2 Of the state no more than one piece is in this node's memory, however slowly it is read. Beside it: the manifests.
 * KC3 At most `backupsOpenMax` at once; at the limit `overloaded`.
 * KC4 Every piece is verified when it is read. One that is damaged, or gone, ends the backup, without a summary: it is never one.
 */
import { BackupEncoder, backupSizeBytes, type ClusterFacts } from "../backup/encoder.ts";
import { backupIdBytes } from "../backup/format.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { version } from "../base/version.ts";
import type { ClusterCut, CutShard } from "../cluster/cluster-cut.ts";
import type { ClusterNode } from "../cluster/cluster-node.ts";
import type { OpenBackup } from "../gateway/backup.ts";
import type { Host } from "../host/host.ts";
import { equalPositions } from "../log/chain.ts";
import type { BlobAddress, Blobs } from "../store/blobs.ts";
import { decodeManifest, pieceSizes } from "../store/manifest.ts";
import { BackupPlaces } from "./backup-places.ts";

interface Section {
  readonly blobs: Pick<Blobs, "get">;
  readonly address: BlobAddress;
  readonly manifest: Uint8Array;
  /** Each content once. */
  readonly sizes: ReadonlyMap<BlobAddress, number>;
}

export class ClusterBackups {
  readonly #host: Pick<Host, "clock" | "random">;
  readonly #present: () => ClusterNode;
  readonly #places: BackupPlaces;

  /** `present` throws `not-ready` where the node is no member. */
  constructor(host: Pick<Host, "clock" | "random">, limits: Limits, present: () => ClusterNode) {
    this.#host = host;
    this.#places = new BackupPlaces(limits.backupsOpenMax);
    this.#present = present;
  }

  /** See `BackupSource.openBackup`. */
  async open(): Promise<OpenBackup> {
    const leave = this.#places.take();
    let cut: ClusterCut | undefined;
    const close = (): void => {
      leave();
      cut?.close();
      cut = undefined;
    };
    try {
      const node = this.#present();
      cut = await node.cut();
      return { ...(await this.#describe(node, cut)), close };
    } catch (error) {
      close();
      throw error;
    }
  }

  async #describe(node: ClusterNode, cut: ClusterCut): Promise<Omit<OpenBackup, "close">> {
    const sections: Section[] = [];
    for (const shard of cut.shards) sections.push(await readSection(node, shard));
    const { id, systemName, shardCount, followerCount } = cut.cluster;
    const facts: ClusterFacts = {
      systemName,
      codeVersion: version,
      cluster: { id, shardCount, followerCount },
      shards: cut.shards.map(({ shard: { id, from, to, log }, position, genesis, manifest }) => {
        return { id, from, to, log, position, genesis, manifest };
      }),
    };
    const header = {
      version: 2,
      id: this.#host.random.bytes(backupIdBytes),
      takenAtMs: this.#host.clock.wallMs(),
    } as const;
    const sizes = sections.flatMap(({ manifest, sizes }) => [manifest.length, ...sizes.values()]);
    async function* chunks(): AsyncIterable<Uint8Array> {
      const encoder = new BackupEncoder(header);
      yield encoder.begin();
      for (const { blobs, address, manifest, sizes } of sections) {
        yield* encoder.manifest(manifest, address);
        for (const piece of sizes.keys()) yield* encoder.blob(await blobs.get(piece), piece);
      }
      yield* encoder.end(facts);
    }
    return { sequence: undefined, sizeBytes: backupSizeBytes(sizes, facts), chunks };
  }
}

async function readSection(node: ClusterNode, { shard, epoch, position, manifest }: CutShard): Promise<Section> {
  const blobs = node.snapshotPlace(shard.log, epoch);
  const bytes = await blobs.get(manifest);
  const decoded = decodeManifest(bytes);
  if (!equalPositions(decoded.position, position)) {
    throw new OnefoldError("damaged", `The snapshot of the shard ${shard.id} is not of the position where it was cut.`);
  }
  return { blobs, address: manifest, manifest: bytes, sizes: pieceSizes(decoded) };
}
