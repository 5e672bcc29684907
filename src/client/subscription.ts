/**
 * One subscription of the client and its only reader.
 *
 * SB1  One value at most waits for the reader; the server is granted as many more as were taken (CS2).
 * SB2  What came last is known, whichever way it came, so that nothing is given twice because the way has changed (CS3).
 */
import type { Value } from "../base/value.ts";
import { Encoder } from "../wire/encoder.ts";
import { envelopeDepth, valueDepthMax } from "../wire/nesting.ts";
import type { ClientPlatform, ClientTimer } from "./platform.ts";
import type { WatchTarget } from "./watch-target.ts";

/** Where in the log a value was seen: to go on from there, also in another process. */
export interface Position {
  /** The log's name. Sequences of two logs can't be compared. */
  readonly log: string;
  readonly sequence: number;
}

export interface Change<T> extends Position {
  readonly value: T;
}

export interface WatchOptions {
  /** Ends the iteration: it throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** The position of a value that is known already: what comes first is then the first value after it. */
  readonly seen?: Position;
}

const scratch = new Encoder(256);

/** What a subscription needs of its client. */
export interface SubscriptionOwner {
  readonly platform: ClientPlatform;
  grant(id: number, credit: number): void;
  ended(id: number): void;
  poll(): void;
}

function encoded(value: Value | undefined): Uint8Array {
  // In a list, so that what is absent differs from null.
  scratch.value(value === undefined ? [] : [value], valueDepthMax + envelopeDepth);
  return scratch.take();
}

/** One subscription and its only reader. */
export class Subscription implements AsyncIterableIterator<Change<Value | undefined>> {
  readonly id: number;
  readonly target: WatchTarget;
  readonly #owner: SubscriptionOwner;
  readonly #signal: AbortSignal | undefined;
  /** What came last, whether it was taken or not. */
  #position: Position | undefined;
  #waiting: Change<Value | undefined> | undefined;
  /** Values that came and have not been granted again. */
  #received = 0;
  #reader:
    | { resolve(result: IteratorResult<Change<Value | undefined>>): void; reject(error: unknown): void }
    | undefined;
  #end: { readonly error: unknown } | "done" | undefined;
  /** The value that came last, whichever way. */
  #last: { readonly value: Value | undefined } | undefined;
  /** Counts polls: the answer to an older one, or to one that a socket has overtaken, is ignored. */
  #poll = 0;
  #pollTimer: ClientTimer | undefined;
  isPolling = false;

  constructor(id: number, target: WatchTarget, options: WatchOptions, owner: SubscriptionOwner) {
    this.id = id;
    this.target = target;
    this.#owner = owner;
    this.#position = options.seen;
    this.#signal = options.signal;
    this.#signal?.addEventListener("abort", this.#abort, { once: true });
    if (this.#signal?.aborted === true) this.#end = { error: this.#signal.reason };
  }

  get position(): Position | undefined {
    return this.#position;
  }

  /** A new connection knows nothing of earlier credit: what waits for the reader counts against it. */
  creditOnOpening(credit: number): number {
    this.#received = this.#waiting === undefined ? 0 : 1;
    return credit - this.#received;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Change<Value | undefined>>> {
    if (this.#waiting !== undefined) {
      const value = this.#waiting;
      this.#waiting = undefined;
      this.#grant();
      return Promise.resolve({ done: false, value });
    }
    if (this.#end === "done") return Promise.resolve({ done: true, value: undefined });
    if (this.#end !== undefined) {
      const { error } = this.#end;
      this.#end = "done";
      return Promise.reject(error);
    }
    if (this.#reader !== undefined) {
      return Promise.reject(new TypeError("A subscription has one reader, who awaits one value at a time."));
    }
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  return(): Promise<IteratorResult<Change<Value | undefined>>> {
    this.#finish("done");
    this.#owner.ended(this.id);
    return Promise.resolve({ done: true, value: undefined });
  }

  came(change: Change<Value | undefined>): void {
    // What was polled has no position, so the server can't know that it is known (CS3).
    const isKnown = this.#position?.log === "" && this.#isLast(change.value);
    this.#position = { log: change.log, sequence: change.sequence };
    this.#received++;
    if (isKnown) return this.#grant();
    this.#last = change;
    if (this.#reader === undefined) {
      this.#waiting = change;
      return;
    }
    const reader = this.#reader;
    this.#reader = undefined;
    this.#grant();
    reader.resolve({ done: false, value: change });
  }

  #isLast(value: Value | undefined): boolean {
    if (this.#last === undefined) return false;
    const [a, b] = [encoded(this.#last.value), encoded(value)];
    return a.length === b.length && a.every((byte, index) => byte === b[index]);
  }

  #grant(): void {
    const credit = this.#received;
    this.#received = 0;
    if (credit > 0) this.#owner.grant(this.id, credit);
  }

  /** What asking has found: given on if it is another value than the last. It has no position. */
  polled(value: Value | undefined): void {
    if (this.#isLast(value)) return;
    // What came before is older, wherever it stood.
    this.#position = undefined;
    this.came({ value, sequence: 0, log: "" });
    this.#received = 0;
  }

  /** Begins a poll; gives its number, for `isCurrent`. */
  beginPoll(): number {
    this.stopPolling();
    this.isPolling = true;
    return this.#poll;
  }

  isCurrent(poll: number): boolean {
    return this.isPolling && this.#poll === poll;
  }

  pollAfter(delayMs: number): void {
    this.#pollTimer = this.#owner.platform.after(delayMs, () => this.#owner.poll());
  }

  stopPolling(): void {
    this.#poll++;
    this.isPolling = false;
    this.#pollTimer?.cancel();
  }

  fail(error: unknown): void {
    this.#finish({ error });
  }

  readonly #abort = (): void => {
    this.#finish({ error: this.#signal!.reason });
    this.#owner.ended(this.id);
  };

  #finish(end: { readonly error: unknown } | "done"): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.stopPolling();
    this.#signal?.removeEventListener("abort", this.#abort);
    // A value that is there already is given before the end is told; where the reader leaves, it is dropped.
    if (end === "done") this.#waiting = undefined;
    const reader = this.#reader;
    this.#reader = undefined;
    if (reader === undefined) return;
    if (end === "done") reader.resolve({ done: true, value: undefined });
    else {
      this.#end = "done";
      reader.reject(end.error);
    }
  }
}
