/**
 * Takes the bytes of a backup as they come, in chunks of any size, and gives its parts, each verified.
 *
 *     header ──> part header ──> content ──> part header … ──> content of the summary ──> over
 *
 * D1  What it gives has been verified: its header's checksum, its place, its content's hash.
 * D2  `end` is what says that a backup is whole. Bytes behind the summary, or a stream that ends before it, are damage.
 * D3  It holds no more than one part's content, whatever a header says (`partContentBytesMax`).
 * D4  After it has thrown it takes nothing more.
 */
import { assert } from "../base/assert.ts";
import { equalBytes } from "../base/bytes.ts";
import { sha256 } from "../base/digest.ts";
import {
  type BackupHeader,
  backupHeaderBytes,
  damagedBackup,
  decodeBackupHeader,
  decodePartHeader,
  type PartHeader,
  partHeaderBytes,
} from "./format.ts";
import { PartsDigest } from "./parts-digest.ts";
import { type AnySummary, decodeSummary } from "./summary.ts";

/** A verified blob of a backup. */
export interface BackupBlob {
  readonly kind: "blob" | "manifest";
  readonly content: Uint8Array;
  /** Where its part starts, and which it is, to name it where it turns out not to belong. */
  readonly index: number;
  readonly offset: number;
}

export interface WholeBackup {
  readonly header: BackupHeader;
  readonly summary: AnySummary;
  readonly sizeBytes: number;
}

type Step =
  | { readonly kind: "header" }
  | { readonly kind: "part-header" }
  | { readonly kind: "content"; readonly part: PartHeader }
  | { readonly kind: "over"; readonly summary: AnySummary }
  | { readonly kind: "failed" };

export class BackupDecoder {
  readonly #digest = new PartsDigest();
  #step: Step = { kind: "header" };
  #header: BackupHeader | undefined;
  /** What is being gathered, and how much of it is there. */
  #wanted = new Uint8Array(backupHeaderBytes);
  #length = 0;
  /** Bytes taken in, and where what is under way (a header, a part) starts. */
  #offset = 0;
  #startOffset = 0;
  #index = 0;
  #blobBytes = 0;

  /** Once it has come. */
  get header(): BackupHeader | undefined {
    return this.#header;
  }

  /** Bytes taken in so far. */
  get sizeBytes(): number {
    return this.#offset;
  }

  /**
   * Takes the next bytes; the blobs that they complete, one by one. All of the result must be consumed before the next call.
   * `chunk` is copied. Throws `damaged` with the part in its `details`, and `unsupported-version` (both retry never).
   */
  *push(chunk: Uint8Array): IterableIterator<BackupBlob> {
    assert(this.#step.kind !== "failed", "a damaged backup is read no further");
    try {
      for (let at = 0; at < chunk.length; ) {
        if (this.#step.kind === "over") throw damagedBackup("end", this.#offset, "bytes stand behind its last part");
        const count = Math.min(chunk.length - at, this.#wanted.length - this.#length);
        this.#wanted.set(chunk.subarray(at, at + count), this.#length);
        this.#length += count;
        this.#offset += count;
        at += count;
        // Again where nothing is wanted: the content of a part may be empty.
        while (this.#length === this.#wanted.length && this.#isGathering()) {
          const blob = this.#take(this.#wanted);
          if (blob !== undefined) yield blob;
        }
      }
    } catch (error) {
      this.#step = { kind: "failed" };
      throw error;
    }
  }

  /** To be called at the end of the stream (D2). Throws `damaged` (retry never) where there is less than a backup. */
  end(): WholeBackup {
    const step = this.#step;
    assert(step.kind !== "failed", "a damaged backup is read no further");
    if (step.kind === "over") return { header: this.#header!, summary: step.summary, sizeBytes: this.#offset };
    this.#step = { kind: "failed" };
    const part = step.kind === "header" ? "header" : `part ${this.#index}`;
    throw damagedBackup(part, this.#startOffset, `the backup ends at byte ${this.#offset}, before this part does`);
  }

  #isGathering(): boolean {
    return this.#step.kind !== "over";
  }

  /** What was wanted is there: verifies it and decides what comes next. */
  #take(bytes: Uint8Array): BackupBlob | undefined {
    const step = this.#step;
    switch (step.kind) {
      case "header":
        this.#header = decodeBackupHeader(bytes);
        this.#digest.add(bytes);
        this.#want(partHeaderBytes, { kind: "part-header" });
        this.#startOffset = this.#offset;
        return undefined;
      case "part-header": {
        const expected = { ...this.#header!, index: this.#index, offset: this.#startOffset };
        const part = decodePartHeader(bytes, expected);
        this.#want(part.contentBytes, { kind: "content", part });
        if (part.kind !== "summary") this.#digest.add(bytes);
        return undefined;
      }
      case "content":
        return this.#takeContent(step.part, bytes);
      case "over":
      case "failed":
        assert(false, "nothing is gathered any more");
    }
  }

  #takeContent(part: PartHeader, content: Uint8Array): BackupBlob | undefined {
    const offset = this.#startOffset;
    if (!equalBytes(sha256(content), part.hash)) {
      throw damagedBackup(`part ${part.index}`, offset, "its content does not match its hash");
    }
    if (part.kind === "summary") {
      this.#step = { kind: "over", summary: this.#checked(decodeSummary(content, this.#header!.version)) };
      return undefined;
    }
    this.#blobBytes += content.length;
    this.#index++;
    this.#startOffset = this.#offset;
    this.#want(partHeaderBytes, { kind: "part-header" });
    return { kind: part.kind, content, index: part.index, offset };
  }

  #checked(summary: AnySummary): AnySummary {
    const isRight =
      summary.blobCount === this.#index &&
      summary.blobBytes === this.#blobBytes &&
      equalBytes(summary.partsHash, this.#digest.value());
    if (isRight) return summary;
    throw damagedBackup(`part ${this.#index}`, this.#startOffset, "the parts before it are not those that it names");
  }

  #want(bytes: number, step: Step): void {
    // Never the buffer of before: a content that was given away must not change.
    this.#wanted = new Uint8Array(bytes);
    this.#length = 0;
    this.#step = step;
  }
}
