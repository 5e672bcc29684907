/** A small backup made by hand, in parts, for tests that take it apart. */
import { concatBytes, encodeUtf8 } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import { blobAddress } from "../store/blobs.ts";
import { encodeManifest, manifestAddress, stateHashOf } from "../store/manifest.ts";
import { PieceBuffer } from "../store/snapshot-piece.ts";
import { BackupEncoder } from "./encoder.ts";

export interface MadeBackup {
  /** The header, then each part: header and content together. */
  readonly parts: readonly Uint8Array[];
  readonly bytes: Uint8Array;
}

export function makeBackup(seed: string, pieceCount = 3): MadeBackup {
  const random = new SeededRandom(seed);
  const encoder = new BackupEncoder({ version: 1, id: random.bytes(16), takenAtMs: 1_795_449_600_000 });
  const parts: Uint8Array[] = [encoder.begin()];
  const contents = Array.from({ length: pieceCount }, (_, index) => pieceOf(random, `${seed}-${index}`));
  const pieces = contents.map((content) => ({
    address: blobAddress(content),
    sizeBytes: content.length,
    entryCount: 1,
  }));
  const position = { incarnation: random.bytes(16), epoch: 1, sequence: 42, hash: random.bytes(32) };
  const manifest = {
    formatVersion: 1,
    position,
    stateHash: stateHashOf(pieces),
    codeVersion: "test",
    ranges: [{ firstSlot: 0, lastSlot: limits.slotCount - 1, pieces: [] }],
    global: pieces,
  };
  for (const content of contents) parts.push(concatBytes(encoder.blob(content)));
  parts.push(concatBytes(encoder.blob(encodeManifest(manifest))));
  const facts = {
    systemName: "bank",
    codeVersion: "test",
    position: { ...position, timeMs: 1_795_449_500_000 },
    genesis: encodeUtf8("genesis"),
    manifest: manifestAddress(manifest),
  };
  parts.push(concatBytes(encoder.end(facts)));
  return { parts, bytes: concatBytes(parts) };
}

function pieceOf(random: SeededRandom, key: string): Uint8Array {
  const buffer = new PieceBuffer();
  buffer.append({ key: encodeUtf8(`\u0080${key}`), value: random.bytes(20) });
  return buffer.take(buffer.length);
}
