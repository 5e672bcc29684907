/**
 * A log in memory, for tests and simulations: the whole contract of `log.ts`, and on demand every outcome that an engine
 * can give, the ambiguous ones included. What survives a restart lives in a `MemoryLogStorage`; the `Log` over it dies.
 *
 * M1  An injected `unknown` settles as its fate says, and no sooner than `afterOperations` later operations.
 * M2  A record is copied in and out: nobody can change what the log holds by changing the bytes that were passed.
 */
import { assert } from "../../base/assert.ts";
import { equalBytes } from "../../base/bytes.ts";
import { OnefoldError } from "../../base/errors.ts";
import { type ChainLink, chainFault } from "../chain.ts";
import { damagedLog, reasonOf } from "../damage.ts";
import type { AppendOutcome, Log, LogPosition } from "../log.ts";
import { decodeRecord, type LogRecord, positionOf } from "../record.ts";

/**
 * What an append shall give instead of `appended`. A `fate` says whether the record is found later: of an `unknown` one
 * by later operations, of a `failed` one after a restart.
 */
export type InjectedOutcome =
  | { readonly kind: "unknown"; readonly fate: "committed" | "lost"; readonly afterOperations?: number }
  | { readonly kind: "failed"; readonly fate: "committed" | "lost" }
  | { readonly kind: "conflict" }
  | { readonly kind: "full" };

export interface MemoryLogOptions {
  /** What survives restarts; a fresh one if absent. */
  readonly storage?: MemoryLogStorage;
  /** Asked once per append that stands at the right place; undefined lets it go its way. */
  readonly outcome?: (record: LogRecord) => InjectedOutcome | undefined;
  /** Awaited by every append before it takes hold, and by every anchor; a simulation's latency. */
  readonly delay?: (operation: "append" | "anchor") => Promise<void>;
  /** Positions that the log must hold, as for the segment engine. */
  readonly verifiedThrough?: readonly LogPosition[];
}

interface Unsettled {
  readonly bytes: Uint8Array;
  readonly committed: boolean;
  operationsLeft: number;
}

/** What a memory log leaves behind when its node dies, with the means to damage it as disks and engines do. */
export class MemoryLogStorage {
  /** Encoded records; `records[i]` has sequence `firstSequence + i`. */
  readonly #records: Uint8Array[] = [];
  #firstSequence = 1;
  #anchor: LogPosition | null = null;
  #before: ChainLink | null = null;
  #pending: Uint8Array | undefined;

  get firstSequence(): number {
    return this.#firstSequence;
  }

  get anchor(): LogPosition | null {
    return this.#anchor;
  }

  /** What stands before the first record that is left; null if that is the genesis. */
  get before(): ChainLink | null {
    return this.#before;
  }

  get count(): number {
    return this.#records.length;
  }

  /** A copy of one encoded record. */
  get(sequence: number): Uint8Array | undefined {
    return this.#records[sequence - this.#firstSequence]?.slice();
  }

  /**
   * The node dies. Its unfinished append, if any, takes hold or not; nothing that the old `Log` still does has any effect.
   * Call it before another `memoryLog` is opened on this storage.
   */
  crash(options: { readonly commitUnfinished: boolean }): void {
    if (options.commitUnfinished && this.#pending !== undefined) this.#records.push(this.#pending);
    this.#pending = undefined;
    this.life++;
  }

  /** Flips one bit of a record. */
  flip(sequence: number, bitOffset: number): void {
    const record = this.#records[sequence - this.#firstSequence];
    assert(record !== undefined && bitOffset < 8 * record.length, "there is no such bit");
    record[bitOffset >> 3]! ^= 1 << (bitOffset & 7);
  }

  /** Forgets every record after `sequence`, as an engine does that lost acknowledged writes. The anchor stays. */
  rollBack(sequence: number): void {
    this.#records.length = Math.max(0, sequence - this.#firstSequence + 1);
  }

  /** Grows with every crash: a log whose life is over has no effect any more. Internal to the engine. */
  life = 0;

  /** Internal to the engine, as is all below. */
  setPending(bytes: Uint8Array | undefined): void {
    this.#pending = bytes;
  }

  push(bytes: Uint8Array): void {
    this.#records.push(bytes);
  }

  setAnchor(position: LogPosition): void {
    this.#anchor = position;
  }

  trim(sequence: number, before: ChainLink): void {
    this.#records.splice(0, sequence - this.#firstSequence);
    this.#firstSequence = sequence;
    this.#before = before;
  }
}

/**
 * Opens a memory log and verifies all of it (L5). Throws `damaged` (retry `never`) where the chain is broken, or where the
 * log doesn't hold its anchor or one of `verifiedThrough`.
 */
export function memoryLog(options: MemoryLogOptions = {}): Log {
  return new MemoryLog(options);
}

class MemoryLog implements Log {
  readonly #storage: MemoryLogStorage;
  readonly #life: number;
  readonly #options: MemoryLogOptions;
  #end: ChainLink | null;
  #unsettled: Unsettled | undefined;
  #appending = false;
  #stopped: unknown;

  constructor(options: MemoryLogOptions) {
    this.#options = options;
    this.#storage = options.storage ?? new MemoryLogStorage();
    this.#life = this.#storage.life;
    this.#end = this.#verified();
  }

  get end(): LogPosition | null {
    return this.#end;
  }

  get firstSequence(): number {
    return this.#storage.firstSequence;
  }

  async append(bytes: Uint8Array, _hash?: Uint8Array): Promise<AppendOutcome> {
    assert(!this.#appending, "at most one append may be under way");
    const record = decodeRecord(new Uint8Array(bytes));
    if (this.#stopped !== undefined) return { kind: "failed", cause: this.#stopped };
    this.#appending = true;
    try {
      // What is pending is the present life's: another's would be committed by its next crash.
      if (this.#storage.life !== this.#life) await this.#stillAlive();
      this.#storage.setPending(record.bytes);
      await this.#options.delay?.("append");
      await this.#stillAlive();
      this.#storage.setPending(undefined);
      return this.#append(record);
    } finally {
      this.#appending = false;
    }
  }

  #append(record: LogRecord): AppendOutcome {
    if (this.#stopped !== undefined) return { kind: "failed", cause: this.#stopped };
    const waiting = this.#settle();
    if (waiting !== undefined) return { kind: "unknown", cause: new Error("an earlier append is still under way") };
    if (record.sequence !== (this.#end?.sequence ?? 0) + 1) return { kind: "conflict" };
    if (!equalBytes(record.previousHash, this.#end?.hash ?? record.previousHash)) return { kind: "conflict" };
    const fault = chainFault(this.#end, record);
    assert(fault === undefined, `appended out of order: ${fault}`);
    const injected = this.#options.outcome?.(record);
    switch (injected?.kind) {
      case undefined:
        this.#commit(record);
        return { kind: "appended" };
      case "conflict":
        return { kind: "conflict" };
      case "full":
        return { kind: "full", cause: new Error("injected") };
      case "failed":
        if (injected.fate === "committed") this.#storage.push(record.bytes);
        this.#stopped = new Error("injected");
        return { kind: "failed", cause: this.#stopped };
      case "unknown": {
        const committed = injected.fate === "committed";
        this.#unsettled = { bytes: record.bytes, committed, operationsLeft: injected.afterOperations ?? 0 };
        return { kind: "unknown", cause: new Error("injected") };
      }
    }
  }

  async read(sequence: number): Promise<LogRecord | undefined> {
    await this.#stillAlive();
    this.#settle();
    return this.#read(sequence);
  }

  scan(fromSequence: number): AsyncIterable<LogRecord> {
    const last = this.#end?.sequence ?? 0;
    return this.#scan(fromSequence, last);
  }

  async *#scan(fromSequence: number, last: number): AsyncGenerator<LogRecord> {
    let previous: ChainLink | undefined;
    for (let sequence = fromSequence; sequence <= last; sequence++) {
      await this.#stillAlive();
      const record = this.#read(sequence);
      if (record === undefined) throw this.#damage(sequence, "the record is missing");
      const fault = previous === undefined ? undefined : chainFault(previous, record);
      if (fault !== undefined) throw this.#damage(sequence, fault);
      previous = record;
      yield record;
    }
  }

  async anchor(): Promise<void> {
    const end = this.#end;
    await this.#options.delay?.("anchor");
    await this.#stillAlive();
    if (this.#stopped !== undefined) {
      throw new OnefoldError("stopped", "The log has stopped. Restart the node.", { cause: this.#stopped });
    }
    if (end !== null) this.#storage.setAnchor(positionOf(end));
  }

  async trim(sequence: number): Promise<void> {
    await this.#stillAlive();
    assert(this.#end !== null && sequence <= this.#end.sequence + 1, "a log is trimmed up to its end at most");
    if (sequence <= this.firstSequence) return;
    const before = this.#read(sequence - 1);
    if (before === undefined) throw this.#damage(sequence - 1, "the record is missing");
    this.#storage.trim(sequence, before);
  }

  async close(): Promise<void> {
    if (this.#stopped !== undefined) return;
    await this.anchor();
    this.#stopped = new OnefoldError("stopped", "The log is closed.");
  }

  /** Never resolves for a log whose node has crashed: code of a dead node gets no further. */
  #stillAlive(): Promise<void> {
    return this.#storage.life === this.#life ? Promise.resolve() : new Promise(() => undefined);
  }

  #commit(record: LogRecord): void {
    this.#storage.push(record.bytes);
    this.#end = record;
  }

  /** Lets an ambiguous append come to its fate; returns it while it hasn't (M1). */
  #settle(): Unsettled | undefined {
    const unsettled = this.#unsettled;
    if (unsettled === undefined) return undefined;
    if (unsettled.operationsLeft-- > 0) return unsettled;
    this.#unsettled = undefined;
    if (unsettled.committed) this.#commit(decodeRecord(unsettled.bytes));
    return undefined;
  }

  #read(sequence: number): LogRecord | undefined {
    assert(Number.isSafeInteger(sequence) && sequence >= 1, "sequences are whole numbers from 1");
    if (sequence < this.firstSequence) {
      throw new OnefoldError("not-found", `Record ${sequence} has been trimmed from the log.`);
    }
    if (sequence > (this.#end?.sequence ?? 0)) return undefined;
    const bytes = this.#storage.get(sequence);
    if (bytes === undefined) return undefined;
    const record = this.#decode(sequence, bytes);
    if (record.sequence !== sequence) throw this.#damage(sequence, `it has sequence ${record.sequence}`);
    return record;
  }

  #verified(): ChainLink | null {
    const storage = this.#storage;
    let previous = storage.before;
    const demands = [...(this.#options.verifiedThrough ?? []), ...(storage.anchor === null ? [] : [storage.anchor])];
    const hashes = new Map<number, LogPosition>();
    for (let sequence = storage.firstSequence; sequence < storage.firstSequence + storage.count; sequence++) {
      const bytes = storage.get(sequence);
      assert(bytes !== undefined, "records are contiguous");
      const record = this.#decode(sequence, bytes);
      const fault = chainFault(previous, record);
      if (fault !== undefined) throw this.#damage(sequence, fault);
      if (demands.some((demand) => demand.sequence === sequence)) hashes.set(sequence, record);
      previous = record;
    }
    for (const demand of demands) {
      if (demand.sequence < storage.firstSequence) continue;
      const held = hashes.get(demand.sequence);
      if (held === undefined) throw this.#damage(demand.sequence, "the log has been rolled back to before this record");
      if (!equalBytes(held.hash, demand.hash))
        throw this.#damage(demand.sequence, "the record is not the one remembered");
    }
    return previous;
  }

  #decode(sequence: number, bytes: Uint8Array): LogRecord {
    try {
      return decodeRecord(bytes);
    } catch (error) {
      if (error instanceof OnefoldError && error.code === "damaged")
        throw this.#damage(sequence, reasonOf(error), error);
      throw error;
    }
  }

  #damage(sequence: number, reason: string, cause?: unknown): OnefoldError {
    return damagedLog({ file: "memory", offset: 0, sequence, reason }, cause);
  }
}
