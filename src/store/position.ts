/**
 * The encoding of a log position, 64 bytes: incarnation (16), epoch (8, big-endian), sequence (8), hash (32). It carries
 * no checksum of its own: whatever holds it (a store's state record, a snapshot's manifest) covers it with one.
 */
import { assert } from "../base/assert.ts";
import { equalBytes } from "../base/bytes.ts";
import type { LogPosition } from "../log/log.ts";

export const positionBytes = 64;

/**
 * The position of a store that is being filled from a snapshot: its entries are a part of some state, the fold of nothing.
 * Sequence 0 belongs to no record (a genesis is 1), so it is never mistaken for a state.
 */
export const loadingPosition: LogPosition = {
  incarnation: new Uint8Array(16),
  epoch: 0,
  sequence: 0,
  hash: new Uint8Array(32),
};

/** Whether a store at this position was left in the middle of loading a snapshot. */
export function isLoading(position: LogPosition | null): boolean {
  return position !== null && position.sequence === 0;
}

export function encodePosition(position: LogPosition): Uint8Array {
  assert(position.incarnation.length === 16, "an incarnation is 16 bytes");
  assert(position.hash.length === 32, "a record's hash is 32 bytes");
  assert(Number.isSafeInteger(position.epoch) && position.epoch >= 0, "an epoch is a whole number");
  assert(Number.isSafeInteger(position.sequence) && position.sequence >= 0, "a sequence is a whole number");
  const bytes = new Uint8Array(positionBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(position.incarnation, 0);
  view.setBigUint64(16, BigInt(position.epoch));
  view.setBigUint64(24, BigInt(position.sequence));
  bytes.set(position.hash, 32);
  return bytes;
}

/** Copies what it keeps. The caller has verified the checksum that covers `bytes`. */
export function decodePosition(bytes: Uint8Array): LogPosition {
  assert(bytes.length === positionBytes, "a position is 64 bytes");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    incarnation: Uint8Array.from(bytes.subarray(0, 16)),
    epoch: Number(view.getBigUint64(16)),
    sequence: Number(view.getBigUint64(24)),
    hash: Uint8Array.from(bytes.subarray(32, 64)),
  };
}

export function equalPositions(a: LogPosition, b: LogPosition): boolean {
  return (
    a.sequence === b.sequence &&
    a.epoch === b.epoch &&
    equalBytes(a.incarnation, b.incarnation) &&
    equalBytes(a.hash, b.hash)
  );
}
