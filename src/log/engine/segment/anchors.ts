/**
 * The anchor file: what the log remembers about itself outside of its records (G8), in two slots that are written in turn.
 *
 * A1  A slot is one sector, so that it is written whole or not at all; the valid one of the higher generation counts.
 * A2  The file is durable before the first segment exists, so a log without it has lost it.
 * A3  A trim point is durable in both slots before the segments behind it go: losing either slot never turns a trimmed log
 *     into a damaged one.
 * A4  After a failed write nothing more is written: which of the slots is durable is no longer known.
 */
import { assert } from "../../../base/assert.ts";
import { crc32, sha256Bytes } from "../../../base/digest.ts";
import { OnefoldError } from "../../../base/errors.ts";
import type { Disk, DiskFile, Trace } from "../../../host/host.ts";
import { damagedLog } from "../../damage.ts";
import type { LogPosition } from "../../log.ts";
import { incarnationBytes } from "../../record.ts";
import { anchorFileName, getWhole, sectorBytes, setWhole } from "./format.ts";

const anchorMagic = 0x4e414631; // "1FAN", little-endian
const anchorFormatVersion = 1;
/** Slots lie in different blocks of every common block size. */
export const slotOffsets = [0, 4096] as const;
export const anchorFileBytes = 8192;

export interface AnchorState {
  /** The log's end at some time; null before the first anchor. */
  readonly anchor: LogPosition | null;
  /** The lowest first sequence of a segment that must be there. */
  readonly firstSequence: number;
}

export interface AnchorSlot extends AnchorState {
  readonly generation: number;
}

const fresh: AnchorSlot = { generation: 1, anchor: null, firstSequence: 1 };

export function encodeAnchorSlot(slot: AnchorSlot): Uint8Array {
  const bytes = new Uint8Array(sectorBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, anchorMagic, true);
  view.setUint16(4, anchorFormatVersion, true);
  view.setUint16(6, anchorFormatVersion, true);
  setWhole(view, 8, slot.generation);
  setWhole(view, 16, slot.firstSequence);
  if (slot.anchor !== null) {
    bytes.set(slot.anchor.incarnation, 24);
    setWhole(view, 40, slot.anchor.epoch);
    setWhole(view, 48, slot.anchor.sequence);
    bytes.set(slot.anchor.hash, 56);
  }
  view.setUint32(508, crc32(bytes.subarray(0, 508)), true);
  return bytes;
}

/** A slot; `empty` for zeros; `bad` for anything else. Throws `unsupported-version` for a newer format. */
export function decodeAnchorSlot(bytes: Uint8Array): AnchorSlot | "empty" | "bad" {
  if (bytes.length < sectorBytes || bytes.every((byte) => byte === 0)) return "empty";
  const view = new DataView(bytes.buffer, bytes.byteOffset, sectorBytes);
  if (view.getUint32(0, true) !== anchorMagic) return "bad";
  if (view.getUint32(508, true) !== crc32(bytes.subarray(0, 508))) return "bad";
  const neededVersion = view.getUint16(6, true);
  if (neededVersion > anchorFormatVersion) {
    throw new OnefoldError("unsupported-version", `The log's anchors need format ${neededVersion}. Upgrade Onefold.`, {
      details: { file: anchorFileName, neededVersion, supportedVersion: anchorFormatVersion },
    });
  }
  const sequence = getWhole(view, 48);
  const anchor: LogPosition | null =
    sequence === 0
      ? null
      : {
          incarnation: new Uint8Array(bytes.subarray(24, 24 + incarnationBytes)),
          epoch: getWhole(view, 40),
          sequence,
          hash: new Uint8Array(bytes.subarray(56, 56 + sha256Bytes)),
        };
  return { generation: getWhole(view, 8), firstSequence: getWhole(view, 16), anchor };
}

/** Where a log's anchors stand, and the offset of a slot that is damaged, if one is. */
export interface AnchorFileContent {
  readonly slot: AnchorSlot;
  readonly badOffset: number | undefined;
}

/** What the anchor file of a log with segments says. Throws `damaged` (retry `never`) where no slot can be trusted. */
export function decodeAnchorFile(bytes: Uint8Array): AnchorFileContent {
  if (bytes.length !== anchorFileBytes) {
    throw damagedAnchors(Math.min(bytes.length, anchorFileBytes), `its size is not ${anchorFileBytes} bytes`);
  }
  const content = decodeUnfinishedAnchorFile(bytes);
  if (content === undefined) throw damagedAnchors(0, "it holds no anchors");
  return content;
}

/**
 * What the anchor file of a log without segments says: it may be half-made, and is undefined if nothing is in it. Throws
 * `damaged` (retry `never`) where something is in it, but no slot can be trusted.
 */
export function decodeUnfinishedAnchorFile(bytes: Uint8Array): AnchorFileContent | undefined {
  let newest: AnchorSlot | undefined;
  let badOffset: number | undefined;
  for (const offset of slotOffsets) {
    const slot = decodeAnchorSlot(bytes.subarray(offset, offset + sectorBytes));
    if (slot === "bad") badOffset = offset;
    else if (slot !== "empty" && slot.generation > (newest?.generation ?? 0)) newest = slot;
  }
  if (newest !== undefined) return { slot: newest, badOffset };
  if (badOffset === undefined) return undefined;
  throw damagedAnchors(badOffset, "no anchor's checksum is right");
}

function damagedAnchors(offset: number, reason: string): OnefoldError {
  return damagedLog({ file: anchorFileName, offset, sequence: undefined, reason });
}

/** The open anchor file. Its writes must not overlap; the log puts them in a row. */
export class AnchorFile {
  readonly #file: DiskFile;
  #slot: AnchorSlot;
  #failed = false;

  private constructor(file: DiskFile, slot: AnchorSlot) {
    this.#file = file;
    this.#slot = slot;
  }

  /** Makes or remakes the file of a log that has no segments yet (A2). */
  static async create(disk: Disk, directory: string): Promise<AnchorFile> {
    const file = await disk.open(`${directory}/${anchorFileName}`, { create: "always" });
    const bytes = new Uint8Array(anchorFileBytes);
    bytes.set(encodeAnchorSlot(fresh), slotOffsets[fresh.generation % 2]!);
    await file.truncate(0);
    await file.writeDurable(0, bytes);
    await disk.syncDirectory(directory);
    return new AnchorFile(file, fresh);
  }

  /**
   * Opens the file of a log that has segments. Throws `damaged` (retry `never`) where it is missing, has another size, or
   * holds no valid slot.
   */
  static async open(disk: Disk, directory: string, trace: Trace): Promise<AnchorFile> {
    const file = await disk.open(`${directory}/${anchorFileName}`);
    try {
      const { slot, badOffset } = decodeAnchorFile(await file.read(0, anchorFileBytes + 1));
      if (badOffset !== undefined) {
        trace("warn", "One of the log's two anchors is damaged; the other one is used. Check the disk.", { badOffset });
      }
      return new AnchorFile(file, slot);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get state(): AnchorState {
    return this.#slot;
  }

  /** Durably remembers `anchor`. Throws `DiskError`. */
  async anchor(anchor: LogPosition): Promise<void> {
    await this.#write({ anchor, firstSequence: this.#slot.firstSequence });
  }

  /** Durably remembers that records before `firstSequence` may be gone, in both slots (A3). Throws `DiskError`. */
  async trim(firstSequence: number): Promise<void> {
    assert(firstSequence >= this.#slot.firstSequence, "a log's start never goes back");
    const state = { anchor: this.#slot.anchor, firstSequence };
    await this.#write(state);
    await this.#write(state);
  }

  /** Writes what is known once more to both slots: a damaged one is whole again, and what was only cached is durable. */
  async refresh(): Promise<void> {
    await this.#write(this.#slot);
    await this.#write(this.#slot);
  }

  async #write(state: AnchorState): Promise<void> {
    assert(!this.#failed, "anchors are not written after a failed write");
    const slot = { generation: this.#slot.generation + 1, anchor: state.anchor, firstSequence: state.firstSequence };
    this.#failed = true;
    await this.#file.writeDurable(slotOffsets[slot.generation % 2]!, encodeAnchorSlot(slot));
    this.#failed = false;
    this.#slot = slot;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
