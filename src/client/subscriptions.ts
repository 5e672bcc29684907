/**
 * The client's subscriptions: each an iterator that gives the present value, then the next whenever there is one.
 *
 * CS1  The last value that the server has is given in the end; values in between may be skipped, never given out of order.
 * CS2  One value at most waits for its reader; the server is granted as many more as were taken.
 * CS3  After a reconnect it goes on from the last value that came: nothing is given twice for that, and nothing is missed.
 */
import { OnefoldError, type Refused } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import { toServer } from "../wire/protocol.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { ClientPlatform } from "./platform.ts";
import { Subscription, type WatchOptions } from "./subscription.ts";
import type { WatchTarget } from "./watch-target.ts";

/** So many values may be under way to a reader who has not taken the last one. */
const creditFirst = 2;
const pollMs = 1000;

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
    if (!this.#open.has(subscription.id) || this.#dispatcher.link?.isOpen === true) return subscription.stopPolling();
    const poll = subscription.beginPoll();
    this.#dispatcher.read(subscription.target).then(
      (value) => {
        // What a socket has told meanwhile is newer (CS1).
        if (!subscription.isCurrent(poll)) return;
        subscription.polled(value);
        subscription.pollAfter(pollMs);
      },
      (error: unknown) => {
        if (!subscription.isCurrent(poll)) return;
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
