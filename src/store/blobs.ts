/**
 * Blobs: immutable byte strings found by the SHA-256 of their content, and a few named pointers to them that are replaced
 * atomically. Snapshots are made of these; on a cluster another engine keeps the same contract.
 *
 * O1  `put` returns only after the blob is durable and, read back, has the address that it is returned with.
 * O2  `get` returns exactly the bytes of that address or throws `damaged`; never others, never fewer.
 * O3  A pointer holds its old bytes or its new ones, whole, also after a crash while it is set.
 */
import { assert } from "../base/assert.ts";
import { concatBytes, equalBytes, toHex } from "../base/bytes.ts";
import { crc32, sha256, sha256Bytes } from "../base/digest.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Disk } from "../host/host.ts";
import { DiskError } from "../host/host.ts";

/** SHA-256 of a blob's content, 64 lower-case hexadecimal digits. */
export type BlobAddress = string & { readonly brand: "blob-address" };

export const blobBytesMax = 16 * 1024 * 1024;
/** A pointer holds a few addresses. */
export const pointerBytesMax = 4096;

/** Throws `damaged` where `text` is not an address: it comes from stored data. */
export function parseBlobAddress(text: string): BlobAddress {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new OnefoldError("damaged", "A blob's address is not one.");
  return text as BlobAddress;
}

export function blobAddress(bytes: Uint8Array): BlobAddress {
  return toHex(sha256(bytes)) as BlobAddress;
}

export interface Blobs {
  /**
   * Durable when it returns (O1); a blob that is already there, undamaged, is kept and not written again. At most 16 MiB.
   * Throws `DiskError`: `full` leaves everything as it was.
   */
  put(bytes: Uint8Array): Promise<BlobAddress>;
  /** Throws `not-found`, or `damaged`. */
  get(address: BlobAddress): Promise<Uint8Array>;
  /** All addresses, in order. A listed blob may still be damaged. */
  list(): Promise<readonly BlobAddress[]>;
  /** Absent is fine. */
  delete(address: BlobAddress): Promise<void>;
  /** The bytes last set under `name`, undefined if none were. Throws `damaged`. */
  readPointer(name: string): Promise<Uint8Array | undefined>;
  /** Durable when it returns (O3). `name` is of `a-z` and `-`; at most 4 KiB. */
  setPointer(name: string, bytes: Uint8Array): Promise<void>;
}

const partialSuffix = ".partial";

/**
 * Blobs as files in a directory of `disk`: `<address>` for a blob, `<name>.pointer` for a pointer (its bytes, then their
 * CRC-32, little-endian). Everything is first written to a `.partial` file, synced, and renamed. Removes what an earlier
 * process left half-written. One process at a time, and one caller: concurrent puts of one content would share a file.
 */
export async function openDiskBlobs(options: { readonly disk: Disk; readonly directory: string }): Promise<Blobs> {
  const { disk, directory } = options;
  await disk.makeDirectory(directory);
  // The directory's own name must outlive a crash before anything in it can.
  await disk.syncDirectory(directory.slice(0, Math.max(0, directory.lastIndexOf("/"))));
  for (const name of await disk.list(directory)) {
    if (name.endsWith(partialSuffix)) await disk.remove(`${directory}/${name}`);
  }
  return new DiskBlobs(disk, directory);
}

class DiskBlobs implements Blobs {
  readonly #disk: Disk;
  readonly #directory: string;

  constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
  }

  async put(bytes: Uint8Array): Promise<BlobAddress> {
    assert(bytes.length <= blobBytesMax, "a blob has at most 16 MiB");
    const address = blobAddress(bytes);
    const existing = await this.#read(address);
    if (existing !== undefined && blobAddress(existing) === address) return address;
    await this.#replace(address, bytes);
    await this.get(address);
    return address;
  }

  async get(address: BlobAddress): Promise<Uint8Array> {
    const bytes = await this.#read(address);
    if (bytes === undefined)
      throw new OnefoldError("not-found", "There is no blob of this address.", { details: { address } });
    if (blobAddress(bytes) !== address) {
      throw new OnefoldError("damaged", "A blob's content does not match its address.", { details: { address } });
    }
    return bytes;
  }

  async list(): Promise<readonly BlobAddress[]> {
    const names = await this.#disk.list(this.#directory);
    return names.filter((name) => name.length === 2 * sha256Bytes && /^[0-9a-f]+$/.test(name)).map(parseBlobAddress);
  }

  async delete(address: BlobAddress): Promise<void> {
    await this.#disk.remove(this.#path(address));
    await this.#disk.syncDirectory(this.#directory);
  }

  async readPointer(name: string): Promise<Uint8Array | undefined> {
    const stored = await this.#read(pointerName(name));
    if (stored === undefined) return undefined;
    const bytes = stored.subarray(0, Math.max(0, stored.length - 4));
    if (stored.length < 4 || !equalBytes(stored.subarray(bytes.length), checksumOf(bytes))) {
      throw new OnefoldError("damaged", "A pointer to blobs is damaged.", { details: { name } });
    }
    return bytes;
  }

  async setPointer(name: string, bytes: Uint8Array): Promise<void> {
    assert(bytes.length <= pointerBytesMax, "a pointer has at most 4 KiB");
    await this.#replace(pointerName(name), concatBytes([bytes, checksumOf(bytes)]));
  }

  async #replace(name: string, bytes: Uint8Array): Promise<void> {
    const partial = this.#path(name + partialSuffix);
    try {
      await this.#write(partial, bytes);
      await this.#disk.rename(partial, this.#path(name));
    } catch (error) {
      // What there is no room for must not take up what is left of it.
      if (error instanceof DiskError && error.code === "full") await this.#disk.remove(partial);
      throw error;
    }
    await this.#disk.syncDirectory(this.#directory);
  }

  async #write(path: string, bytes: Uint8Array): Promise<void> {
    const file = await this.#disk.open(path, { create: "always" });
    try {
      await file.truncate(0);
      await file.write(0, bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async #read(name: string): Promise<Uint8Array | undefined> {
    try {
      const file = await this.#disk.open(this.#path(name));
      try {
        const size = await file.size();
        // What is longer than any blob is none; reading it whole would be a way to exhaust the memory.
        return size > blobBytesMax ? new Uint8Array(0) : await file.read(0, size);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (error instanceof DiskError && error.code === "not-found") return undefined;
      throw error;
    }
  }

  #path(name: string): string {
    return `${this.#directory}/${name}`;
  }
}

function pointerName(name: string): string {
  assert(/^[a-z-]{1,64}$/.test(name), "a pointer's name is of a-z and -");
  return `${name}.pointer`;
}

function checksumOf(bytes: Uint8Array): Uint8Array {
  const checksum = new Uint8Array(4);
  new DataView(checksum.buffer).setUint32(0, crc32(bytes), true);
  return checksum;
}
