/**
 * The applier: brings durable batches into the store, many at a time, behind everyone's back. Until then they are read from
 * memory (`working-set.ts`); after a crash they are folded again from the log.
 *
 * Y1  Batches reach the store in order, whole, with the position of the last of them in the same store transaction.
 * Y2  A full disk or a slow one delays it, nothing else: batches stay in memory, folded (`portion.ts`), and at the limit on what
 *     they take there the executor pauses.
 * Y3  Items of ended generations, which nobody can see, are swept away in small portions when there is nothing else to do.
 */
import { assert } from "../base/assert.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { DiskError, type Timer, type Timers, type Trace } from "../host/host.ts";
import type { Store, Write } from "../store/store.ts";
import type { DurableBatch } from "./committer.ts";
import { entriesWithPrefix } from "./fold.ts";
import { afterPrefix, bytesOfBinary, keys, readUint16 } from "./keys.ts";
import { type Pinned, Portion, soonPortions, type UnappliedBatch } from "./portion.ts";

/** Long enough that what changes again and again is written once, short enough that a restart has little to fold again. */
const applyDelayMs = 250;
/** Of memory; reached sooner than the delay only by tens of thousands of commands a second. */
const applyBytes = 8 * 1024 * 1024;
const retryFullMs = 1000;
const resumeShare = 7 / 8;
const sweepPortion = 512;

export interface ApplierOwner {
  /** The store has everything up to `sequence`. */
  applied(pinned: Pinned, sequence: number): void;
  /** The store takes nothing more. */
  onStoreFailed(cause: unknown): void;
}

export class Applier {
  readonly #store: Store;
  readonly #timers: Timers;
  readonly #limits: Limits;
  readonly #trace: Trace;
  readonly #owner: ApplierOwner;
  readonly #pressure: { pause(): void; resume(): void };
  /** In order; the last one takes what comes, unless it is being applied. */
  readonly #portions: Portion[] = [];
  #isLastClosed = true;
  /** Of the latest portions, also of those that are in the store; the latest is the last. */
  #firstSequences: readonly number[] = [];
  #pendingBytes = 0;
  #isPaused = false;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #failure: unknown;
  #hasGarbage = true;
  #isFull = false;
  #isStopped = false;
  /** Slots touched since somebody last took them, for snapshots. */
  readonly #dirtyListeners = new Set<(slot: number) => void>();
  #dirtySlots = new Set<number>();

  constructor(parts: {
    readonly store: Store;
    readonly timers: Timers;
    readonly limits: Limits;
    readonly trace: Trace;
    readonly owner: ApplierOwner;
    readonly pressure: { pause(): void; resume(): void };
  }) {
    this.#store = parts.store;
    this.#timers = parts.timers;
    this.#limits = parts.limits;
    this.#trace = parts.trace;
    this.#owner = parts.owner;
    this.#pressure = parts.pressure;
  }

  /** Durable batches that the store doesn't have, in order. */
  get pending(): readonly UnappliedBatch[] {
    return this.#portions.flatMap(({ batches }) => batches);
  }

  get pendingCount(): number {
    return this.#portions.reduce((count, { batches }) => count + batches.length, 0);
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  takeDirtySlots(): ReadonlySet<number> {
    const slots = this.#dirtySlots;
    this.#dirtySlots = new Set();
    return slots;
  }

  /** Tells of every slot in which something has just changed in the store, until the result is called. */
  watchDirtySlots(listener: (slot: number) => void): () => void {
    this.#dirtyListeners.add(listener);
    return () => this.#dirtyListeners.delete(listener);
  }

  returnDirtySlots(slots: ReadonlySet<number>): void {
    for (const slot of slots) this.#dirtySlots.add(slot);
  }

  /** Looks for what an earlier life has left to sweep away. */
  start(): void {
    this.#timer ??= this.#timers.after(applyDelayMs, () => this.#start());
  }

  add(batch: DurableBatch): void {
    const portion = this.#lastPortion(batch.position.sequence);
    this.#pendingBytes -= portion.memoryBytes;
    portion.add(batch);
    this.#pendingBytes += portion.memoryBytes;
    if (!this.#isPaused && this.#pendingBytes > this.#limits.unappliedBytesMax) {
      this.#isPaused = true;
      this.#pressure.pause();
    }
    if (this.#isPaused || this.#pendingBytes > applyBytes) this.#start();
    else this.#timer ??= this.#timers.after(applyDelayMs, () => this.#start());
  }

  /** For the batch `sequence`. */
  #lastPortion(sequence: number): Portion {
    const last = this.#portions.at(-1);
    if (last !== undefined && !this.#isLastClosed && !last.isFull) return last;
    const portion = new Portion({ soonSequence: this.#firstSequences[0] ?? 0 });
    this.#firstSequences = [...this.#firstSequences, sequence].slice(-soonPortions);
    this.#portions.push(portion);
    this.#isLastClosed = false;
    return portion;
  }

  #start(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#running !== undefined || this.#failure !== undefined || this.#isStopped) return;
    if (this.#portions.length === 0 && !this.#hasGarbage) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      if (this.#failure !== undefined || this.#isStopped) return;
      if (this.#portions.length === 0 && !this.#hasGarbage) return;
      if (!this.#isFull && this.#pendingBytes > applyBytes) return this.#start();
      const delayMs = this.#isFull ? retryFullMs : applyDelayMs;
      // While the executor is paused its callers wait for this.
      this.#timer ??= this.#timers.after(delayMs, () => this.#start(), { keepsAlive: this.#isPaused });
    });
  }

  async #run(): Promise<void> {
    // In portions, because the store takes its writes on the main thread.
    const portions = [...this.#portions];
    this.#isLastClosed = true;
    try {
      if (portions.length === 0) await this.#sweep();
      for (const portion of portions) await this.#apply(portion);
      this.#isFull = false;
    } catch (cause) {
      if (cause instanceof DiskError && cause.code === "full") {
        if (!this.#isFull) {
          this.#trace(
            "error",
            "The store's disk is full: free space. Nothing is lost; writes pause when memory is full.",
            {
              cause,
            },
          );
        }
        this.#isFull = true;
        return;
      }
      this.#failure = cause;
      this.#owner.onStoreFailed(cause);
    }
  }

  async #apply(portion: Portion): Promise<void> {
    const { writes, position, pinned } = portion;
    await this.#store.apply(writes.toArray(), position);
    this.#hasGarbage ||= writes.hasGarbage;
    this.#noteDirty(writes.slots);
    assert(this.#portions.shift() === portion, "portions are applied in order");
    this.#pendingBytes -= portion.memoryBytes;
    this.#owner.applied(pinned, position.sequence);
    // Soon after the limit, so that callers wait many short times and not a few long ones.
    if (this.#isPaused && this.#pendingBytes <= this.#limits.unappliedBytesMax * resumeShare) {
      this.#isPaused = false;
      this.#pressure.resume();
    }
  }

  /** Y3. */
  async #sweep(): Promise<void> {
    const position = this.#store.position;
    const [garbage] = entriesWithPrefix(this.#store, keys.table("garbage"), { limit: 1 });
    if (garbage === undefined || position === null) {
      this.#hasGarbage = false;
      return;
    }
    const slot = readUint16(garbage.key, 1);
    const ofGeneration = keys.itemsOfGenerationTail(slot, garbage.key.slice(3));
    const range = {
      from: bytesOfBinary(ofGeneration),
      to: bytesOfBinary(afterPrefix(ofGeneration)),
      limit: sweepPortion,
    };
    const writes: Write[] = [];
    for (const { key } of this.#store.range(range)) writes.push({ key, value: null });
    if (writes.length < sweepPortion) writes.push({ key: bytesOfBinary(garbage.key), value: null });
    await this.#store.apply(writes, position);
    this.#noteDirty([slot]);
  }

  #noteDirty(slots: Iterable<number>): void {
    for (const slot of slots) {
      this.#dirtySlots.add(slot);
      for (const listener of this.#dirtyListeners) listener(slot);
    }
  }

  /** Resolves when everything that is durable now is in the store. Rejects with `stopped` causes if that fails. */
  async flush(): Promise<void> {
    const target = this.#portions.at(-1)?.position.sequence ?? 0;
    let hasTried = false;
    while (this.#failure === undefined && (this.#portions[0]?.firstSequence ?? target + 1) <= target) {
      // A disk that was full may have room by now: it is tried once.
      if (this.#isFull && this.#running === undefined && hasTried) {
        throw new DiskError("full", "The store can't be brought up to date while its disk is full.");
      }
      if (this.#isStopped) throw new OnefoldError("stopped", "The store takes nothing more; the node is stopping.");
      hasTried = true;
      this.#start();
      await this.#running;
    }
    if (this.#failure !== undefined) throw this.#failure as OnefoldError;
  }

  /** No more is applied after it; what is under way ends first. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.#running;
  }
}
