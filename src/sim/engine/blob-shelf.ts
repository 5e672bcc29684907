/** What the simulated engine keeps under one name: blobs, and pointers to them with their digests. Damage changes bytes in place. */
import { equalBytes } from "../../base/bytes.ts";
import { sha256 } from "../../base/digest.ts";
import { OnefoldError } from "../../base/errors.ts";
import { type BlobAddress, blobAddress } from "../../store/blobs.ts";

interface StoredPointer {
  readonly bytes: Uint8Array;
  readonly digest: Uint8Array;
}

export class BlobShelf {
  readonly #blobs = new Map<BlobAddress, Uint8Array>();
  readonly #pointers = new Map<string, StoredPointer>();

  /** In the order in which they were put. */
  get addresses(): readonly BlobAddress[] {
    return [...this.#blobs.keys()];
  }

  get pointerNames(): readonly string[] {
    return [...this.#pointers.keys()];
  }

  put(address: BlobAddress, bytes: Uint8Array): void {
    this.#blobs.set(address, bytes.slice());
  }

  /** Verified. Throws `not-found` or `damaged`. */
  get(address: BlobAddress): Uint8Array {
    const bytes = this.#blobs.get(address);
    if (bytes === undefined) {
      throw new OnefoldError("not-found", "There is no blob of this address.", { details: { address } });
    }
    if (blobAddress(bytes) !== address) {
      throw new OnefoldError("damaged", "A blob's content does not match its address.", { details: { address } });
    }
    return bytes.slice();
  }

  delete(address: BlobAddress): void {
    this.#blobs.delete(address);
  }

  setPointer(name: string, bytes: Uint8Array): void {
    this.#pointers.set(name, { bytes: bytes.slice(), digest: sha256(bytes) });
  }

  /** Verified. Throws `damaged`. */
  pointer(name: string): Uint8Array | undefined {
    const pointer = this.#pointers.get(name);
    if (pointer === undefined) return undefined;
    if (!equalBytes(sha256(pointer.bytes), pointer.digest)) {
      throw new OnefoldError("damaged", "A pointer to blobs is damaged.", { details: { name } });
    }
    return pointer.bytes.slice();
  }

  /** Inverts one bit of a blob; of an empty one, gives it a byte. */
  damage(address: BlobAddress, bit: number): void {
    const bytes = this.#blobs.get(address);
    if (bytes === undefined) return;
    this.#blobs.set(address, flipped(bytes, bit));
  }

  /** The same to a pointer. */
  damagePointer(name: string, bit: number): void {
    const pointer = this.#pointers.get(name);
    if (pointer === undefined) return;
    this.#pointers.set(name, { ...pointer, bytes: flipped(pointer.bytes, bit) });
  }
}

/** A copy with one bit inverted; `bit` is taken modulo the bits that there are. */
export function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  if (bytes.length === 0) return Uint8Array.of(1 << (bit % 8));
  const copy = bytes.slice();
  copy[Math.floor(bit / 8) % bytes.length]! ^= 1 << (bit % 8);
  return copy;
}
