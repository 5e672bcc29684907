/**
 * Following a shard's log: what the owner appends is taken into this node's copy, and folded into its store, as it comes.
 *
 * FO1 Records are taken in order, from the tail where it has the next one, else read from the engine: tails skip, repeat and fall
 *     silent (EL3), so there is a look at the log's end at least every `pollMs`.
 * FO2 What waits in memory is bounded; beyond that it is read again.
 * FO3 A fault of the log is told once it has stood for as long as a stale server could show it; nothing is taken meanwhile.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Host, Timer } from "../host/host.ts";
import type { FoldPace } from "./fold-pace.ts";
import { LogFault } from "./log-fault.ts";
import type { Replica } from "./replica.ts";

export interface FollowerParts {
  readonly host: Pick<Host, "clock" | "timers" | "trace">;
  readonly replica: Replica;
  /** Of all followers of this node. */
  readonly foldPace: FoldPace;
  /** Each time the copy has grown, and once when the log was found sealed or faulty. */
  readonly onProgress: () => void;
  readonly onFault: (fault: LogFault) => void;
  /** Whether a snapshot has overtaken the copy, so that this is no fault of the log: then `ended` rejects with it. */
  readonly isOvertaken: (fault: LogFault) => boolean;
}

const pollMs = 1000;
const retryMs = 300;
const inboxBytesMax = 4 * 1024 * 1024;
/** Longer than a deposed leader of the engine answers (8.5 s measured), as a number of retries. */
const doubtsMax = 36;

export class Follower {
  readonly #parts: FollowerParts;
  readonly #inbox = new Map<number, Uint8Array>();
  #inboxBytes = 0;
  #tail: { close(): void } | undefined;
  #mustLook = true;
  #wake: (() => void) | undefined;
  #isStopped = false;
  #leavesUnfolded = false;
  #running: Promise<void> | undefined;
  #foldedAtMs = 0;
  /** Of what has come since. */
  #foldDueMs: number | undefined;
  #doubts = 0;
  #doubtSinceMs = 0;
  #confirmedAtMs: number | undefined;

  constructor(parts: FollowerParts) {
    this.#parts = parts;
  }

  /** Monotonic time at which the copy was last seen to be all that the engine has; undefined before the first look. */
  get confirmedAtMs(): number | undefined {
    return this.#confirmedAtMs;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Looks at the log's end at once. */
  look(): void {
    this.#mustLook = true;
    this.#wake?.();
  }

  /**
   * Takes nothing more; resolves when nothing is under way, and the store has what was taken unless it `leavesUnfolded`, for somebody who goes
   * on at once. Throws what ended it: `DiskError`, `damaged`, `stopped`.
   */
  async stop({ leavesUnfolded = false }: { readonly leavesUnfolded?: boolean } = {}): Promise<void> {
    this.#isStopped = true;
    this.#leavesUnfolded = leavesUnfolded;
    this.#tail?.close();
    this.#wake?.();
    await this.#running;
  }

  /** Rejects with what it can't go on from; resolves once stopped. */
  get ended(): Promise<void> {
    return this.#running ?? Promise.resolve();
  }

  async #run(): Promise<void> {
    const { replica } = this.#parts;
    try {
      while (!this.#isStopped) await this.#step();
      if (!this.#leavesUnfolded) await replica.fold();
    } finally {
      this.#tail?.close();
    }
  }

  async #step(): Promise<void> {
    const { replica, host } = this.#parts;
    try {
      const bytes = this.#takeNext();
      if (bytes !== undefined) {
        await replica.take(bytes);
        this.#confirmedAtMs = host.clock.monotonicMs();
        this.#parts.onProgress();
        return;
      }
      if (this.#mustLook) return await this.#look();
      // Something may have come meanwhile: that must not wait for what comes next.
      if (replica.hasUnfolded) return await this.#fold();
      await this.#wait(pollMs);
    } catch (error) {
      await this.#afterFailure(error);
    }
  }

  async #look(): Promise<void> {
    const { replica, host } = this.#parts;
    this.#mustLook = false;
    const before = replica.nextSequence;
    const askedAtMs = host.clock.monotonicMs();
    const last = await replica.catchUp();
    if (last < before - 1) throw new LogFault("short", replica.log.name, last, "this node has verified more");
    this.#doubts = 0;
    this.#confirmedAtMs = askedAtMs;
    if (replica.nextSequence > before) this.#parts.onProgress();
    this.#tail ??= this.#openTail();
  }

  #openTail(): { close(): void } {
    const { replica } = this.#parts;
    const tail = replica.log.tail(replica.nextSequence, {
      record: (sequence, bytes) => this.#received(sequence, bytes),
      ended: () => {
        this.#tail = undefined;
        this.look();
      },
    });
    return tail;
  }

  #received(sequence: number, bytes: Uint8Array): void {
    if (sequence < this.#parts.replica.nextSequence || this.#inbox.has(sequence)) return;
    if (this.#inboxBytes + bytes.length > inboxBytesMax) this.#mustLook = true;
    else {
      this.#inbox.set(sequence, bytes);
      this.#inboxBytes += bytes.length;
    }
    this.#wake?.();
  }

  #takeNext(): Uint8Array | undefined {
    if (this.#inbox.size === 0) return undefined;
    const next = this.#parts.replica.nextSequence;
    const bytes = this.#inbox.get(next);
    if (bytes === undefined) {
      // It was skipped, or came before; what is read from the engine makes the inbox superfluous.
      this.#inbox.clear();
      this.#inboxBytes = 0;
      this.#mustLook = true;
      return undefined;
    }
    this.#inbox.delete(next);
    this.#inboxBytes -= bytes.length;
    return bytes;
  }

  /** Now, or waits until it is time or something else is to be done. */
  async #fold(): Promise<void> {
    const { replica, host, foldPace } = this.#parts;
    this.#foldDueMs ??= foldPace.next(this.#foldedAtMs);
    const waitMs = this.#foldDueMs - host.clock.monotonicMs();
    if (waitMs > 0) return this.#wait(waitMs);
    await foldPace.run(async () => {
      await replica.fold();
      await replica.trimLikeEngine();
    });
    this.#foldedAtMs = host.clock.monotonicMs();
    this.#foldDueMs = undefined;
  }

  /** FO3. */
  async #afterFailure(error: unknown): Promise<void> {
    const isOutOfReach = error instanceof OnefoldError && error.code === "unavailable";
    if (!isOutOfReach && !(error instanceof LogFault)) throw error;
    if (error instanceof LogFault && this.#parts.isOvertaken(error)) throw error;
    this.#inbox.clear();
    this.#inboxBytes = 0;
    this.#mustLook = true;
    if (error instanceof LogFault) this.#doubt(error);
    await this.#wait(retryMs);
  }

  /** By time and by number: the tail of a busy log has it look again many times at once, and a node that was paused has not looked. */
  #doubt(fault: LogFault): void {
    const nowMs = this.#parts.host.clock.monotonicMs();
    if (this.#doubts === 0) this.#doubtSinceMs = nowMs;
    if (++this.#doubts < doubtsMax || nowMs - this.#doubtSinceMs < doubtsMax * retryMs) return;
    this.#doubts = 0;
    this.#parts.onFault(fault);
  }

  /** Until something has come, it is stopped, or so much time has passed: then the log's end is looked at. */
  async #wait(atMostMs: number): Promise<void> {
    if (this.#isStopped) return;
    await new Promise<void>((resolve) => {
      const timer: Timer = this.#parts.host.timers.after(atMostMs, () => {
        if (atMostMs >= pollMs) this.#mustLook = true;
        resolve();
      });
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
    });
    this.#wake = undefined;
  }
}
