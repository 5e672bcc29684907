/**
 * The log: totally ordered, durable, append-only, with compare-and-set append (design 2). It is the truth; everything else
 * is its fold. This file is the contract; `log.suite.ts` is what every engine must pass; `engine/` has the engines.
 *
 * L1  An append is `appended` only after it is durable (G1), and only if the log ended at the expected sequence.
 * L2  Sequences are contiguous: genesis is 1 (or continues another log's), each record is its predecessor's plus one, trimmed
 *     ones are gone for good.
 * L3  A record once acknowledged is returned byte for byte, or reading throws `damaged`; never skipped, never shortened.
 * L4  After `failed` the engine accepts nothing more: a failed sync is never retried as if it had not failed.
 * L5  `open` verifies what it must before anything is served: the tail, and every anchor it holds (G8).
 */
import type { LogRecord } from "./record.ts";

/** Where a log stands: the last record's place and hash. A position vouches for everything before it. */
export interface LogPosition {
  /** 16 random bytes, one life of a log: a copy, a repair or a restore starts a new one. */
  readonly incarnation: Uint8Array;
  /** One ownership of the shard; never goes back. */
  readonly epoch: number;
  readonly sequence: number;
  /** SHA-256 of the record at `sequence`. */
  readonly hash: Uint8Array;
}

/**
 * What became of an append.
 * - `appended`: durable.
 * - `conflict`: another record may stand at the expected place. Proves nothing (hazard 4): read it and compare hashes.
 * - `displaced`: another record certainly stands there, and this one never will.
 * - `unknown`: it may become durable later. The identical bytes must be sent again until some record stands there.
 * - `full`: certainly not written, and writing can be tried again later (no space for another segment).
 * - `failed`: the engine has stopped (L4); the record may or may not be found after a restart.
 */
export type AppendOutcome =
  | { readonly kind: "appended" }
  | { readonly kind: "conflict" }
  | { readonly kind: "displaced" }
  | { readonly kind: "unknown"; readonly cause: unknown }
  | { readonly kind: "full"; readonly cause: unknown }
  | { readonly kind: "failed"; readonly cause: unknown };

export interface Log {
  /** The last durable record, or null for a log without genesis. */
  readonly end: LogPosition | null;
  /** The lowest sequence that can still be read; 1 for an untrimmed log, `end.sequence + 1` for one trimmed to nothing. */
  readonly firstSequence: number;

  /**
   * Appends one encoded record (see `record.ts`), whose header carries its own sequence; the expected end is that minus one.
   * At most one append may be under way. Never throws for an expected failure. The first record must be a genesis.
   * `hash`, as `encodeRecord` gave it with these bytes, saves hashing them again; without it they are verified first.
   */
  append(bytes: Uint8Array, hash?: Uint8Array): Promise<AppendOutcome>;

  /** One verified record. Undefined past the end. Throws `OnefoldError("damaged")`, or `"not-found"` if it was trimmed. */
  read(sequence: number): Promise<LogRecord | undefined>;

  /** Verified records from `fromSequence` to the end as it was at the call, contiguous and chained. Throws as `read` does. */
  scan(fromSequence: number): AsyncIterable<LogRecord>;

  /** Remembers `end` outside the log's own records, durably, as G8 asks. Called at least once a second and at a clean stop. */
  anchor(): Promise<void>;

  /**
   * Forgets whole segments before `sequence` (records may stay longer, never shorter). The caller vouches that two verified
   * snapshots stand at or after `sequence - 1`. Works on a full disk.
   */
  trim(sequence: number): Promise<void>;

  /** Anchors (unless it has failed) and lets go of everything. Idempotent. */
  close(): Promise<void>;
}
