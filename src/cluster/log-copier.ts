/**
 * Copying a log into the engine, record by record and byte for byte, while its owner goes on appending to it.
 *
 * LC1 What is copied is a prefix of the source, from where the copy begins: contiguous, and never ahead of what is durable there.
 * LC2 A copy is read back from the engine, and its chain held against the source's last record, before it is said to be whole: the hash of
 *     a record vouches for everything before it.
 * LC3 Somebody else's record in it ends the copy: it is never written over.
 */
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Clock, Timers } from "../host/host.ts";
import { type ChainLink, chainFault } from "../log/chain.ts";
import type { EngineLog } from "../log/engine-log.ts";
import type { Log } from "../log/log.ts";
import { decodeRecord, type LogRecord } from "../log/record.ts";
import { sendUntilKnown } from "./sending.ts";

export interface LogCopierParts {
  readonly source: Log;
  readonly copy: EngineLog;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly timers: Timers;
  /** Each record that stands in the copy now, in order. */
  readonly onCopied: (record: LogRecord) => void;
  /** False: give up. */
  readonly isWanted: () => boolean;
}

/** Sent at once: an engine that has to sync each of them can do so together. */
const windowRecords = 64;
const windowBytes = 4 * 1024 * 1024;
const readBackBytes = 1024 * 1024;
/** An engine that takes nothing for so long is given up. */
const silentMsMax = 30_000;

export class LogCopier {
  readonly #parts: LogCopierParts;
  #nextSequence: number;
  #progressMs: number;
  readonly #firstSequence: number;
  /** The last record that was read back. */
  #verified: ChainLink | null = null;

  private constructor(parts: LogCopierParts, { first, next }: { readonly first: number; readonly next: number }) {
    this.#parts = parts;
    this.#firstSequence = first;
    this.#nextSequence = next;
    this.#progressMs = parts.clock.monotonicMs();
  }

  /** Goes on with what an earlier copying has left, where that belongs to this source; undefined where it does not. Throws `unavailable`. */
  static async resume(parts: LogCopierParts): Promise<LogCopier | undefined> {
    const { source, copy } = parts;
    const { first, last } = await copy.bounds();
    if (last < first) return first === source.firstSequence ? new LogCopier(parts, { first, next: first }) : undefined;
    if (source.end === null || last > source.end.sequence || last < source.firstSequence) return undefined;
    const [own, theirs] = [await source.read(last), await copy.read(last)];
    const isSame = own !== undefined && theirs !== undefined && equalBytes(own.bytes, theirs);
    return isSame ? new LogCopier(parts, { first, next: last + 1 }) : undefined;
  }

  /** The first that the copy lacks. */
  get nextSequence(): number {
    return this.#nextSequence;
  }

  /** The first that the copy has. */
  get firstSequence(): number {
    return this.#firstSequence;
  }

  /** Copies up to the source's end as it is at the call; returns how many records. Throws `unavailable` (retry safe), `damaged`. */
  async catchUp(): Promise<number> {
    let count = 0;
    let window: LogRecord[] = [];
    let bytes = 0;
    const { source } = this.#parts;
    if (this.#nextSequence > (source.end?.sequence ?? 0)) return 0;
    for await (const record of source.scan(this.#nextSequence)) {
      window.push(record);
      bytes += record.bytes.length;
      count++;
      if (window.length < windowRecords && bytes < windowBytes) continue;
      await this.#send(window);
      window = [];
      bytes = 0;
    }
    await this.#send(window);
    return count;
  }

  async #send(records: readonly LogRecord[]): Promise<void> {
    const { copy, timers, onCopied } = this.#parts;
    const isWanted = (): boolean => this.#isWanted;
    const fates = await Promise.all(
      records.map((record) => sendUntilKnown(copy, record.sequence, record, { timers, isWanted })),
    );
    if (fates.includes("other")) {
      throw new OnefoldError("conflict", `Somebody else has written to the log ${copy.name}. Begin another copy.`);
    }
    if (fates.includes("unknown")) {
      throw new OnefoldError("unavailable", "The engine takes no more records now.", { retryAfterMs: 1000 });
    }
    for (const record of records) onCopied(record);
    this.#nextSequence += records.length;
    this.#progressMs = this.#parts.clock.monotonicMs();
  }

  get #isWanted(): boolean {
    const { clock, isWanted } = this.#parts;
    return isWanted() && clock.monotonicMs() - this.#progressMs < silentMsMax;
  }

  /** LC2: what was copied and not read back yet. Throws `unavailable` (retry safe), `damaged`. */
  async verify(): Promise<void> {
    const { copy, source } = this.#parts;
    while (this.#verifiedSequence + 1 < this.#nextSequence) {
      if (!this.#parts.isWanted()) throw new OnefoldError("unavailable", "The copying is not wanted any more.");
      const records = await copy.readMany(this.#verifiedSequence + 1, readBackBytes);
      if (records.length === 0) throw this.#damaged(this.#verifiedSequence + 1, "it can't be read back");
      for (const bytes of records) this.#verifyOne(bytes);
    }
    const last = this.#verified;
    const own = last === null ? undefined : await source.read(last.sequence);
    if (last === null || (own !== undefined && equalBytes(own.hash, last.hash))) return;
    throw this.#damaged(last.sequence, "it is not the record that was copied");
  }

  get #verifiedSequence(): number {
    return this.#verified?.sequence ?? this.#firstSequence - 1;
  }

  #verifyOne(bytes: Uint8Array): void {
    const record = decodeRecord(bytes);
    // The first is vouched for by those behind it.
    const fault = this.#verified === null ? undefined : chainFault(this.#verified, record);
    if (fault !== undefined) throw this.#damaged(record.sequence, fault);
    this.#verified = record;
  }

  #damaged(sequence: number, reason: string): OnefoldError {
    const { name } = this.#parts.copy;
    return new OnefoldError("damaged", `The copy ${name} is not whole at ${sequence}: ${reason}. Look at the engine.`, {
      details: { log: name, sequence, reason },
    });
  }
}
