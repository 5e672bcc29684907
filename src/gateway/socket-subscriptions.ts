/**
 * The subscriptions of one connection: begun, granted, ended.
 *
 * SS1  At most `socketSubscriptionsMax`, whose messages take at most `socketSubscriptionsMemoryBytesMax` bytes of memory; a place is taken
 *      before anybody is asked whether it is allowed, and not given back before the answer.
 * SS2  Nothing of one is left behind once it has ended, for whatever reason.
 */
import { OnefoldError } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import type { Operation } from "../entity/definition.ts";
import type { Principal } from "../entity/service.ts";
import { addressOf, allowed, definitionOf, type SocketCallContext } from "./socket-calls.ts";
import type { Received } from "./socket-intake.ts";
import { count, malformed, subscribeFacts } from "./socket-message.ts";
import {
  Subscription,
  type SubscriptionOwner,
  type SubscriptionReader,
  type SubscriptionRequest,
} from "./socket-subscription.ts";

export interface SubscriptionContext extends SocketCallContext {
  readonly reader: SubscriptionReader;
}

/** Somebody is asked whether the subscription is allowed. */
interface Pending {
  readonly weight: number;
  readonly subscription: undefined;
}

interface Begun {
  readonly weight: number;
  readonly subscription: Subscription;
}

export class SocketSubscriptions {
  readonly #context: SubscriptionContext;
  readonly #owner: SubscriptionOwner;
  readonly #places = new Map<number, Pending | Begun>();
  /** What was cancelled while somebody was asked. */
  readonly #abandoned = new Set<Pending>();
  #weight = 0;
  #isOver = false;

  /** `owner.failed` is called once for each that fails, after it has ended. */
  constructor(context: SubscriptionContext, owner: SubscriptionOwner) {
    this.#context = context;
    this.#owner = {
      ...owner,
      failed: (id, error) => {
        if (this.#leave(id)) owner.failed(id, error);
      },
    };
  }

  has(id: number): boolean {
    return this.#places.has(id);
  }

  /** Begins the subscription that a message asks for. Throws what is wrong with it; what comes later is told by the owner. */
  begin(id: number, { parts, weight }: Received, principal: Principal): void {
    const { system, limits } = this.#context;
    this.#assertRoom(weight);
    const address = addressOf(system, parts);
    parseId(address.id);
    const facts = subscribeFacts(parts[2], limits.socketCreditMax);
    if (facts.query !== undefined && !definitionOf(system, parts[3]).queries.has(facts.query)) {
      throw new OnefoldError("unknown-query", `${address.kind} has no query of this name.`);
    }
    const operation: Operation =
      facts.query === undefined ? { action: "state", ...address } : { action: "query", ...address, name: facts.query };
    this.#ask(operation, { id, address, principal, ...facts }, weight);
  }

  /** SS1. */
  #assertRoom(weight: number): void {
    const { socketSubscriptionsMax, socketSubscriptionsMemoryBytesMax } = this.#context.limits;
    if (this.#places.size + this.#abandoned.size >= socketSubscriptionsMax) {
      throw new OnefoldError(
        "over-quota",
        `A connection may have ${socketSubscriptionsMax} subscriptions. End one first, or open another connection.`,
        { details: { subscriptionsMax: socketSubscriptionsMax } },
      );
    }
    if (weight > socketSubscriptionsMemoryBytesMax) {
      throw new OnefoldError(
        "payload-too-large",
        `A subscription's input may take ${socketSubscriptionsMemoryBytesMax} bytes of memory. Ask for less.`,
        { details: { weightMax: socketSubscriptionsMemoryBytesMax } },
      );
    }
    if (this.#weight + weight > socketSubscriptionsMemoryBytesMax) {
      throw new OnefoldError(
        "over-quota",
        `The inputs of a connection's subscriptions may take ${socketSubscriptionsMemoryBytesMax} bytes of memory. End one first, or open another connection.`,
        { details: { weightMax: socketSubscriptionsMemoryBytesMax } },
      );
    }
  }

  #ask(operation: Operation, request: SubscriptionRequest, weight: number): void {
    const { id, principal } = request;
    const pending: Pending = { weight, subscription: undefined };
    this.#places.set(id, pending);
    this.#weight += weight;
    const start = async (): Promise<void> => {
      // It may have been cancelled meanwhile, and its id be another's.
      if (this.#isOver || this.#forgotten(pending)) return;
      const subscription = new Subscription(request, { ...this.#context, owner: this.#owner });
      this.#places.set(id, { weight, subscription });
    };
    const refused = (error: unknown): void => {
      if (!this.#forgotten(pending)) this.#owner.failed(id, error);
    };
    try {
      allowed(this.#context, { principal }, operation, start).catch(refused);
    } catch (error) {
      refused(error);
    }
  }

  /** True where it was cancelled before the answer; then its place is free from now on. */
  #forgotten(pending: Pending): boolean {
    if (!this.#abandoned.delete(pending)) return false;
    this.#weight -= pending.weight;
    return true;
  }

  /** Frees a place. False where there is none of this id. */
  #leave(id: number): boolean {
    const place = this.#places.get(id);
    if (place === undefined) return false;
    this.#places.delete(id);
    this.#weight -= place.weight;
    return true;
  }

  /** So many values more. Throws `malformed` where the credit becomes too large. One that has just ended is no fault. */
  grant(id: number, credit: number): void {
    const { socketCreditMax } = this.#context.limits;
    const granted = count("credit", credit, 1, socketCreditMax);
    const subscription = this.#places.get(id)?.subscription;
    if (subscription === undefined) return;
    if (subscription.credit + granted > socketCreditMax) {
      throw malformed(`A subscription's credit may be ${socketCreditMax} at most.`);
    }
    subscription.grant(granted);
  }

  /** The client takes again what is sent to it. */
  wake(): void {
    for (const { subscription } of this.#places.values()) subscription?.wake();
  }

  end(id: number): void {
    const place = this.#places.get(id);
    if (place === undefined) return;
    if (place.subscription !== undefined) {
      place.subscription.end();
      this.#leave(id);
    } else {
      this.#places.delete(id);
      this.#abandoned.add(place);
    }
  }

  /** Ends them all; none begins any more. */
  endAll(): void {
    this.#isOver = true;
    for (const id of [...this.#places.keys()]) this.end(id);
  }
}
