/**
 * Makes the bytes of a backup, part by part: pure but for what it has made so far.
 *
 * N1  Each content is there once, however often the snapshot names it; in a cluster's backup once for each shard.
 * N2  Its memory is the addresses of the blobs, 32 bytes and what a set takes for each MiB of state; contents pass through.
 */
import { assert } from "../base/assert.ts";
import { fromHex } from "../base/bytes.ts";
import { sha256, sha256Bytes } from "../base/digest.ts";
import { type BlobAddress, blobAddress } from "../store/blobs.ts";
import {
  type BackupHeader,
  backupHeaderBytes,
  encodeBackupHeader,
  encodePartHeader,
  type PartHeader,
  partHeaderBytes,
} from "./format.ts";
import { PartsDigest } from "./parts-digest.ts";
import { type AnySummary, type BackupSummary, type ClusterSummary, encodeSummary } from "./summary.ts";

/** What the encoder can't know of a summary. */
export type LogFacts = Omit<BackupSummary, Counted>;
export type ClusterFacts = Omit<ClusterSummary, Counted>;
type SummaryFacts = LogFacts | ClusterFacts;
type Counted = "blobCount" | "blobBytes" | "partsHash";

export class BackupEncoder {
  readonly #header: BackupHeader;
  readonly #digest = new PartsDigest();
  readonly #present = new Set<BlobAddress>();
  #count = 0;
  #blobBytes = 0;
  #isOver = false;

  constructor(header: BackupHeader) {
    this.#header = header;
  }

  get blobCount(): number {
    return this.#count;
  }

  get blobBytes(): number {
    return this.#blobBytes;
  }

  /** The first bytes. */
  begin(): Uint8Array {
    const bytes = encodeBackupHeader(this.#header);
    this.#digest.add(bytes);
    return bytes;
  }

  /** The next part: its header and its content; nothing for a blob that is in already (N1). */
  blob(content: Uint8Array, address: BlobAddress = blobAddress(content)): readonly Uint8Array[] {
    if (this.#present.has(address)) return [];
    this.#present.add(address);
    this.#blobBytes += content.length;
    return this.#part({ kind: "blob", hash: fromHex(address) }, content);
  }

  /** Begins the section of a shard (version 2): its pieces follow. */
  manifest(content: Uint8Array, address: BlobAddress = blobAddress(content)): readonly Uint8Array[] {
    this.#present.clear();
    this.#blobBytes += content.length;
    return this.#part({ kind: "manifest", hash: fromHex(address) }, content);
  }

  /** The last part. */
  end(facts: SummaryFacts): readonly Uint8Array[] {
    const summary: AnySummary = {
      ...facts,
      blobCount: this.#count,
      blobBytes: this.#blobBytes,
      partsHash: this.#digest.value(),
    };
    const content = encodeSummary(summary);
    const part = this.#part({ kind: "summary", hash: sha256(content) }, content);
    this.#isOver = true;
    return part;
  }

  #part(of: Pick<PartHeader, "kind" | "hash">, content: Uint8Array): readonly Uint8Array[] {
    assert(!this.#isOver, "nothing follows the summary");
    const header = encodePartHeader({ ...of, index: this.#count++, contentBytes: content.length }, this.#header.id);
    this.#digest.add(header);
    return [header, content];
  }
}

/** The bytes of a whole backup of blobs with these sizes, each of them once. */
export function backupSizeBytes(blobSizes: Iterable<number>, facts: SummaryFacts): number {
  let blobCount = 0;
  let blobBytes = 0;
  for (const sizeBytes of blobSizes) {
    blobCount++;
    blobBytes += sizeBytes;
  }
  // A hash has as many digits as any other.
  const summary = encodeSummary({ ...facts, blobCount, blobBytes, partsHash: new Uint8Array(sha256Bytes) });
  return backupHeaderBytes + (blobCount + 1) * partHeaderBytes + blobBytes + summary.length;
}
