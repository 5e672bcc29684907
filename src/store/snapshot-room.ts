/**
 * How much room on the disk a snapshot takes, asked before it is written: where space is short, nothing is begun that will
 * not fit, and nothing is given up for it in vain.
 *
 * Q1  `snapshotRoomBytes` is no less than what the snapshot of the same view, with the same options, will take.
 * Q2  `giveUpOlder` leaves the newest snapshot published and whole; the caller has read it all just before.
 */
import type { BlobAddress, Blobs } from "./blobs.ts";
import { blobAddress } from "./blobs.ts";
import { type Manifest, manifestAddress, piecesOf, publishNewest } from "./manifest.ts";
import { collectGarbage, composeSnapshot, isDirty, type WriteSnapshotOptions } from "./snapshot.ts";
import { pieceBytesTarget } from "./snapshot-dump.ts";
import { keyEnd } from "./key.ts";
import type { StoreView } from "./store.ts";

/** What common file systems give space in, and what a file takes besides (its name, its inode): counted generously. */
const blockBytes = 4096;
/** The pointer is written beside the old one before it takes its place. */
const pointerRoomBytes = 2 * blockBytes;

function roomOf(blobBytes: number): number {
  return Math.ceil(blobBytes / blockBytes) * blockBytes + blockBytes;
}

/**
 * Bytes that `writeSnapshot` with these options will take on the disk, by composing it without writing (Q1). Reads what that
 * would read: as dear as the snapshot, but for the disk. Throws `damaged` if the store is.
 */
export async function snapshotRoomBytes(options: WriteSnapshotOptions): Promise<number> {
  const present = new Set(await options.blobs.list());
  const counted = new Set<BlobAddress>();
  let roomBytes = pointerRoomBytes;
  const counting: Pick<Blobs, "put"> = {
    put: async (bytes) => {
      const address = blobAddress(bytes);
      if (!present.has(address) && !counted.has(address)) roomBytes += roomOf(bytes.length);
      counted.add(address);
      return address;
    },
  };
  await composeSnapshot({ ...options, blobs: counting, present });
  return roomBytes;
}

/**
 * A quick estimate of the same: the pieces of the ranges that have a dirty slot, the global tables, and by how much the state
 * has grown. Too high where a change has left the bytes as they were.
 */
export function estimatedRoomBytes(facts: {
  readonly previous: Manifest | undefined;
  readonly dirtySlots: ReadonlySet<number>;
  /** By how much the state may have grown since `previous`. */
  readonly grownBytes: number;
}): number {
  const { previous, dirtySlots, grownBytes } = facts;
  let bytes = pieceBytesTarget + grownBytes;
  if (previous === undefined) return bytes;
  for (const range of previous.ranges) {
    if (isDirty(range, dirtySlots)) for (const { sizeBytes } of range.pieces) bytes += roomOf(sizeBytes);
  }
  for (const { sizeBytes } of previous.global) bytes += roomOf(sizeBytes);
  return bytes;
}

/** Bytes that the disk gets back when `older` is given up: of the pieces that `newer` doesn't share and nobody holds. */
export function roomOfOlderBytes(older: Manifest, newer: Manifest, held: ReadonlySet<BlobAddress> = new Set()): number {
  const kept = new Set([...held, ...piecesOf(newer).map(({ address }) => address)]);
  const given = new Map<BlobAddress, number>();
  for (const { address, sizeBytes } of piecesOf(older)) if (!kept.has(address)) given.set(address, sizeBytes);
  let bytes = 0;
  // Whole blocks only, and nothing for names: rather too little than too much.
  for (const sizeBytes of given.values()) bytes += Math.floor(sizeBytes / blockBytes) * blockBytes;
  return bytes;
}

/** Publishes `newest` alone, durably, and removes what only others name (Q2). Throws `DiskError`. */
export async function giveUpOlder(options: {
  readonly newest: Manifest;
  readonly blobs: Blobs;
  readonly yield: () => Promise<void>;
  /** Blobs that somebody still reads. */
  readonly held?: ReadonlySet<BlobAddress>;
}): Promise<void> {
  await publishNewest(options.blobs, [manifestAddress(options.newest)]);
  await collectGarbage(options);
}

const entriesPerTurn = 400;

/** Reads every value of a store once. Throws `damaged` where one's checksum doesn't hold. */
export async function readWhole(view: StoreView, turn: () => Promise<void>): Promise<void> {
  let count = 0;
  for (const _ of view.range({ from: new Uint8Array(0), to: keyEnd })) {
    if (++count % entriesPerTurn === 0) await turn();
  }
}
