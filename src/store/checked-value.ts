/**
 * How a value stands in a store: the value, then the CRC-32 (4 bytes, little-endian) of key and value (S3). The key is part
 * of the checksum, so that a value that ends up under another key is found out as well. The checksum comes last so that key
 * and value, which LMDB lays side by side, can be checked in one go.
 */
import { toHex } from "../base/bytes.ts";
import { crc32 } from "../base/digest.ts";
import { OnefoldError } from "../base/errors.ts";

/** What a value costs besides itself. */
export const checkedValueOverheadBytes = 4;

/** CRC-32 of key, then value: what stands behind the value. Also what a store adds up to know that no entry is missing. */
export function entryChecksum(key: Uint8Array, value: Uint8Array): number {
  return crc32(value, crc32(key));
}

export function sealValue(key: Uint8Array, value: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(value.length + checkedValueOverheadBytes);
  sealValueInto(sealed, 0, key, value);
  return sealed;
}

/** Writes the sealed value into `target` at `offset` and returns its checksum. */
export function sealValueInto(target: Uint8Array, offset: number, key: Uint8Array, value: Uint8Array): number {
  target.set(value, offset);
  const checksum = entryChecksum(key, value);
  const at = offset + value.length;
  target[at] = checksum & 0xff;
  target[at + 1] = (checksum >>> 8) & 0xff;
  target[at + 2] = (checksum >>> 16) & 0xff;
  target[at + 3] = checksum >>> 24;
  return checksum;
}

/**
 * The value within the first `length` bytes of `sealed`, as a copy. Throws `damaged` where the checksum does not hold.
 * `length` is separate because an engine may hand out a buffer that is longer than what it read.
 */
export function openValue(key: Uint8Array, sealed: Uint8Array, length = sealed.length): Uint8Array {
  if (length < checkedValueOverheadBytes) throw damagedValue(key, "it is too short to carry its checksum");
  const value = new Uint8Array(length - checkedValueOverheadBytes);
  value.set(sealed.subarray(0, value.length));
  if (readChecksum(sealed, length) !== entryChecksum(key, value)) throw damagedValue(key, "its checksum does not hold");
  return value;
}

/** The same without a copy: a view of `sealed`. */
export function openValueInPlace(key: Uint8Array, sealed: Uint8Array): Uint8Array {
  if (sealed.length < checkedValueOverheadBytes) throw damagedValue(key, "it is too short to carry its checksum");
  const value = new Uint8Array(sealed.buffer, sealed.byteOffset, sealed.length - checkedValueOverheadBytes);
  if (readChecksum(sealed) !== entryChecksum(key, value)) throw damagedValue(key, "its checksum does not hold");
  return value;
}

/** The checksum that the sealed value in the first `length` bytes carries, unverified. At least 4 bytes must be there. */
export function readChecksum(sealed: Uint8Array, length = sealed.length): number {
  const at = length - checkedValueOverheadBytes;
  return (sealed[at]! | (sealed[at + 1]! << 8) | (sealed[at + 2]! << 16) | (sealed[at + 3]! << 24)) >>> 0;
}

function damagedValue(key: Uint8Array, why: string): OnefoldError {
  return new OnefoldError("damaged", `A value in the store is damaged: ${why}. The store must be rebuilt.`, {
    details: { key: toHex(key.subarray(0, 64)) },
  });
}
