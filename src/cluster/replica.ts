/**
 * One shard's log on one node: the verified copy of its records in segment files, and the store that is their fold.
 *
 * RE1 The copy holds records of the engine's log, contiguous and chained from where it begins. Each is durable in it before `take`
 *     resolves: so its end is the anchor of all that this node has acknowledged (G8).
 * RE2 The store is never ahead of the copy.
 * RE3 What the engine gives is verified before it is taken: a fork, a hole, wrong bytes are thrown as `LogFault`, never taken.
 * RE4 One caller at a time: whoever follows, or whoever owns.
 */
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { foldRecords, readOwnershipRecord, replay } from "../entity/replay.ts";
import type { Disk, Random, Timers, Trace } from "../host/host.ts";
import { type ChainLink, chainFault } from "../log/chain.ts";
import { beginSegmentLog } from "../log/engine/segment/beginning.ts";
import { openSegmentLog, type SegmentLog } from "../log/engine/segment/engine.ts";
import { makeDirectories } from "../log/engine/segment/recovery.ts";
import type { EngineLog } from "../log/engine-log.ts";
import type { LogPosition } from "../log/log.ts";
import { decodeRecord, type LogRecord } from "../log/record.ts";
import type { Blobs } from "../store/blobs.ts";
import type { Manifest } from "../store/manifest.ts";
import { openStoreOrRebuild } from "../store/recovery.ts";
import type { Store, StoreEngine } from "../store/store.ts";
import { type ContentPlace, type CopyReach, hasContent, reachOf } from "./copy-reach.ts";
import { LogFault } from "./log-fault.ts";
import { type OwnershipRecord, ownershipOf } from "./shard-records.ts";

export interface ReplicaOptions {
  readonly disk: Disk;
  readonly random: Random;
  readonly timers: Timers;
  readonly trace: Trace;
  /** Of this log alone. */
  readonly directory: string;
  readonly storeEngine: StoreEngine;
  /** Where the newest published snapshot of this log is; undefined where there is none yet. */
  readonly blobs: Blobs | undefined;
  readonly log: EngineLog;
  readonly segmentBytes: number;
}

/** Read from the engine at once while catching up. */
const readBytes = 1024 * 1024;
/** Records that were taken and not folded are kept in memory up to so many bytes; beyond it they are read from the copy again. */
const pendingBytesMax = 8 * 1024 * 1024;

/** What somebody remembers of a log. Without an incarnation it is one of this log, whose name is used once. */
export type Anchor = Pick<LogPosition, "sequence" | "hash"> & { readonly incarnation?: Uint8Array };

export class Replica {
  readonly log: EngineLog;
  readonly store: Store;
  /** The snapshot that the store came from just now, if it did. */
  readonly loadedFrom: Manifest | undefined;
  readonly #copy: SegmentLog;
  #content: ContentPlace | undefined;
  #timeMs: number;
  #ownership: OwnershipRecord | undefined;
  #pending: LogRecord[] = [];
  #pendingBytes = 0;
  #engineFirst = 1;

  private constructor(
    log: EngineLog,
    parts: {
      readonly store: Store;
      readonly copy: SegmentLog;
      readonly content: ContentPlace | undefined;
      readonly timeMs: number;
      readonly loadedFrom: Manifest | undefined;
    },
  ) {
    this.log = log;
    this.store = parts.store;
    this.loadedFrom = parts.loadedFrom;
    this.#copy = parts.copy;
    this.#content = parts.content;
    this.#timeMs = parts.timeMs;
  }

  /**
   * Opens what this node has of the log, or begins with the newest snapshot, or with nothing. A damaged store or copy is made anew:
   * the engine and the other nodes have the same. Throws `DiskError`, `unsupported-version`, `unavailable`.
   */
  static async open(options: ReplicaOptions): Promise<Replica> {
    const { storeEngine, blobs = noBlobs, trace, timers, log } = options;
    const takeTurn = (): Promise<void> => new Promise((resolve) => timers.soon(resolve));
    const opened = await openStoreOrRebuild({ engine: storeEngine, blobs, trace, yield: takeTurn });
    const { store } = opened;
    let copy: SegmentLog | undefined;
    try {
      copy = await openCopy(options, store.position);
      const last = copy.end === null ? undefined : await readLast(copy);
      const content = (await reachOf(copy))?.content;
      const timeMs = last?.timeMs ?? 0;
      const replica = new Replica(log, { store, copy, content, timeMs, loadedFrom: opened.manifest });
      await replica.fold();
      replica.#ownership = readOwnership(store);
      return replica;
    } catch (error) {
      try {
        await copy?.close();
      } finally {
        await store.close();
      }
      throw error;
    }
  }

  /** The last record that is verified and durable here; null for a log without any. */
  get end(): LogPosition | null {
    return this.#copy.end;
  }

  /** How far that is, and how far with more than who owned it. */
  get reach(): CopyReach | null {
    const { end } = this;
    return end === null || this.#content === undefined ? null : { end, content: this.#content };
  }

  /** Log time of `end`. */
  get timeMs(): number {
    return this.#timeMs;
  }

  get nextSequence(): number {
    return (this.#copy.end?.sequence ?? 0) + 1;
  }

  /** The last claim, release or seal up to `end`. */
  get ownership(): OwnershipRecord | undefined {
    return this.#ownership;
  }

  /** The store is behind the copy. */
  get hasUnfolded(): boolean {
    return (this.store.position?.sequence ?? 0) < (this.#copy.end?.sequence ?? 0);
  }

  get copy(): SegmentLog {
    return this.#copy;
  }

  get #link(): ChainLink | null {
    const end = this.#copy.end;
    return end === null ? null : { ...end, timeMs: this.#timeMs };
  }

  /** Takes the next record (RE1, RE3). Records that are here already are passed over. */
  async take(bytes: Uint8Array): Promise<LogRecord> {
    const next = this.nextSequence;
    const record = this.#decode(bytes, next);
    if (record.sequence < next) return record;
    const fault = chainFault(this.#link, record);
    if (fault !== undefined) throw new LogFault("fork", this.log.name, record.sequence, fault);
    await this.#append(record, record.bytes);
    if (hasContent(record.kind)) this.#content = { sequence: record.sequence, hash: record.hash };
    // Whoever owned what a log continues does not own the log.
    const ownership = ownershipOf(record);
    this.#ownership = record.kind === "genesis" ? ownership : (ownership ?? this.#ownership);
    if (this.#pendingBytes <= pendingBytesMax) {
      this.#pending.push(record);
      this.#pendingBytes += bytes.length;
    }
    return record;
  }

  #decode(bytes: Uint8Array, sequence: number): LogRecord {
    try {
      return decodeRecord(bytes);
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
      throw new LogFault("damaged", this.log.name, sequence, error.message);
    }
  }

  async #append(record: Pick<LogRecord, "hash" | "timeMs">, bytes: Uint8Array): Promise<void> {
    const outcome = await this.#copy.append(bytes, record.hash);
    if (outcome.kind !== "appended") {
      const cause = "cause" in outcome ? outcome.cause : undefined;
      throw new OnefoldError("stopped", "The node's own copy of a shard's log could not be written. Check its disk.", {
        cause,
      });
    }
    this.#timeMs = record.timeMs;
  }

  /** Takes what the owner itself has appended, and folds otherwise (its shard's applier does). */
  async takeOwn(bytes: Uint8Array, facts: { readonly hash: Uint8Array; readonly timeMs: number }): Promise<void> {
    await this.#append(facts, bytes);
    this.#content = { sequence: this.#copy.end!.sequence, hash: facts.hash };
  }

  /**
   * Takes what the engine's log has beyond the copy, as far as whoever answers knows. Returns the last sequence that the engine tells of.
   * Throws `LogFault`, `unavailable`.
   */
  async catchUp(): Promise<number> {
    for (;;) {
      const { first, last } = await this.log.bounds();
      this.#engineFirst = first;
      const next = this.nextSequence;
      if (last < next) return last;
      if (first > next) throw new LogFault("trimmed", this.log.name, next, `the log begins at ${first}`);
      const records = await this.log.readMany(next, readBytes);
      if (records.length === 0) throw new LogFault("hole", this.log.name, next, `the log goes on to ${last}`);
      for (const bytes of records) {
        const record = await this.take(bytes);
        if (record.sequence > this.nextSequence - 1) throw new LogFault("hole", this.log.name, next, "it was skipped");
      }
    }
  }

  /**
   * Takes what is missing up to `position`, without a look at how far the engine's log goes. True if the copy ends with that then. Throws
   * `LogFault`, `unavailable`.
   */
  async takeUpTo({ sequence, hash }: Pick<LogPosition, "sequence" | "hash">): Promise<boolean> {
    while (this.nextSequence <= sequence) {
      const records = await this.log.readMany(this.nextSequence, readBytes);
      if (records.length === 0) return false;
      for (const bytes of records) await this.take(bytes);
    }
    const { end } = this;
    return end !== null && end.sequence === sequence && equalBytes(end.hash, hash);
  }

  /** Whether the log that is here holds this position, or has given up what was there. */
  async holds(position: Anchor): Promise<boolean> {
    const end = this.#copy.end;
    if (end === null || position.sequence > end.sequence) return false;
    const { incarnation } = position;
    if (incarnation !== undefined && !equalBytes(incarnation, end.incarnation)) return false;
    if (position.sequence < this.#copy.firstSequence) return true;
    const record = await this.#copy.read(position.sequence);
    return record !== undefined && equalBytes(record.hash, position.hash);
  }

  /** Brings the store up to the copy's end. Throws `damaged` for a store that is, `DiskError`. */
  async fold(): Promise<ReadonlySet<number>> {
    const from = (this.store.position?.sequence ?? 0) + 1;
    const pending = this.#pending.filter(({ sequence }) => sequence >= from);
    this.#pending = [];
    this.#pendingBytes = 0;
    const isComplete = pending[0]?.sequence === from && pending.at(-1)!.sequence === this.#copy.end!.sequence;
    if (isComplete) return foldRecords(pending, this.store);
    if (from > (this.#copy.end?.sequence ?? 0)) return new Set();
    return replay(this.#copy, this.store, () => undefined);
  }

  /** Forgets what the engine's log had forgotten when it was last looked at, and the store has. */
  trimLikeEngine(): Promise<void> {
    return this.trim(this.#engineFirst);
  }

  /** Forgets records before `sequence`, but never what the store does not have. */
  async trim(sequence: number): Promise<void> {
    const applied = this.store.position?.sequence ?? 0;
    if (sequence > this.#copy.firstSequence && sequence <= applied + 1) await this.#copy.trim(sequence);
  }

  /** Lets go of both, also where the disk refuses one. */
  async close(): Promise<void> {
    try {
      await this.#copy.close();
    } finally {
      await this.store.close();
    }
  }
}

/** The copy that goes with the store, or a new one behind it where what is there can't serve. */
async function openCopy(options: ReplicaOptions, position: LogPosition | null): Promise<SegmentLog> {
  const { disk, trace, directory } = options;
  const copy = await openExisting(options, position);
  if (copy !== undefined) return copy;
  await removeCopy(disk, directory);
  await makeDirectories(disk, directory);
  await disk.syncDirectory(directory);
  if (position !== null) {
    const { random, segmentBytes } = options;
    await beginSegmentLog({ disk, random, directory, before: { ...position, timeMs: 0 }, segmentBytes });
    trace("info", "The copy of a shard's log begins behind a snapshot.", { directory, sequence: position.sequence });
  }
  return openSegmentLog({ ...options, reserveBytes: 0 });
}

/** Gives up what is there. The caller vouches that nothing of it is needed, and that nobody works on it. */
export async function removeCopy(disk: Disk, directory: string): Promise<void> {
  for (const name of await disk.list(directory)) await disk.remove(`${directory}/${name}`);
}

async function openExisting(options: ReplicaOptions, position: LogPosition | null): Promise<SegmentLog | undefined> {
  const { disk, trace, directory } = options;
  if ((await disk.list(directory)).length === 0) return undefined;
  try {
    const copy = await openSegmentLog({
      ...options,
      reserveBytes: 0,
      verifiedThrough: position === null ? [] : [position],
      verifyFromSequence: position?.sequence ?? 1,
    });
    const reaches = copy.end === null ? position === null : copy.firstSequence <= (position?.sequence ?? 0) + 1;
    if (reaches) return copy;
    await copy.close();
  } catch (error) {
    if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
    trace("warn", "The node's copy of a shard's log is damaged; it is made anew. Check the disk.", {
      directory,
      error,
    });
  }
  return undefined;
}

/** Where nothing has been published. */
const noBlobs: Blobs = {
  put: () => Promise.reject(new OnefoldError("internal", "Nothing is put where there is no place for it.")),
  get: () => Promise.reject(new OnefoldError("not-found", "There is no such blob.")),
  list: () => Promise.resolve([]),
  delete: () => Promise.resolve(),
  readPointer: () => Promise.resolve(undefined),
  setPointer: () =>
    Promise.reject(new OnefoldError("internal", "Nothing is published where there is no place for it.")),
};

/** As the store has it, brought up to the copy's end. */
function readOwnership(store: Store): OwnershipRecord | undefined {
  const record = readOwnershipRecord(store);
  return record === undefined ? undefined : ownershipOf(decodeRecord(record));
}

async function readLast(copy: SegmentLog): Promise<LogRecord | undefined> {
  const { sequence } = copy.end!;
  return sequence < copy.firstSequence ? undefined : copy.read(sequence);
}
