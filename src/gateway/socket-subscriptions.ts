/**
 * The subscriptions of one connection: begun, granted, ended.
 *
 * SS1  At most `socketSubscriptionsMax`; a place is taken before anybody is asked whether it is allowed.
 * SS2  Nothing of one is left behind once it has ended, for whatever reason.
 */
import { OnefoldError } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import type { Operation } from "../entity/definition.ts";
import type { Principal } from "../entity/service.ts";
import { addressOf, allowed, definitionOf, type SocketCallContext } from "./socket-calls.ts";
import { count, malformed, type Parts, subscribeFacts } from "./socket-message.ts";
import {
  Subscription,
  type SubscriptionOwner,
  type SubscriptionReader,
  type SubscriptionRequest,
} from "./socket-subscription.ts";

export interface SubscriptionContext extends SocketCallContext {
  readonly reader: SubscriptionReader;
}

/** Holds a subscription's place while somebody is asked whether it is allowed. */
type Pending = Readonly<Record<never, never>>;

export class SocketSubscriptions {
  readonly #context: SubscriptionContext;
  readonly #owner: SubscriptionOwner;
  readonly #places = new Map<number, Subscription | Pending>();
  #isOver = false;

  /** `owner.failed` is called once for each that fails, after it has ended. */
  constructor(context: SubscriptionContext, owner: SubscriptionOwner) {
    this.#context = context;
    this.#owner = {
      ...owner,
      failed: (id, error) => {
        if (this.#places.delete(id)) owner.failed(id, error);
      },
    };
  }

  has(id: number): boolean {
    return this.#places.has(id);
  }

  /** Begins the subscription that a message asks for. Throws what is wrong with it; what comes later is told by the owner. */
  begin(id: number, parts: Parts, principal: Principal): void {
    const { system, limits } = this.#context;
    if (this.#places.has(id)) throw malformed("A subscription with this id is open.");
    if (this.#places.size >= limits.socketSubscriptionsMax) {
      throw new OnefoldError(
        "over-quota",
        `A connection may have ${limits.socketSubscriptionsMax} subscriptions. End one first, or open another connection.`,
        { details: { subscriptionsMax: limits.socketSubscriptionsMax } },
      );
    }
    const address = addressOf(system, parts);
    parseId(address.id);
    const facts = subscribeFacts(parts[2], limits.socketCreditMax);
    if (facts.query !== undefined && !definitionOf(system, parts[3]).queries.has(facts.query)) {
      throw new OnefoldError("unknown-query", `${address.kind} has no query of this name.`);
    }
    const operation: Operation =
      facts.query === undefined ? { action: "state", ...address } : { action: "query", ...address, name: facts.query };
    this.#ask(operation, { id, address, principal, ...facts });
  }

  #ask(operation: Operation, request: SubscriptionRequest): void {
    const { id, principal } = request;
    const pending: Pending = {};
    this.#places.set(id, pending);
    const start = async (): Promise<void> => {
      // It may have been cancelled meanwhile, and its id be another's.
      if (this.#isOver || this.#places.get(id) !== pending) return;
      this.#places.set(id, new Subscription(request, { ...this.#context, owner: this.#owner }));
    };
    const refused = (error: unknown): void => {
      if (this.#places.get(id) === pending) this.#owner.failed(id, error);
    };
    try {
      allowed(this.#context, { principal }, operation, start).catch(refused);
    } catch (error) {
      refused(error);
    }
  }

  /** So many values more. Throws `malformed` where the credit becomes too large. One that has just ended is no fault. */
  grant(id: number, credit: number): void {
    const { socketCreditMax } = this.#context.limits;
    const granted = count("credit", credit, 1, socketCreditMax);
    const subscription = this.#places.get(id);
    if (!(subscription instanceof Subscription)) return;
    if (subscription.credit + granted > socketCreditMax) {
      throw malformed(`A subscription's credit may be ${socketCreditMax} at most.`);
    }
    subscription.grant(granted);
  }

  /** The client takes again what is sent to it. */
  wake(): void {
    for (const place of this.#places.values()) if (place instanceof Subscription) place.wake();
  }

  end(id: number): void {
    const place = this.#places.get(id);
    if (place instanceof Subscription) place.end();
    this.#places.delete(id);
  }

  /** Ends them all; none begins any more. */
  endAll(): void {
    this.#isOver = true;
    for (const id of [...this.#places.keys()]) this.end(id);
  }
}
