/**
 * The committer: gathers entries in the open batch, and appends one batch at a time. Whatever gathers while an append is
 * under way makes the next batch; there is no delay.
 *
 * M1  A work held for a batch is released only after that batch, and with it all before it, is durable (G3).
 * M2  An append whose outcome is unknown is sent again, the identical bytes with the identical expectation, until some record
 *     stands at its sequence; whose it is decides (design 6). 'Unknown' is never reported as failure.
 * M3  After a failed append nothing that depended on it stays: the open batch goes with it (hazard 6).
 * M4  Log time never goes back: a batch's time is the maximum of the last one's and the clock.
 * M5  Where the log is one of many machines, whatever is told of the state, own effects or not, waits for a batch whose append starts
 *     after it was asked for: so no other owner can have written meanwhile what it had to see (G4, hazard 8). An empty batch is
 *     appended where there is nothing else.
 */
import { assert } from "../base/assert.ts";
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Clock, Timers } from "../host/host.ts";
import type { AppendOutcome, Log, LogPosition } from "../log/log.ts";
import { encodeRecord, recordHeaderBytes } from "../log/record.ts";
import { type Entry, entryBytesMax, readerVersionOf } from "./batch.ts";
import { encodeBatch } from "./batch-encoder.ts";
import type { Work } from "./work.ts";

export interface Batch {
  readonly sequence: number;
  readonly timeMs: number;
  readonly entries: Entry[];
  /** Answered when the batch is durable. */
  readonly held: Work[];
  /** Upper bound of the encoded size. */
  sizeBytes: number;
}

/** An entry of an allowed size. */
export interface MeasuredEntry {
  readonly entry: Entry;
  /** Upper bound of its encoded size. */
  readonly sizeBytes: number;
}

/** A batch that has become durable. */
export interface DurableBatch {
  readonly position: LogPosition;
  readonly timeMs: number;
  readonly entries: readonly Entry[];
  /** Its encoding, and what that takes in the log with the record around it. */
  readonly payload: Uint8Array;
  readonly sizeBytes: number;
}

export interface CommitterOwner {
  /** Called after `durableSequence` has moved and before the batch's works are released. */
  onDurable(batch: DurableBatch): void;
  /** The suffix beyond `durableSequence` is gone: forget everything speculative. Its works have been failed already. */
  onDropped(error: OnefoldError): void;
  /** The log takes nothing more. */
  onStopped(error: OnefoldError): void;
}

const resendDelayMs = 50;

export class Committer {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #limits: Limits;
  readonly #owner: CommitterOwner;
  readonly #mayTellDurable: () => boolean;
  #end: LogPosition;
  /** Not only of batches: a step of a transaction has seen it, too, whose effects come in a later batch. */
  #saidTimeMs: number;
  #open: Batch | undefined;
  #inFlight: Batch | undefined;
  #stopped: OnefoldError | undefined;
  /** Resolves when nothing is open or in flight. */
  #idle: (() => void)[] = [];

  constructor(parts: {
    readonly log: Log;
    readonly clock: Clock;
    readonly timers: Timers;
    readonly limits: Limits;
    readonly owner: CommitterOwner;
    readonly lastTimeMs: number;
    /** Asked after a work has seen the state: whether what is durable may be told at once, without M5. By default it may. */
    readonly mayTellDurable?: () => boolean;
  }) {
    assert(parts.log.end !== null, "a committer needs a log with a genesis");
    this.#log = parts.log;
    this.#clock = parts.clock;
    this.#timers = parts.timers;
    this.#limits = parts.limits;
    this.#owner = parts.owner;
    this.#mayTellDurable = parts.mayTellDurable ?? (() => true);
    this.#end = parts.log.end;
    this.#saidTimeMs = parts.lastTimeMs;
  }

  get durable(): LogPosition {
    return this.#end;
  }

  /** Log time of the open batch, or what it would be if one were opened now. What it has said once it never goes behind. */
  get timeMs(): number {
    if (this.#open !== undefined) return this.#open.timeMs;
    this.#saidTimeMs = Math.max(this.#saidTimeMs, this.#clock.wallMs());
    return this.#saidTimeMs;
  }

  /** The sequence that an entry added now will have. */
  get openSequence(): number {
    return this.#open?.sequence ?? this.#end.sequence + (this.#inFlight === undefined ? 1 : 2);
  }

  /** The open batch, opened now if there is none: its time and sequence are fixed from here on. */
  open(): Batch {
    this.#open ??= { sequence: this.openSequence, timeMs: this.timeMs, entries: [], held: [], sizeBytes: 64 };
    return this.#open;
  }

  /** Whether an entry of the greatest allowed size still fits. */
  get hasRoom(): boolean {
    return (
      this.#open === undefined ||
      this.#open.sizeBytes + this.#limits.effectsBytesMax + recordOverheadBytes <= this.#limits.batchBytesMax
    );
  }

  get isAppending(): boolean {
    return this.#inFlight !== undefined;
  }

  /** Something is on its way to the log, or waits for it. */
  get isBusy(): boolean {
    return this.#inFlight !== undefined || (this.#open !== undefined && !isIdle(this.#open));
  }

  /** Adds an entry to the open batch. The caller has made sure that there is room (`hasRoom`). */
  add({ entry, sizeBytes }: MeasuredEntry): void {
    const batch = this.open();
    batch.entries.push(entry);
    batch.sizeBytes += sizeBytes;
  }

  /** Throws `too-large` if the entry is more than one command or transaction may do. */
  measure(entry: Entry): MeasuredEntry {
    const size = entryBytesMax(entry);
    if (size <= this.#limits.effectsBytesMax) return { entry, sizeBytes: size };
    throw new OnefoldError(
      "too-large",
      `The effects would take up to ${size} bytes; the limit for one command or transaction is ${this.#limits.effectsBytesMax}.`,
      { details: { bytes: size, bytesMax: this.#limits.effectsBytesMax } },
    );
  }

  /** Releases `work` when everything up to `sequence` is durable, and M5 allows it: at once if so. */
  hold(work: Work, sequence: number): void {
    const mayTellDurable = this.#mayTellDurable();
    if (mayTellDurable && sequence <= this.#end.sequence) return work.release();
    if (this.#stopped !== undefined) return work.fail(this.#stopped);
    if (!mayTellDurable) {
      this.open().held.push(work);
      return;
    }
    const batch = this.#inFlight?.sequence === sequence ? this.#inFlight : this.#open;
    assert(batch !== undefined && batch.sequence >= sequence, "nothing can have been observed beyond the open batch");
    batch.held.push(work);
  }

  get heldCount(): number {
    return (this.#inFlight?.held.length ?? 0) + (this.#open?.held.length ?? 0);
  }

  /** Every work that waits for durability, for deadlines. */
  *held(): Iterable<Work> {
    if (this.#inFlight !== undefined) yield* this.#inFlight.held;
    if (this.#open !== undefined) yield* this.#open.held;
  }

  /** Appends the open batch if there is something in it, or somebody waits for it (M5), and no append under way. */
  kick(): void {
    if (this.#inFlight !== undefined) return;
    const batch = this.#stopped === undefined ? this.#open : undefined;
    if (batch === undefined || isIdle(batch)) {
      this.#open = undefined;
      this.#resolveIdle();
      return;
    }
    this.#open = undefined;
    this.#inFlight = batch;
    const { incarnation, epoch, hash: previousHash } = this.#end;
    const { bytes, hash } = encodeRecord(
      {
        kind: "batch",
        readerVersion: readerVersionOf(batch.entries),
        incarnation,
        epoch,
        sequence: batch.sequence,
        timeMs: batch.timeMs,
        previousHash,
      },
      encodeBatch(batch.entries),
    );
    const position = { incarnation, epoch, sequence: batch.sequence, hash };
    this.#append(bytes, position).then(
      (outcome) => this.#finish(batch, position, outcome, bytes),
      (cause: unknown) => this.#stop({ kind: "failed", cause }),
    );
  }

  /** M2: goes on until it is known what stands at the sequence. */
  async #append(bytes: Uint8Array, position: LogPosition): Promise<AppendOutcome> {
    for (let isInDoubt = false; ; isInDoubt = true) {
      const outcome = await this.#log.append(bytes, position.hash);
      if (isKnown(outcome, { isInDoubt })) return outcome;
      const found = await this.#log.read(position.sequence);
      if (found !== undefined) {
        return equalBytes(found.hash, position.hash) ? { kind: "appended" } : { kind: "displaced" };
      }
      await new Promise<void>((resolve) => this.#timers.after(resendDelayMs, resolve, { keepsAlive: true }));
    }
  }

  #finish(batch: Batch, position: LogPosition, outcome: AppendOutcome, bytes: Uint8Array): void {
    switch (outcome.kind) {
      case "appended": {
        this.#inFlight = undefined;
        this.#end = position;
        // The next append starts before anyone is answered: the disk works while the answers go out.
        this.kick();
        this.#owner.onDurable({
          position,
          timeMs: batch.timeMs,
          entries: batch.entries,
          payload: bytes.subarray(recordHeaderBytes),
          sizeBytes: bytes.length,
        });
        for (const work of batch.held) work.release();
        return;
      }
      case "full":
        return this.#drop(
          new OnefoldError("disk-full", "The log's disk is full; nothing was changed. Free space, then try again.", {
            cause: outcome.cause,
            retryAfterMs: 1000,
          }),
        );
      case "conflict":
      case "displaced":
      case "failed":
      case "unknown":
        return this.#stop(outcome);
    }
  }

  /** Gives the open batch up where memory can't be trusted any more; nobody asks for what is behind it. */
  abandonOpen(reason: OnefoldError): void {
    this.#stopped ??= reason;
    const open = this.#open;
    this.#open = undefined;
    const neverSent = new OnefoldError("stopped", reason.message, { cause: reason, retry: "safe" });
    for (const work of open?.held ?? []) work.fail(neverSent);
    if (this.#inFlight === undefined) this.#resolveIdle();
  }

  #drop(error: OnefoldError): void {
    const dropped = [this.#inFlight, this.#open];
    this.#inFlight = undefined;
    this.#open = undefined;
    this.#owner.onDropped(error);
    for (const batch of dropped) for (const work of batch?.held ?? []) work.fail(error);
    this.#resolveIdle();
  }

  #stop(outcome: AppendOutcome): void {
    const cause = "cause" in outcome ? outcome.cause : undefined;
    const isDeposed = outcome.kind === "displaced";
    const why = isDeposed
      ? "Another writer's record stands in the log where this node's was to stand; it is no longer the owner."
      : "The log could not be written; whether the last batch is durable will be known after a restart.";
    const code = isDeposed ? "not-owner" : "stopped";
    const error = new OnefoldError(code, why, { cause });
    this.#stopped = error;
    // Only what was in flight is in doubt; what came after it was never sent.
    const neverSent = new OnefoldError(code, why, { cause, retry: "safe" });
    const [inFlight, open] = [this.#inFlight, this.#open];
    this.#inFlight = undefined;
    this.#open = undefined;
    this.#owner.onStopped(error);
    const doubt = isDeposed ? neverSent : error;
    for (const work of inFlight?.held ?? []) work.fail(doubt);
    for (const work of open?.held ?? []) work.fail(neverSent);
    this.#resolveIdle();
  }

  #resolveIdle(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Resolves when nothing is open or under way, or the log has failed. */
  idle(): Promise<void> {
    if (this.#inFlight === undefined && (this.#open === undefined || isIdle(this.#open))) {
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#idle.push(resolve));
  }
}

function isKnown({ kind }: AppendOutcome, { isInDoubt }: { readonly isInDoubt: boolean }): boolean {
  // A full disk says that this sending was not written, and nothing of an earlier one that is still in doubt.
  return kind === "appended" || kind === "displaced" || kind === "failed" || (kind === "full" && !isInDoubt);
}

/** Nobody would notice if it were not appended. */
function isIdle({ entries, held }: Batch): boolean {
  return entries.length === 0 && held.length === 0;
}

/** Record header and the batch's own framing, rounded up. */
const recordOverheadBytes = 4096;
