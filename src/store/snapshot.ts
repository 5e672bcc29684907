/**
 * Snapshots: the state at one position of the log, in content-addressed pieces, so that a new one costs what has changed.
 *
 * N1  A snapshot is published (named by the pointer) only after all of it is durable and was read back. A crash at any
 *     moment before leaves the snapshots that were published before, untouched.
 * N2  Whatever is loaded has been verified piece by piece; a store that is not yet whole says so by its position.
 * N3  Garbage is only what neither of the two newest manifests names; where one of them can't be read, nothing is.
 * N4  A snapshot for which the disk has no room leaves none of its pieces on it.
 */
import { assert } from "../base/assert.ts";
import { compareBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { DiskError } from "../host/host.ts";
import type { BlobAddress, Blobs } from "./blobs.ts";
import {
  encodeManifest,
  type Manifest,
  manifestAddress,
  crossingManifestVersion,
  crossingTableFirst,
  manifestFormatVersion,
  type Piece,
  piecesOf,
  publishNewest,
  readManifest,
  readNewest,
  type SlotRange,
  stateHashOf,
} from "./manifest.ts";
import { isLoading, loadingPosition } from "./position.ts";
import { dumpGlobal, dumpSlots, globalTableFirst, pieceBytesTarget, slotOf, slotTables } from "./snapshot-dump.ts";
import { readPiece } from "./snapshot-piece.ts";
import type { Entry, Store, StoreView, Write } from "./store.ts";

export interface WriteSnapshotOptions {
  /** Of a store with a position. Stays the caller's to close. */
  readonly view: StoreView;
  readonly blobs: Blobs;
  /** A manifest whose pieces may be reused. Give `dirtySlots` with it, else everything is read again. */
  readonly previous?: Manifest;
  /** All slots with a change since `previous`. Default: all. */
  readonly dirtySlots?: ReadonlySet<number> | "all";
  readonly codeVersion: string;
  /** Called every millisecond or so of work: resolves when other work had its turn. */
  readonly yield: () => Promise<void>;
}

/**
 * Writes and publishes a snapshot; it is the newest when this returns. Ranges of slots without a dirty one are taken over
 * from `previous` unread; global tables are always read. One at a time, and never beside `collectGarbage`.
 * Throws `damaged` if the store is, and `DiskError`; what was published before stays as it was (N1). After `full` the disk
 * has as much room as before (N4).
 */
export async function writeSnapshot(options: WriteSnapshotOptions): Promise<Manifest> {
  const { blobs } = options;
  const present = new Set(await blobs.list());
  const added = new Set<BlobAddress>();
  const recording: Pick<Blobs, "put"> = {
    put: async (bytes) => {
      const address = await blobs.put(bytes);
      if (!present.has(address)) added.add(address);
      return address;
    },
  };
  let manifest: Manifest;
  try {
    manifest = await composeSnapshot({ ...options, blobs: recording, present });
  } catch (error) {
    if (error instanceof DiskError && error.code === "full") for (const address of added) await blobs.delete(address);
    throw error;
  }
  await publish(blobs, manifestAddress(manifest), options.previous);
  return manifest;
}

/** What composing needs besides: where pieces and manifest go, and which blobs are there already. */
export interface ComposeSnapshotOptions extends Omit<WriteSnapshotOptions, "blobs"> {
  readonly blobs: Pick<Blobs, "put">;
  readonly present: ReadonlySet<BlobAddress>;
}

/** Puts all of a snapshot into `blobs`, its manifest last, and publishes nothing. Throws as `writeSnapshot` does. */
export async function composeSnapshot(options: ComposeSnapshotOptions): Promise<Manifest> {
  const { view, blobs, previous, present, codeVersion } = options;
  const position = view.position;
  assert(position !== null && !isLoading(position), "only a state with a position can be a snapshot");
  const tables = slotTables(view);
  const ranges: SlotRange[] = [];
  for (const planned of planRanges(previous, options.dirtySlots ?? "all", present)) {
    if (planned.reuse !== undefined) ranges.push(planned.reuse);
    else ranges.push(...(await dumpSlots(options, tables, planned.firstSlot, planned.lastSlot)));
    await options.yield();
  }
  const global = await dumpGlobal(options);
  const stateHash = stateHashOf(piecesOf({ ranges, global }));
  const crosses = tables.some((table) => table >= crossingTableFirst);
  const formatVersion = crosses ? crossingManifestVersion : manifestFormatVersion;
  const manifest: Manifest = { formatVersion, position, stateHash, codeVersion, ranges, global };
  await blobs.put(encodeManifest(manifest));
  return manifest;
}

/** The one before: `previous` if it is published, because it is known to be good; else what was the newest. */
async function publish(blobs: Blobs, address: BlobAddress, previous: Manifest | undefined): Promise<void> {
  const others = (await publishedOrNone(blobs)).filter((other) => other !== address);
  const preferred = previous === undefined ? undefined : manifestAddress(previous);
  const older = preferred !== undefined && others.includes(preferred) ? preferred : others[0];
  await publishNewest(blobs, older === undefined ? [address] : [address, older]);
}

async function publishedOrNone(blobs: Blobs): Promise<readonly BlobAddress[]> {
  try {
    return await readNewest(blobs);
  } catch (error) {
    // A damaged pointer names nothing any more; the snapshot that is being published heals it.
    if (error instanceof OnefoldError && error.code === "damaged") return [];
    throw error;
  }
}

type PlannedRange = { readonly reuse: SlotRange } | { readonly reuse?: never; firstSlot: number; lastSlot: number };

/** Which ranges to reuse and which to read again; small neighbours that are read anyway become one. */
function planRanges(
  previous: Manifest | undefined,
  dirtySlots: ReadonlySet<number> | "all",
  present: ReadonlySet<BlobAddress>,
): readonly PlannedRange[] {
  if (previous === undefined) return [{ firstSlot: 0, lastSlot: limits.slotCount - 1 }];
  const plan: PlannedRange[] = [];
  let openBytes = 0;
  for (const range of previous.ranges) {
    const missing = range.pieces.some((piece) => !present.has(piece.address));
    if (!missing && !isDirty(range, dirtySlots)) {
      plan.push({ reuse: range });
      continue;
    }
    const last = plan.at(-1);
    const bytes = range.pieces.reduce((sum, piece) => sum + piece.sizeBytes, 0);
    if (last !== undefined && last.reuse === undefined && openBytes + bytes <= pieceBytesTarget) {
      last.lastSlot = range.lastSlot;
      openBytes += bytes;
    } else {
      plan.push({ firstSlot: range.firstSlot, lastSlot: range.lastSlot });
      openBytes = bytes;
    }
  }
  return plan;
}

/** Whether a slot of the range is among the dirty ones. */
export function isDirty(range: SlotRange, dirtySlots: ReadonlySet<number> | "all"): boolean {
  if (dirtySlots === "all") return true;
  for (let slot = range.firstSlot; slot <= range.lastSlot; slot++) if (dirtySlots.has(slot)) return true;
  return false;
}

export interface ReadSnapshotOptions {
  readonly manifest: Manifest;
  readonly blobs: Pick<Blobs, "get">;
  readonly yield: () => Promise<void>;
}

const applyBytesTarget = 8 * 1024 * 1024;
const entriesPerTurn = 2000;

/**
 * Fills an empty store. Its position is `loadingPosition` until everything is in, then the manifest's (N2).
 * Throws `damaged` or `not-found` for the snapshot: the store is then to be destroyed. `DiskError` as `apply` does.
 */
export async function loadSnapshot(options: ReadSnapshotOptions & { readonly store: Store }): Promise<void> {
  const { manifest, store } = options;
  assert(store.position === null, "a snapshot is loaded into an empty store");
  let writes: Write[] = [];
  let bytes = 0;
  for await (const entries of verifiedPieces(options)) {
    for (const entry of entries) {
      writes.push(entry);
      bytes += entry.key.length + entry.value.length;
    }
    if (bytes < applyBytesTarget) continue;
    await store.apply(writes, loadingPosition);
    writes = [];
    bytes = 0;
  }
  if (writes.length > 0) await store.apply(writes, loadingPosition);
  await store.apply([], manifest.position);
}

/** Reads and verifies all of a snapshot. Throws `damaged` or `not-found`. */
export async function verifySnapshot(options: ReadSnapshotOptions): Promise<void> {
  for await (const _ of verifiedPieces(options)) await options.yield();
}

async function* verifiedPieces(options: ReadSnapshotOptions): AsyncIterable<readonly Entry[]> {
  const { manifest, blobs } = options;
  if (stateHashOf(piecesOf(manifest)) !== manifest.stateHash) throw misfit("its state hash does not hold");
  for (const range of manifest.ranges) {
    yield* verifiedRange(blobs, options.yield, range.pieces, (entry) => {
      if (entry.key[0]! >= globalTableFirst || entry.key.length < 3) return false;
      const slot = slotOf(entry);
      return slot >= range.firstSlot && slot <= range.lastSlot;
    });
  }
  yield* verifiedRange(blobs, options.yield, manifest.global, (entry) => entry.key[0]! >= globalTableFirst);
}

async function* verifiedRange(
  blobs: Pick<Blobs, "get">,
  turn: () => Promise<void>,
  pieces: readonly Piece[],
  belongs: (entry: Entry) => boolean,
): AsyncIterable<readonly Entry[]> {
  let last: Entry | undefined;
  for (const piece of pieces) {
    const entries: Entry[] = [];
    for (const entry of readPiece(await blobs.get(piece.address))) {
      if (entry.key.length === 0 || !belongs(entry)) throw misfit("a piece holds an entry of another place");
      if (last !== undefined && compareForDump(last, entry) >= 0) throw misfit("a piece's entries are out of order");
      last = entry;
      entries.push(entry);
      if (entries.length % entriesPerTurn === 0) await turn();
    }
    if (entries.length !== piece.entryCount) throw misfit("a piece has another number of entries");
    yield entries;
    await turn();
  }
}

/** The order in which a range is dumped: by slot, then as the store orders keys. */
function compareForDump(a: Entry, b: Entry): number {
  if (a.key[0]! < globalTableFirst && b.key[0]! < globalTableFirst) {
    const bySlot = slotOf(a) - slotOf(b);
    if (bySlot !== 0) return bySlot;
  }
  return compareBytes(a.key, b.key);
}

function misfit(why: string): OnefoldError {
  return new OnefoldError("damaged", `A snapshot is damaged: ${why}. An older snapshot is needed.`);
}

/**
 * Deletes the blobs that neither the two newest manifests (N3) nor `held` name; returns how many. Without a published
 * snapshot, nothing. Throws `damaged` or `not-found` where a manifest or the pointer is, and has then deleted nothing.
 */
export async function collectGarbage(options: {
  readonly blobs: Blobs;
  readonly yield: () => Promise<void>;
  /** Blobs that somebody still reads. */
  readonly held?: ReadonlySet<BlobAddress>;
}): Promise<number> {
  const { blobs } = options;
  const newest = await readNewest(blobs);
  if (newest.length === 0) return 0;
  const kept = new Set<BlobAddress>(newest);
  for (const address of newest) {
    for (const piece of piecesOf(await readManifest(blobs, address))) kept.add(piece.address);
  }
  let deleted = 0;
  for (const address of await blobs.list()) {
    if (kept.has(address) || options.held?.has(address)) continue;
    await blobs.delete(address);
    deleted++;
    await options.yield();
  }
  return deleted;
}
