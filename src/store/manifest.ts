/**
 * The manifest: what a snapshot is made of, as one blob of text (a first line with the format, then JSON), and the pointer
 * that names the newest two. A manifest is found by the address in the pointer, which also is its checksum.
 *
 * F1  Ranges of slots are contiguous, ascending, and cover all slots; each slot's entries are in exactly one range.
 * F2  The state hash is SHA-256 over the addresses of all pieces in order: of the ranges, then of the global tables.
 */
import { assert } from "../base/assert.ts";
import { decodeUtf8, encodeUtf8, fromHex, toHex } from "../base/bytes.ts";
import { sha256 } from "../base/digest.ts";
import { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Trace } from "../host/host.ts";
import type { LogPosition } from "../log/log.ts";
import { type BlobAddress, type Blobs, blobAddress, parseBlobAddress } from "./blobs.ts";

export const manifestFormatVersion = 1;
/** Of a snapshot with entries in tables that readers of version 1 would pass over though they must not. */
export const crossingManifestVersion = 2;
/** Slot tables from here on are such ones (`docs/format.md`). */
export const crossingTableFirst = 0x10;
const firstLine = "onefold-snapshot ";
const pointerName = "newest-snapshots";

/** One blob of entries. */
export interface Piece {
  readonly address: BlobAddress;
  readonly sizeBytes: number;
  readonly entryCount: number;
}

/** The entries of the slots `firstSlot` to `lastSlot`, both inclusive, of all slot tables. No pieces: no entries. */
export interface SlotRange {
  readonly firstSlot: number;
  readonly lastSlot: number;
  readonly pieces: readonly Piece[];
}

export interface Manifest {
  readonly formatVersion: number;
  /** The state is the fold of the log up to here. */
  readonly position: LogPosition;
  /** 64 hexadecimal digits (F2). */
  readonly stateHash: string;
  /** Of the program that wrote it; for people. */
  readonly codeVersion: string;
  readonly ranges: readonly SlotRange[];
  /** The entries of the tables that are not by slot. */
  readonly global: readonly Piece[];
}

/** The address under which a manifest's blob is found. */
export function manifestAddress(manifest: Manifest): BlobAddress {
  return blobAddress(encodeManifest(manifest));
}

/** All pieces in the order of the state hash. */
export function piecesOf(manifest: Pick<Manifest, "ranges" | "global">): Piece[] {
  return [...manifest.ranges.flatMap((range) => range.pieces), ...manifest.global];
}

/** Sizes of the pieces, each content once, in that order. */
export function pieceSizes(manifest: Pick<Manifest, "ranges" | "global">): ReadonlyMap<BlobAddress, number> {
  return new Map(piecesOf(manifest).map(({ address, sizeBytes }) => [address, sizeBytes]));
}

export function stateHashOf(pieces: readonly Piece[]): string {
  return toHex(sha256(...pieces.map((piece) => fromHex(piece.address))));
}

export function encodeManifest(manifest: Manifest): Uint8Array {
  const { position } = manifest;
  const body = {
    incarnation: toHex(position.incarnation),
    epoch: position.epoch,
    sequence: position.sequence,
    hash: toHex(position.hash),
    stateHash: manifest.stateHash,
    codeVersion: manifest.codeVersion,
    ranges: manifest.ranges.map((range) => ({
      firstSlot: range.firstSlot,
      lastSlot: range.lastSlot,
      pieces: range.pieces.map(encodePiece),
    })),
    global: manifest.global.map(encodePiece),
  };
  return encodeUtf8(`${firstLine}${manifest.formatVersion}\n${JSON.stringify(body)}\n`);
}

function encodePiece(piece: Piece): [string, number, number] {
  return [piece.address, piece.sizeBytes, piece.entryCount];
}

/** Whether a blob begins as a manifest does. */
export function looksLikeManifest(bytes: Uint8Array): boolean {
  const prefix = encodeUtf8(firstLine);
  return prefix.every((byte, index) => bytes[index] === byte);
}

/** Throws `damaged` for anything that no version wrote, `unsupported-version` for a newer one. */
export function decodeManifest(bytes: Uint8Array): Manifest {
  if (!looksLikeManifest(bytes)) throw damagedManifest();
  try {
    const text = decodeUtf8(bytes);
    const end = text.indexOf("\n");
    const formatVersion = wholeNumber(Number(text.slice(firstLine.length, end)));
    if (formatVersion > crossingManifestVersion) {
      throw new OnefoldError("unsupported-version", "A snapshot needs a newer version of Onefold.");
    }
    return checkManifest(formatVersion, JSON.parse(text.slice(end + 1)) as unknown);
  } catch (error) {
    // JSON's and UTF-8's own errors; whatever they say, no version of this program wrote such bytes.
    if (error instanceof SyntaxError || error instanceof TypeError) throw damagedManifest(error);
    throw error;
  }
}

function checkManifest(formatVersion: number, json: unknown): Manifest {
  const body = record(json);
  const ranges = list(body.ranges).map((item): SlotRange => {
    const range = record(item);
    return {
      firstSlot: wholeNumber(range.firstSlot),
      lastSlot: wholeNumber(range.lastSlot),
      pieces: list(range.pieces).map(decodePiece),
    };
  });
  const manifest: Manifest = {
    formatVersion,
    position: {
      incarnation: hexBytes(body.incarnation, 16),
      epoch: wholeNumber(body.epoch),
      sequence: wholeNumber(body.sequence),
      hash: hexBytes(body.hash, 32),
    },
    stateHash: toHex(hexBytes(body.stateHash, 32)),
    codeVersion: string(body.codeVersion),
    ranges,
    global: list(body.global).map(decodePiece),
  };
  let nextSlot = 0;
  for (const { firstSlot, lastSlot } of ranges) {
    if (firstSlot !== nextSlot || lastSlot < firstSlot) throw damagedManifest();
    nextSlot = lastSlot + 1;
  }
  if (nextSlot !== limits.slotCount) throw damagedManifest();
  if (stateHashOf(piecesOf(manifest)) !== manifest.stateHash) throw damagedManifest();
  return manifest;
}

function decodePiece(json: unknown): Piece {
  const [address, sizeBytes, entryCount] = list(json);
  return {
    address: parseBlobAddress(string(address)),
    sizeBytes: wholeNumber(sizeBytes),
    entryCount: wholeNumber(entryCount),
  };
}

function record(json: unknown): Readonly<Record<string, unknown>> {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw damagedManifest();
  return json as Readonly<Record<string, unknown>>;
}

function list(json: unknown): readonly unknown[] {
  if (!Array.isArray(json)) throw damagedManifest();
  return json;
}

function string(json: unknown): string {
  if (typeof json !== "string") throw damagedManifest();
  return json;
}

function wholeNumber(json: unknown): number {
  if (typeof json !== "number" || !Number.isSafeInteger(json) || json < 0) throw damagedManifest();
  return json;
}

function hexBytes(json: unknown, length: number): Uint8Array {
  const bytes = fromHex(string(json));
  if (bytes.length !== length) throw damagedManifest();
  return bytes;
}

function damagedManifest(cause?: unknown): OnefoldError {
  return new OnefoldError("damaged", "A snapshot's manifest is damaged. An older snapshot is needed.", { cause });
}

/** Throws `not-found`, `damaged` or `unsupported-version`. */
export async function readManifest(blobs: Blobs, address: BlobAddress): Promise<Manifest> {
  return decodeManifest(await blobs.get(address));
}

/** The addresses of the newest manifest and the one before, as last published; none at first. Throws `damaged`. */
export async function readNewest(blobs: Blobs): Promise<readonly BlobAddress[]> {
  const bytes = await blobs.readPointer(pointerName);
  if (bytes === undefined) return [];
  try {
    return decodeUtf8(bytes).split("\n").filter(Boolean).map(parseBlobAddress);
  } catch (error) {
    if (error instanceof TypeError)
      throw new OnefoldError("damaged", "The pointer to the newest snapshots is damaged.");
    throw error;
  }
}

/**
 * The manifests of the newest two snapshots, newest first. A damaged or missing one is left out, and named in the trace; with
 * a damaged pointer there is none. Throws `DiskError` where the disk refuses: that is no damage, and may have passed the next
 * time. Throws `unsupported-version` (retry never).
 */
export async function readNewestManifests(blobs: Blobs, trace: Trace): Promise<readonly Manifest[]> {
  const addresses = await unlessDamaged(
    () => readNewest(blobs),
    (error) =>
      trace("warn", "The list of snapshots is damaged; the next snapshot replaces it. Check the disk.", { error }),
  );
  const manifests: Manifest[] = [];
  for (const address of addresses ?? []) {
    const manifest = await unlessDamaged(
      () => readManifest(blobs, address),
      (error) =>
        trace(
          "warn",
          "A snapshot's manifest is damaged; the log is kept until there are two good ones. Check the disk.",
          {
            address,
            error,
          },
        ),
    );
    if (manifest !== undefined) manifests.push(manifest);
  }
  return manifests;
}

async function unlessDamaged<T>(read: () => Promise<T>, onDamage: (error: OnefoldError) => void) {
  try {
    return await read();
  } catch (error) {
    if (!isSnapshotDamage(error)) throw error;
    onDamage(error);
    return undefined;
  }
}

/** Whether a snapshot can't be used as it is: a blob that is named and not there is as damaged as one that doesn't match. */
export function isSnapshotDamage(error: unknown): error is OnefoldError {
  return error instanceof OnefoldError && (error.code === "damaged" || error.code === "not-found");
}

/** Atomic and durable when it returns. Newest first, one or two. */
export async function publishNewest(blobs: Blobs, newest: readonly BlobAddress[]): Promise<void> {
  assert(newest.length >= 1 && newest.length <= 2, "the pointer names one or two snapshots");
  await blobs.setPointer(pointerName, encodeUtf8(`${newest.join("\n")}\n`));
}

/**
 * Every undamaged manifest among all blobs, newest first: for the day when the pointer itself is damaged. Reads everything.
 */
export async function searchManifests(blobs: Blobs): Promise<readonly BlobAddress[]> {
  const found: { readonly address: BlobAddress; readonly sequence: number }[] = [];
  for (const address of await blobs.list()) {
    try {
      const bytes = await blobs.get(address);
      if (looksLikeManifest(bytes)) found.push({ address, sequence: decodeManifest(bytes).position.sequence });
    } catch (error) {
      // A damaged blob is no manifest that could be used; whether it is missed shows when another names it.
      if (!(error instanceof OnefoldError && error.code === "damaged")) throw error;
    }
  }
  return found.sort((a, b) => b.sequence - a.sequence).map(({ address }) => address);
}
