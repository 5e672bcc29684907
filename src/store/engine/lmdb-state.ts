/**
 * The state record of a store's file: the position whose fold it is, how many entries it has, and the sum of their
 * checksums modulo 2^48. Count and sum are kept up with each apply, and must come out when the file is walked: then no
 * entry is missing, stale or twice. 80 bytes, sealed as any value is.
 */
import { OnefoldError } from "../../base/errors.ts";
import type { LogPosition } from "../../log/log.ts";
import { openValue, sealValue } from "../checked-value.ts";
import { decodePosition, encodePosition, positionBytes } from "../position.ts";

export interface StoreState {
  readonly position: LogPosition | null;
  readonly entryCount: number;
  readonly checksumSum: number;
}

export const emptyState: StoreState = { position: null, entryCount: 0, checksumSum: 0 };

/** Its place in the database of its own that holds nothing else. */
export const stateKey: Uint8Array = Uint8Array.of(0);

const sumModulus = 2 ** 48;

export function addChecksum(sum: number, checksum: number): number {
  return (sum + checksum) % sumModulus;
}

export function subtractChecksum(sum: number, checksum: number): number {
  return (sum - checksum + sumModulus) % sumModulus;
}

/** Sealed. The state must have a position. */
export function encodeState(state: StoreState & { readonly position: LogPosition }): Uint8Array {
  const bytes = new Uint8Array(positionBytes + 16);
  bytes.set(encodePosition(state.position), 0);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(positionBytes, BigInt(state.entryCount));
  view.setBigUint64(positionBytes + 8, BigInt(state.checksumSum));
  return sealValue(stateKey, bytes);
}

/** Throws `damaged`. */
export function decodeState(sealed: Uint8Array): StoreState & { readonly position: LogPosition } {
  const bytes = openValue(stateKey, sealed);
  if (bytes.length !== positionBytes + 16) throw new OnefoldError("damaged", "The store's state record is damaged.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    position: decodePosition(bytes.subarray(0, positionBytes)),
    entryCount: Number(view.getBigUint64(positionBytes)),
    checksumSum: Number(view.getBigUint64(positionBytes + 8)),
  };
}
