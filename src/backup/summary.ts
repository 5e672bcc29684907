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
import type { BackupVersion } from "./format.ts";

const firstLines: Readonly<Record<BackupVersion, string>> = { 1: "onefold-backup 1\n", 2: "onefold-backup 2\n" };

interface CommonSummary {
  readonly systemName: string;
  /** Of the program that took it; for people. */
  readonly codeVersion: string;
  /** Parts before this one, and the bytes of their contents. */
  readonly blobCount: number;
  readonly blobBytes: number;
  /** Over the headers of the backup and of all parts before this one (U1). */
  readonly partsHash: Uint8Array;
}

/** Of one log (version 1). */
export interface BackupSummary extends CommonSummary, LogSummary {}

export interface LogSummary {
  /** The log's record whose state this is, with its log time. */
  readonly position: ChainLink;
  /** The payload of the log's genesis: it holds the secret that signs session tokens. */
  readonly genesis: Uint8Array;
  /** The snapshot's manifest. */
  readonly manifest: BlobAddress;
}

/** Of a cluster (version 2). */
export interface ClusterSummary extends CommonSummary {
  readonly cluster: BackedUpCluster;
  /** In the order of their slots, and of their sections. */
  readonly shards: readonly ShardSummary[];
}

export interface BackedUpCluster {
  /** Its id, 16 bytes as hex. */
  readonly id: string;
  readonly shardCount: number;
  readonly followerCount: number;
}

export interface ShardSummary extends LogSummary {
  readonly id: string;
  /** Slots: from this one, to before that one. */
  readonly from: number;
  readonly to: number;
  /** Its log's name in the engine. */
  readonly log: string;
}

export type AnySummary = BackupSummary | ClusterSummary;

export function isOfCluster(summary: AnySummary): summary is ClusterSummary {
  return "shards" in summary;
}

export function encodeSummary(summary: AnySummary): Uint8Array {
  const { systemName, codeVersion, blobCount, blobBytes, partsHash } = summary;
  const of = isOfCluster(summary) ? plainCluster(summary) : plainLog(summary);
  const body = { systemName, codeVersion, ...of, blobCount, blobBytes, partsHash: toHex(partsHash) };
  return encodeUtf8(`${firstLines[isOfCluster(summary) ? 2 : 1]}${JSON.stringify(body)}\n`);
}

function plainCluster({ cluster, shards }: Pick<ClusterSummary, "cluster" | "shards">) {
  const { id, shardCount, followerCount } = cluster;
  const plain = shards.map((shard) => ({
    shard: shard.id,
    from: shard.from,
    to: shard.to,
    log: shard.log,
    ...plainLog(shard),
  }));
  return { cluster: id, shardCount, followerCount, shards: plain };
}

function plainLog({ position, genesis, manifest }: LogSummary) {
  return {
    incarnation: toHex(position.incarnation),
    epoch: position.epoch,
    sequence: position.sequence,
    hash: toHex(position.hash),
    timeMs: position.timeMs,
    genesis: toHex(genesis),
    manifest,
  };
}

type Json = Readonly<Record<string, unknown>>;

/** Throws `damaged` (retry never) for what no version wrote. Its content's hash has been verified by the caller. */
export function decodeSummary(bytes: Uint8Array, version: BackupVersion): AnySummary {
  try {
    const text = decodeUtf8(bytes);
    const firstLine = firstLines[version];
    if (!text.startsWith(firstLine)) throw misfit();
    const body = JSON.parse(text.slice(firstLine.length)) as Json;
    const common = { systemName: textOf(body.systemName), codeVersion: textOf(body.codeVersion) };
    const counts = {
      blobCount: wholeOf(body.blobCount),
      blobBytes: wholeOf(body.blobBytes),
      partsHash: bytesOf(body.partsHash, sha256Bytes),
    };
    return { ...common, ...(version === 1 ? logOf(body) : clusterOf(body)), ...counts };
  } catch (error) {
    // JSON's and UTF-8's own errors, and those of null where an object belongs.
    if (error instanceof SyntaxError || error instanceof TypeError) throw misfit(error);
    throw error;
  }
}

function logOf(body: Json): LogSummary {
  return {
    position: {
      incarnation: bytesOf(body.incarnation, incarnationBytes),
      epoch: wholeOf(body.epoch),
      sequence: wholeOf(body.sequence),
      hash: bytesOf(body.hash, sha256Bytes),
      timeMs: wholeOf(body.timeMs),
    },
    genesis: bytesOf(body.genesis),
    manifest: parseBlobAddress(textOf(body.manifest)),
  };
}

function clusterOf(body: Json): Pick<ClusterSummary, "cluster" | "shards"> {
  const cluster = {
    id: toHex(bytesOf(body.cluster, incarnationBytes)),
    shardCount: wholeOf(body.shardCount),
    followerCount: wholeOf(body.followerCount),
  };
  const shards = (body.shards as readonly Json[]).map((shard) => ({
    id: textOf(shard.shard),
    from: wholeOf(shard.from),
    to: wholeOf(shard.to),
    log: textOf(shard.log),
    ...logOf(shard),
  }));
  return { cluster, shards };
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
