/**
 * A log as an engine of many machines keeps it: every node may append to it, read it and follow it. This is the port to that
 * engine, as weak as the engines are (`docs/cluster.md` has the hazards); what a shard works with is a `Log` on top of it.
 *
 * EL1 `appended` is said only of a record that is durable on a majority of the engine's servers, at the sequence that was asked for,
 *     where the log had ended one before it.
 * EL2 At one sequence at most one record is ever `appended`; who reads it later gets those bytes, or, from an engine that is damaged,
 *     nothing or wrong bytes: readers verify.
 * EL3 Nothing else proves anything: `refused` may follow from a record that is discarded later, an absent record may be there,
 *     an end may be stale, a tail may skip, repeat and fall silent.
 */

/**
 * What became of sending a record.
 * - `appended`: it stands there (EL1), now or since an earlier sending of the same bytes.
 * - `refused`: the engine believes that the log doesn't end there. Proves nothing: read, compare, send again.
 * - `unknown`: no answer (`isSilent`: then reading would hardly get one either), or one that proves nothing. Send the identical bytes again
 *   until some record stands there.
 */
export type EngineAppendOutcome =
  | { readonly kind: "appended" }
  | { readonly kind: "refused" }
  | { readonly kind: "unknown"; readonly cause: unknown; readonly isSilent?: boolean };

/** The sequences that a log holds, as far as whoever answered knows. An empty log has `last = first - 1`. */
export interface LogBounds {
  readonly first: number;
  readonly last: number;
}

export interface TailListener {
  /** Usually the next record; may be one that was seen before or one that is not yet due. Must not throw. */
  record(sequence: number, bytes: Uint8Array): void;
  /** The tail has ended by itself: open another. Called once, and nothing after it. */
  ended(cause: unknown): void;
}

/** Throws `OnefoldError("unavailable")` (retry safe) from every method that can't be answered now. `append` never throws. */
export interface EngineLog {
  readonly name: string;
  /** Sends a record that is to stand at `sequence`. Any number may be under way. Ends by itself within some seconds. */
  append(sequence: number, bytes: Uint8Array): Promise<EngineAppendOutcome>;
  /** The bytes at `sequence` as the engine has them, unverified. Undefined proves nothing. */
  read(sequence: number): Promise<Uint8Array | undefined>;
  /** Several from `sequence` on, contiguous as far as they go; at least one where there is one, about `bytesMax` at most. */
  readMany(sequence: number, bytesMax: number): Promise<readonly Uint8Array[]>;
  bounds(): Promise<LogBounds>;
  /** Tells of records from `sequence` on, as they come. */
  tail(sequence: number, listener: TailListener): { close(): void };
  /** Forgets records before `sequence`. The caller vouches for snapshots behind it. Idempotent. */
  trim(sequence: number): Promise<void>;
}

/** The engine that keeps a cluster's logs. */
export interface LogEngine {
  /** Opens a log that exists; undefined where the engine says that there is none. */
  open(name: string): Promise<EngineLog | undefined>;
  /**
   * Makes a log whose first record will have sequence `firstSequence`, or opens it where it exists: two who make the same one
   * at once both get it, and the first append decides. Names are never used again for another log. With a `region` it is kept on
   * servers of that region alone; throws `unavailable` where there are too few.
   */
  create(
    name: string,
    options: { readonly firstSequence: number; readonly region?: string | undefined },
  ): Promise<EngineLog>;
  /**
   * Whatever makes the engine lax (G1), as sentences for an operator; empty for one that keeps what it acknowledges. `regions`: those that
   * must have servers enough for a log.
   */
  laxities(options?: { readonly regions?: readonly string[] }): Promise<readonly string[]>;
  close(): Promise<void>;
}
