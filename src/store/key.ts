/** What every store engine asserts of the writes it is given: the bounds of keys and values (see `store.ts`). */
import { assert } from "../base/assert.ts";
import type { Write } from "./store.ts";

export const keyBytesMax = 1900;
export const valueBytesMax = 1024 * 1024;

/** Orders after every key. */
export const keyEnd: Uint8Array = new Uint8Array(keyBytesMax + 1).fill(0xff);

/**
 * A bound of a range that divides all keys as `bound` does, and is no longer than engines can take: bounds come from users,
 * and no key is between one that is too long and its first bytes followed by a zero.
 */
export function boundedBound(bound: Uint8Array): Uint8Array {
  if (bound.length <= keyBytesMax) return bound;
  const shorter = new Uint8Array(keyBytesMax + 1);
  shorter.set(bound.subarray(0, keyBytesMax));
  return shorter;
}

/** Throws `AssertionFailure`: the fold makes the keys, so a bad one is a bug. */
export function assertWrites(writes: readonly Write[]): void {
  for (const { key, value } of writes) {
    assert(key.length >= 1 && key.length <= keyBytesMax, "a store's key has 1 to 1,900 bytes");
    assert(value === null || value.length <= valueBytesMax, "a store's value has at most 1 MiB");
  }
}
