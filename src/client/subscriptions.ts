/**
 * The client's subscriptions: each an iterator that gives the present value, then the next whenever there is one.
 *
 * CS1  The last value that the server has is given in the end; values in between may be skipped, never given out of order.
 * CS2  One value at most waits for its reader; the server is granted as many more as were taken.
 * CS3  After a reconnect it goes on from the last value that came: nothing is given twice for that, and nothing is missed.
 */
import { OnefoldError, type Refused } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import { Encoder } from "../wire/encoder.ts";
import { envelopeDepth, valueDepthMax } from "../wire/nesting.ts";
import { toServer } from "../wire/protocol.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { ClientPlatform, ClientTimer } from "./platform.ts";

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

export interface WatchTarget {
  readonly kind: string;
  readonly id: string;
  /** Absent: the raw state. */
  readonly query: string | undefined;
  /** Encoded, because it is sent again after each reconnect. */
  readonly input: Uint8Array | undefined;
}

/**
 * What is to be watched, with its input as it is now (CO1). Throws `invalid-value` and `payload-too-large` (retry never): sent, they
 * would end the connection, and the next one too.
 */
export function watchTarget(
  kind: string,
  id: string,
  query: string | undefined,
  input: Value | undefined,
): WatchTarget {
  try {
    for (const part of [kind, id, query ?? ""]) scratch.text(part);
    const start = scratch.size;
    if (input !== undefined) scratch.value(input);
    const bytes = scratch.take();
    if (bytes.length > targetBytesMax) {
      throw new OnefoldError("payload-too-large", `What is watched takes more than ${targetBytesMax} bytes.`, {
        details: { bytesMax: targetBytesMax },
      });
    }
    return { kind, id, query, input: input === undefined ? undefined : bytes.subarray(start) };
  } catch (error) {
    scratch.truncate(0);
    throw error;
  }
}

/** So many values may be under way to a reader who has not taken the last one. */
const creditFirst = 2;
const pollMs = 1000;
/** A node takes no more of one connection's subscriptions either. */
const targetBytesMax = 256 * 1024;
const scratch = new Encoder(256);

export class Subscriptions {
  readonly #dispatcher: Dispatcher;
  readonly #platform: ClientPlatform;
  readonly #open = new Map<number, Subscription>();
  #lastId = 0;
  #isClosed = false;

  constructor(dispatcher: Dispatcher, platform: ClientPlatform) {
    this.#dispatcher = dispatcher;
    this.#platform = platform;
  }

  get count(): number {
    return this.#open.size;
  }

  /** Begins a subscription. */
  open(target: WatchTarget, options: WatchOptions): Subscription {
    // Even ids for these, odd ones for calls: both are the client's to choose.
    this.#lastId += 2;
    const subscription = new Subscription(this.#lastId, target, options, {
      grant: (id, credit) => this.#grant(id, credit),
      ended: (id) => this.#ended(id),
      poll: () => this.#poll(subscription),
      platform: this.#platform,
    });
    if (this.#isClosed) {
      subscription.fail(clientClosed());
      return subscription;
    }
    this.#open.set(subscription.id, subscription);
    const { link } = this.#dispatcher;
    if (link?.isOpen === true) this.#subscribe(subscription);
    else if (link === undefined) this.#poll(subscription);
    else {
      link.wake();
      if (this.#dispatcher.isOnHttp) this.#poll(subscription);
    }
    return subscription;
  }

  #subscribe(subscription: Subscription): void {
    const link = this.#dispatcher.link!;
    const { kind, id, query, input } = subscription.target;
    const { position } = subscription;
    const encoder = link.begin();
    encoder.array(5);
    encoder.number(toServer.subscribe);
    encoder.number(subscription.id);
    const seen = position === undefined || position.log === "" ? undefined : [position.log, position.sequence];
    encoder.map(1 + (query === undefined ? 0 : 1) + (input === undefined ? 0 : 1) + (seen === undefined ? 0 : 1));
    encoder.text("credit");
    encoder.number(subscription.creditOnOpening(creditFirst));
    if (query !== undefined) {
      encoder.text("query");
      encoder.text(query);
    }
    if (input !== undefined) {
      encoder.text("input");
      encoder.raw(input);
    }
    if (seen !== undefined) {
      encoder.text("seen");
      encoder.value(seen);
    }
    encoder.text(kind);
    encoder.text(id);
    link.end();
  }

  #grant(id: number, credit: number): void {
    const { link } = this.#dispatcher;
    if (link?.isOpen !== true) return;
    const encoder = link.begin();
    encoder.array(3);
    encoder.number(toServer.credit);
    encoder.number(id);
    encoder.number(credit);
    link.end();
  }

  #ended(id: number): void {
    if (!this.#open.delete(id)) return;
    const { link } = this.#dispatcher;
    if (link?.isOpen !== true) return;
    const encoder = link.begin();
    encoder.array(2);
    encoder.number(toServer.cancel);
    encoder.number(id);
    link.end();
  }

  /** Where there is no socket: asks now and then. */
  #poll(subscription: Subscription): void {
    subscription.stopPolling();
    if (!this.#open.has(subscription.id) || this.#dispatcher.link?.isOpen === true) return;
    this.#dispatcher.read(subscription.target).then(
      (value) => {
        if (!this.#open.has(subscription.id)) return;
        subscription.polled(value);
        subscription.pollAfter(pollMs);
      },
      (error: unknown) => {
        if (!this.#open.has(subscription.id)) return;
        if (error instanceof OnefoldError && error.retry !== "never") return subscription.pollAfter(pollMs);
        this.#open.delete(subscription.id);
        subscription.fail(error);
      },
    );
  }

  // ------------------------------------------------------------------------------------------------ told by the dispatcher

  opened(): void {
    for (const subscription of this.#open.values()) {
      subscription.stopPolling();
      this.#subscribe(subscription);
    }
  }

  lost(): void {
    if (!this.#dispatcher.isOnHttp) return;
    for (const subscription of this.#open.values()) if (!subscription.isPolling) this.#poll(subscription);
  }

  refused(error: OnefoldError | Refused): void {
    for (const subscription of [...this.#open.values()]) {
      this.#open.delete(subscription.id);
      subscription.fail(error);
    }
  }

  closed(): void {
    this.#isClosed = true;
    this.refused(clientClosed());
  }

  value(id: number, sequence: number, log: string, value: Value | undefined): void {
    this.#open.get(id)?.came({ value, sequence, log });
  }

  /** False where there is no subscription of this id. */
  failed(id: number, error: OnefoldError | Refused): boolean {
    const subscription = this.#open.get(id);
    if (subscription === undefined) return false;
    this.#open.delete(id);
    subscription.fail(error);
    return true;
  }
}

function clientClosed(): OnefoldError {
  return new OnefoldError("not-ready", "The client was closed.", { retry: "never" });
}

interface SubscriptionOwner {
  readonly platform: ClientPlatform;
  grant(id: number, credit: number): void;
  ended(id: number): void;
  poll(): void;
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
  #pollTimer: ClientTimer | undefined;
  #polledBytes: Uint8Array | undefined;
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
    this.#position = { log: change.log, sequence: change.sequence };
    this.#received++;
    if (this.#reader === undefined) {
      this.#waiting = change;
      return;
    }
    const reader = this.#reader;
    this.#reader = undefined;
    this.#grant();
    reader.resolve({ done: false, value: change });
  }

  #grant(): void {
    const credit = this.#received;
    this.#received = 0;
    if (credit > 0) this.#owner.grant(this.id, credit);
  }

  /** What asking has found: given on if it is another value than the last. It has no position. */
  polled(value: Value | undefined): void {
    scratch.value(value === undefined ? [] : [value], valueDepthMax + envelopeDepth);
    const bytes = scratch.take();
    const before = this.#polledBytes;
    this.#polledBytes = bytes;
    if (before?.length === bytes.length && before.every((byte, index) => byte === bytes[index])) return;
    this.came({ value, sequence: 0, log: "" });
    this.#received = 0;
  }

  pollAfter(delayMs: number): void {
    this.isPolling = true;
    this.#pollTimer = this.#owner.platform.after(delayMs, () => this.#owner.poll());
  }

  stopPolling(): void {
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
