/**
 * The summary: the last part of a backup, which says what it is. Text: a first line with the format, then JSON on one line.
 *
 * U1  It holds the hash chained over the headers before it (`parts-digest.ts`), and through them over every byte: whoever has
 *     that hash can tell this backup from any other.
 * U2  Its position is the snapshot's: the state is the fold of that log up to there, and of nothing else.
 */
import { decodeUtf8, encodeUtf8, fromHex, toHex } from "../base/bytes.ts";
import { sha256Bytes } from "../base/digest.ts";
import { OnefoldError } from "../base/errors.ts";
import type { ChainLink } from "../log/chain.ts";
import { incarnationBytes } from "../log/record.ts";
import { type BlobAddress, parseBlobAddress } from "../store/blobs.ts";

const firstLine = "onefold-backup 1\n";

export interface BackupSummary {
  readonly systemName: string;
  /** Of the program that took it; for people. */
  readonly codeVersion: string;
  /** The log's record whose state this is, with its log time. */
  readonly position: ChainLink;
  /** The payload of the log's genesis: it holds the secret that signs session tokens. */
  readonly genesis: Uint8Array;
  /** The snapshot's manifest. */
  readonly manifest: BlobAddress;
  /** Parts before this one, and the bytes of their contents. */
  readonly blobCount: number;
  readonly blobBytes: number;
  /** Over the headers of the backup and of all parts before this one (U1). */
  readonly partsHash: Uint8Array;
}

export function encodeSummary(summary: BackupSummary): Uint8Array {
  const { systemName, codeVersion, position, genesis, manifest, blobCount, blobBytes, partsHash } = summary;
  const body = {
    systemName,
    codeVersion,
    incarnation: toHex(position.incarnation),
    epoch: position.epoch,
    sequence: position.sequence,
    hash: toHex(position.hash),
    timeMs: position.timeMs,
    genesis: toHex(genesis),
    manifest,
    blobCount,
    blobBytes,
    partsHash: toHex(partsHash),
  };
  return encodeUtf8(`${firstLine}${JSON.stringify(body)}\n`);
}

/** Throws `damaged` (retry never) for what no version wrote. Its content's hash has been verified by the caller. */
export function decodeSummary(bytes: Uint8Array): BackupSummary {
  let body: Readonly<Record<string, unknown>>;
  try {
    const text = decodeUtf8(bytes);
    if (!text.startsWith(firstLine)) throw misfit();
    body = JSON.parse(text.slice(firstLine.length)) as Readonly<Record<string, unknown>>;
    return {
      systemName: textOf(body.systemName),
      codeVersion: textOf(body.codeVersion),
      position: {
        incarnation: bytesOf(body.incarnation, incarnationBytes),
        epoch: wholeOf(body.epoch),
        sequence: wholeOf(body.sequence),
        hash: bytesOf(body.hash, sha256Bytes),
        timeMs: wholeOf(body.timeMs),
      },
      genesis: bytesOf(body.genesis),
      manifest: parseBlobAddress(textOf(body.manifest)),
      blobCount: wholeOf(body.blobCount),
      blobBytes: wholeOf(body.blobBytes),
      partsHash: bytesOf(body.partsHash, sha256Bytes),
    };
  } catch (error) {
    // JSON's and UTF-8's own errors, and those of null where an object belongs.
    if (error instanceof SyntaxError || error instanceof TypeError) throw misfit(error);
    throw error;
  }
}

function textOf(json: unknown): string {
  if (typeof json !== "string") throw misfit();
  return json;
}

function wholeOf(json: unknown): number {
  if (typeof json !== "number" || !Number.isSafeInteger(json) || json < 0) throw misfit();
  return json;
}

function bytesOf(json: unknown, length?: number): Uint8Array {
  const bytes = fromHex(textOf(json));
  if (length !== undefined && bytes.length !== length) throw misfit();
  return bytes;
}

function misfit(cause?: unknown): OnefoldError {
  return new OnefoldError("damaged", "A backup's summary is damaged. Take another backup.", { cause });
}
