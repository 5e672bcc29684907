/**
 * Blobs of snapshots that somebody reads for a while: garbage that must not be collected yet.
 *
 * W1  A blob is held as long as one of its holders holds it.
 */
import type { BlobAddress } from "./blobs.ts";

export class HeldBlobs {
  readonly #holders = new Map<BlobAddress, number>();

  /** Those that are held now. */
  get addresses(): ReadonlySet<BlobAddress> {
    return new Set(this.#holders.keys());
  }

  /** Holds all of these until the result is called; that is idempotent. */
  hold(addresses: Iterable<BlobAddress>): () => void {
    const held = new Set(addresses);
    for (const address of held) this.#holders.set(address, (this.#holders.get(address) ?? 0) + 1);
    return () => {
      for (const address of held) {
        const count = this.#holders.get(address)! - 1;
        if (count === 0) this.#holders.delete(address);
        else this.#holders.set(address, count);
      }
      held.clear();
    };
  }
}
