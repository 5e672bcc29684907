/**
 * Holds what came in a backup against what its manifest and summary say that it is.
 *
 * C1  The blobs are the manifest's pieces, all of them and no others, and then the manifest.
 * C2  The manifest's position is the summary's.
 */
import { equalPositions } from "../log/chain.ts";
import { type BlobAddress, blobAddress } from "../store/blobs.ts";
import { decodeManifest, type Manifest, piecesOf } from "../store/manifest.ts";
import type { BackupBlob, WholeBackup } from "./decoder.ts";
import { damagedBackup } from "./format.ts";

export class BackupContents {
  readonly #sizes = new Map<BlobAddress, number>();
  #last: { readonly blob: BackupBlob; readonly address: BlobAddress } | undefined;

  /** To be called with each blob, in order; returns its address. */
  note(blob: BackupBlob): BlobAddress {
    const address = blobAddress(blob.content);
    const { index, offset, content } = blob;
    if (this.#sizes.has(address)) throw damagedBackup(`part ${index}`, offset, "its content was there before");
    this.#sizes.set(address, content.length);
    this.#last = { blob, address };
    return address;
  }

  /** The manifest, once the backup is over. Throws `damaged` (retry never) where C1 or C2 doesn't hold. */
  manifest({ summary }: WholeBackup): Manifest {
    const last = this.#last;
    if (last === undefined) throw damagedBackup("part 0", 0, "it has no snapshot");
    const { index, offset, content } = last.blob;
    const damaged = (reason: string) => damagedBackup(`part ${index}`, offset, reason);
    if (last.address !== summary.manifest) throw damaged("it is not the manifest that the summary names");
    const manifest = decodeManifest(content);
    if (!equalPositions(manifest.position, summary.position)) {
      throw damaged("the manifest's position is not the summary's");
    }
    const pieces = new Map(piecesOf(manifest).map(({ address, sizeBytes }) => [address, sizeBytes]));
    for (const [address, sizeBytes] of pieces) {
      if (this.#sizes.get(address) !== sizeBytes) throw damaged(`its piece ${address} is not in the backup`);
    }
    if (this.#sizes.size !== pieces.size + 1) throw damaged("there are blobs that it doesn't name");
    return manifest;
  }
}
