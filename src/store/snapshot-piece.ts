/**
 * The piece: entries of a snapshot as they stand in one blob. Its address covers every byte, so it has no checksum of its own.
 *
 *     "OFSP" (4) · version 1 (1) · zero (3) · then per entry: key size (2) · value size (4) · key · value   (big-endian)
 */
import { assert } from "../base/assert.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Entry } from "./store.ts";

export const pieceHeaderBytes = 8;
export const entryHeaderBytes = 6;
const magic = Uint8Array.of(0x4f, 0x46, 0x53, 0x50, 1, 0, 0, 0);

/** Gathers encoded entries; grows as needed, up to what its owner lets it. */
export class PieceBuffer {
  #bytes = new Uint8Array(64 * 1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  append(entry: Entry): void {
    const { key, value } = entry;
    const end = this.#length + entryHeaderBytes + key.length + value.length;
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    const view = new DataView(this.#bytes.buffer);
    view.setUint16(this.#length, key.length);
    view.setUint32(this.#length + 2, value.length);
    this.#bytes.set(key, this.#length + entryHeaderBytes);
    this.#bytes.set(value, this.#length + entryHeaderBytes + key.length);
    this.#length = end;
  }

  /** The entries' encodings gathered so far; valid until the next change. */
  encoded(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Takes the first `length` bytes, which end with an entry, out as a piece. */
  take(length: number): Uint8Array {
    assert(length > 0 && length <= this.#length, "a piece holds at least one entry");
    const piece = new Uint8Array(pieceHeaderBytes + length);
    piece.set(magic, 0);
    piece.set(this.#bytes.subarray(0, length), pieceHeaderBytes);
    this.#bytes.copyWithin(0, length, this.#length);
    this.#length -= length;
    return piece;
  }
}

/** The entries of a piece, as views of it. Throws `damaged`; `unsupported-version` for a newer one. */
export function* readPiece(piece: Uint8Array): IterableIterator<Entry> {
  if (piece.length < pieceHeaderBytes || magic.subarray(0, 4).some((byte, index) => piece[index] !== byte)) {
    throw new OnefoldError("damaged", "A blob that a snapshot names as its piece is none.");
  }
  if (piece[4] !== 1)
    throw new OnefoldError("unsupported-version", "A snapshot's piece needs a newer version of Onefold.");
  yield* readEntries(piece.subarray(pieceHeaderBytes));
}

/** The entries of encodings without a header. Throws `damaged`. */
export function* readEntries(encoded: Uint8Array): IterableIterator<Entry> {
  const view = new DataView(encoded.buffer, encoded.byteOffset, encoded.length);
  let at = 0;
  while (at < encoded.length) {
    const keyAt = at + entryHeaderBytes;
    if (keyAt > encoded.length) throw new OnefoldError("damaged", "A snapshot's piece ends within an entry.");
    const valueAt = keyAt + view.getUint16(at);
    const end = valueAt + view.getUint32(at + 2);
    if (end > encoded.length) throw new OnefoldError("damaged", "A snapshot's piece ends within an entry.");
    yield { key: encoded.subarray(keyAt, valueAt), value: encoded.subarray(valueAt, end) };
    at = end;
  }
}

/** How many entries well-formed encodings hold; without looking at them. */
export function countEntries(encoded: Uint8Array): number {
  const view = new DataView(encoded.buffer, encoded.byteOffset, encoded.length);
  let count = 0;
  for (let at = 0; at < encoded.length; count++) at += entryHeaderBytes + view.getUint16(at) + view.getUint32(at + 2);
  return count;
}
