/**
 * Subscriptions: an entity's state or a query of it, sent first as it is and then whenever it has changed.
 *
 * SU1  After the last change that is durable, the client gets the value that it made, unless it has credit for none.
 * SU2  A subscription keeps one flag and one digest, never a value: what a slow client has missed is read again, once.
 * SU3  What is sent was durable when it was read (G3); sequences never fall within one log.
 * SU4  At most `socketSubscriptionReadsMax` reads for all subscriptions of the node are under way, in turn; where reads take long, fewer,
 *      down to one: whoever calls waits behind them.
 */
import { sha256 } from "../base/digest.ts";
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { EntityAddress, Principal, Service, Watch } from "../entity/service.ts";
import type { Timers } from "../host/host.ts";
import { Encoder } from "../wire/encoder.ts";
import { envelopeDepth, valueDepthMax } from "../wire/nesting.ts";
import { stateReply } from "./socket-calls.ts";

/** Where a subscription's client has seen it last. */
export interface SeenPosition {
  readonly log: string;
  readonly sequence: number;
}

export interface SubscriptionRequest {
  readonly id: number;
  readonly address: EntityAddress;
  /** Absent: the raw state. */
  readonly query: string | undefined;
  readonly input: Value | undefined;
  readonly principal: Principal;
  readonly credit: number;
  readonly seen: SeenPosition | undefined;
}

/** What a subscription needs of its connection. */
export interface SubscriptionOwner {
  /** True while the client does not take what was sent to it. */
  isCongested(): boolean;
  value(id: number, sequence: number, log: string, encoded: Uint8Array | undefined): void;
  unchanged(id: number): void;
  /** The subscription is over. */
  failed(id: number, error: unknown): void;
}

/** What can be read again. */
export interface Rereadable {
  /** Never rejects. */
  read(): Promise<void>;
}

/** Reads for subscriptions, in turn and not too many at once (SU4). One per gateway. */
export class SubscriptionReader {
  readonly #options: { readonly readsMax: number; readonly slowMs: number; monotonicMs(): number };
  /** In the order in which they asked. */
  readonly #waiting = new Set<Rereadable>();
  #readCount = 0;
  /** How many may be under way now: half as many after each slow read, one more after each other (as TCP does). */
  #readsNow: number;

  /** A read that takes more than `slowMs` is a slow one. */
  constructor(options: { readonly readsMax: number; readonly slowMs: number; monotonicMs(): number }) {
    this.#options = options;
    this.#readsNow = options.readsMax;
  }

  want(subscription: Rereadable): void {
    this.#waiting.add(subscription);
    this.#next();
  }

  forget(subscription: Rereadable): void {
    this.#waiting.delete(subscription);
  }

  #next(): void {
    for (const subscription of this.#waiting) {
      if (this.#readCount >= this.#readsNow) return;
      this.#waiting.delete(subscription);
      this.#readCount++;
      const startedMs = this.#options.monotonicMs();
      subscription.read().finally(() => {
        this.#readCount--;
        this.#pace(this.#options.monotonicMs() - startedMs);
        this.#next();
      });
    }
  }

  #pace(tookMs: number): void {
    const { readsMax, slowMs } = this.#options;
    this.#readsNow = tookMs > slowMs ? Math.max(1, this.#readsNow >> 1) : Math.min(readsMax, this.#readsNow + 1);
  }
}

const retryMs = 250;
const scratch = new Encoder();

export class Subscription {
  readonly #request: SubscriptionRequest;
  readonly #service: Service;
  readonly #timers: Timers;
  readonly #reader: SubscriptionReader;
  readonly #owner: SubscriptionOwner;
  readonly #watch: Watch;
  #credit: number;
  /** It may differ from what was sent last. */
  #isDirty = true;
  #isReading = false;
  #isOver = false;
  /** What was sent last, or was seen by the client before. */
  #digest: Uint8Array | undefined;
  #isFirst = true;

  /** Begins. Throws as `Service.watch`. */
  constructor(
    request: SubscriptionRequest,
    parts: {
      readonly service: Service;
      readonly timers: Timers;
      readonly reader: SubscriptionReader;
      readonly owner: SubscriptionOwner;
    },
  ) {
    this.#request = request;
    this.#credit = request.credit;
    this.#service = parts.service;
    this.#timers = parts.timers;
    this.#reader = parts.reader;
    this.#owner = parts.owner;
    // Before the first read: a change behind it is then not missed (SU1).
    this.#watch = parts.service.watch(request.principal.tenant, request.address, () => {
      this.#isDirty = true;
      this.wake();
    });
    this.wake();
  }

  get credit(): number {
    return this.#credit;
  }

  /** The client takes so many values more. */
  grant(count: number): void {
    this.#credit += count;
    this.wake();
  }

  /** Has it read if there is reason to, and room for what comes of it. */
  wake(): void {
    if (!this.#isDirty || this.#isReading || this.#isOver) return;
    if (this.#credit === 0 || this.#owner.isCongested()) return;
    this.#reader.want(this);
  }

  end(): void {
    this.#isOver = true;
    this.#watch.cancel();
    this.#reader.forget(this);
  }

  /** Called by the reader. Never rejects. */
  async read(): Promise<void> {
    if (this.#isOver || this.#isReading || !this.#isDirty) return;
    this.#isDirty = false;
    this.#isReading = true;
    try {
      // Both before the read: they may be behind what it shows, never ahead of it.
      const { log } = this.#watch;
      const behind = this.#service.health().sequence;
      const { sequence, output, isAbsent } = await this.#present(behind);
      if (!this.#isOver) this.#show(log, sequence, output, isAbsent);
    } catch (error) {
      if (!this.#isOver) this.#failed(error);
    } finally {
      this.#isReading = false;
      this.wake();
    }
  }

  async #present(behind: number): Promise<{
    readonly sequence: number;
    readonly output: Value | undefined;
    readonly isAbsent: boolean;
  }> {
    const { address, query, input, principal } = this.#request;
    if (query !== undefined) {
      const reply = await this.#service.query(address, query, input, { principal });
      return { ...reply, isAbsent: reply.output === undefined };
    }
    try {
      const { sequence, output } = stateReply(await this.#service.state(address, { principal }));
      return { sequence, output, isAbsent: false };
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "not-found") throw error;
      return { sequence: behind, output: undefined, isAbsent: true };
    }
  }

  #show(log: string, sequence: number, output: Value | undefined, isAbsent: boolean): void {
    const { id, seen } = this.#request;
    const encoded = isAbsent ? undefined : encode(output);
    const digest = sha256(encoded ?? absentMark);
    const isKnown = this.#isFirst
      ? // An absent entity's sequence is not its own: it proves nothing about what the client has seen.
        seen !== undefined &&
        seen.log === log &&
        sequence <= seen.sequence &&
        !(isAbsent && this.#request.query === undefined)
      : equalBytes(digest, this.#digest!);
    const wasFirst = this.#isFirst;
    this.#isFirst = false;
    this.#digest = digest;
    if (!isKnown) {
      this.#credit--;
      this.#owner.value(id, sequence, log, encoded);
    } else if (wasFirst) this.#owner.unchanged(id);
  }

  #failed(error: unknown): void {
    if (error instanceof OnefoldError && error.retry !== "never" && error.code !== "internal") {
      // The node is busy, or its shard is being reopened: the value is owed, so it is tried again.
      this.#timers.after(retryMs, () => {
        this.#isDirty = true;
        this.wake();
      });
      return;
    }
    this.end();
    this.#owner.failed(this.#request.id, error);
  }
}

/** Not MessagePack, so that it equals no encoded value. */
const absentMark = new Uint8Array([0xc1]);

function encode(output: Value | undefined): Uint8Array {
  try {
    scratch.value(output, valueDepthMax + envelopeDepth);
    return scratch.take();
  } catch (error) {
    scratch.truncate(0);
    throw error;
  }
}
