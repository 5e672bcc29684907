/**
 * Holds what came in a backup against what its manifests and summary say that it is.
 *
 * C1  Of one log: the blobs are the manifest's pieces, all of them and no others, and then the manifest.
 * C2  A manifest's position is the one that the summary has for it.
 * C3  Of a cluster: behind each manifest come its pieces, all of them and no others; the manifests are the summary's, in its order.
 */
import { OnefoldError } from "../base/errors.ts";
import { equalPositions } from "../log/chain.ts";
import { type BlobAddress, blobAddress } from "../store/blobs.ts";
import { decodeManifest, type Manifest, piecesOf } from "../store/manifest.ts";
import type { BackupBlob, WholeBackup } from "./decoder.ts";
import { damagedBackup } from "./format.ts";
import { type BackupSummary, isOfCluster, type LogSummary } from "./summary.ts";

/** What came for one shard. */
interface Section {
  readonly blob: BackupBlob;
  readonly address: BlobAddress;
  readonly manifest: Manifest;
}

export class BackupContents {
  /** Of the present section, or of all where there is but one log. */
  #sizes = new Map<BlobAddress, number>();
  #last: { readonly blob: BackupBlob; readonly address: BlobAddress } | undefined;
  readonly #sections: Section[] = [];

  /** To be called with each blob, in order; returns its address. Throws `damaged` (retry never) where C3 doesn't hold. */
  note(blob: BackupBlob): BlobAddress {
    const address = blobAddress(blob.content);
    const { index, offset, content } = blob;
    if (blob.kind === "manifest") {
      this.#endSection();
      this.#sizes = new Map();
      this.#sections.push({ blob, address, manifest: decodeManifest(content) });
      return address;
    }
    if (this.#sizes.has(address)) throw damagedBackup(`part ${index}`, offset, "its content was there before");
    this.#sizes.set(address, content.length);
    this.#last = { blob, address };
    return address;
  }

  /** The manifest of the section that is under way. */
  get present(): Manifest | undefined {
    return this.#sections.at(-1)?.manifest;
  }

  /** The manifest of each log, once the backup is over. Throws `damaged` (retry never) where C1, C2 or C3 doesn't hold. */
  manifests({ summary }: WholeBackup): readonly Manifest[] {
    if (!isOfCluster(summary)) return [this.#lone(summary)];
    this.#endSection();
    if (summary.shards.length !== this.#sections.length) {
      throw damagedBackup(
        "end",
        0,
        `it has ${this.#sections.length} shards, and its summary names ${summary.shards.length}`,
      );
    }
    return this.#sections.map(({ blob, address, manifest }, index) => {
      assertNamed(blob, { address, manifest }, summary.shards[index]!);
      return manifest;
    });
  }

  /** The same of a backup of one log. Throws also `invalid-configuration` (retry never) for a cluster's. */
  manifest({ summary }: WholeBackup): { readonly manifest: Manifest; readonly summary: BackupSummary } {
    if (isOfCluster(summary)) throw clusterBackup();
    return { manifest: this.#lone(summary), summary };
  }

  #lone(summary: LogSummary): Manifest {
    const last = this.#last;
    if (last === undefined || this.#sections.length > 0) throw damagedBackup("part 0", 0, "it has no snapshot");
    const { address } = last;
    if (address !== summary.manifest) {
      throw damagedBackup(`part ${last.blob.index}`, last.blob.offset, "it is not the manifest that the summary names");
    }
    const manifest = decodeManifest(last.blob.content);
    assertNamed(last.blob, { address, manifest }, summary);
    this.#assertPieces(last.blob, manifest, { extraCount: 1 });
    return manifest;
  }

  #endSection(): void {
    const section = this.#sections.at(-1);
    if (section !== undefined) this.#assertPieces(section.blob, section.manifest, { extraCount: 0 });
    else if (this.#sizes.size > 0) throw damagedBackup("part 0", 0, "it belongs to no shard");
  }

  #assertPieces(
    { index, offset }: BackupBlob,
    manifest: Manifest,
    { extraCount }: { readonly extraCount: number },
  ): void {
    const damaged = (reason: string) => damagedBackup(`part ${index}`, offset, reason);
    const pieces = new Map(piecesOf(manifest).map(({ address, sizeBytes }) => [address, sizeBytes]));
    for (const [address, sizeBytes] of pieces) {
      if (this.#sizes.get(address) !== sizeBytes) throw damaged(`its piece ${address} is not in the backup`);
    }
    if (this.#sizes.size !== pieces.size + extraCount) throw damaged("there are blobs that it doesn't name");
  }
}

/** What `manifest` throws for a cluster's backup. */
export function clusterBackup(): OnefoldError {
  return new OnefoldError(
    "invalid-configuration",
    "This is the backup of a cluster, which has many logs. Restore it to a cluster: give its engine with --to.",
  );
}

/** C2. */
function assertNamed(
  { index, offset }: BackupBlob,
  { address, manifest }: { readonly address: BlobAddress; readonly manifest: Manifest },
  summary: LogSummary,
): void {
  const damaged = (reason: string) => damagedBackup(`part ${index}`, offset, reason);
  if (address !== summary.manifest) throw damaged("it is not the manifest that the summary names");
  if (!equalPositions(manifest.position, summary.position)) {
    throw damaged("the manifest's position is not the summary's");
  }
}
