/**
 * The calls of one connection that are unanswered.
 *
 * OC1  Each call is answered once, unless it was cancelled or the connection ended; its answer was durable before.
 * OC2  At most `socketCallsMax` in `socketCallBytesMax` of one connection; of all together at most `socketCallsOpenMax`, in about
 *      `socketCallsMemoryBytesMax` bytes of memory.
 * OC3  A cancelled call counts until it has ended: who cancels gets no room for more than who waits.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import { beginCall, type SocketCallContext, type SocketCaller, type SocketReply } from "./socket-calls.ts";
import type { Received } from "./socket-intake.ts";

/** What all connections together have under way. */
export interface SocketBudget {
  callsOpen: number;
  callWeightOpen: number;
}

export interface OpenCallsContext extends SocketCallContext {
  readonly budget: SocketBudget;
}

/** Whoever answers. */
export interface OpenCallsOwner {
  /** It took hold. Throws where the output is no value. */
  done(id: number, sequence: number, output: Value | undefined): void;
  /** It was a read. Throws as `done`. */
  read(id: number, sequence: number, output: Value | undefined): void;
  failed(id: number, error: unknown): void;
  /** A call failed that nobody waits for any more. */
  unheard(error: unknown): void;
  /** A call less is open. */
  settled(): void;
}

export class OpenCalls {
  readonly #context: OpenCallsContext;
  readonly #owner: OpenCallsOwner;
  readonly #open = new Set<number>();
  /** Those that nobody waits for any more. */
  readonly #cancelled = new Set<number>();
  #bytes = 0;

  constructor(context: OpenCallsContext, owner: OpenCallsOwner) {
    this.#context = context;
    this.#owner = owner;
  }

  get count(): number {
    return this.#open.size;
  }

  has(id: number): boolean {
    return this.#open.has(id);
  }

  /** Begins a call. Throws what is wrong with it before it has begun; what comes later is told to the owner. */
  begin(id: number, received: Received, caller: SocketCaller): void {
    this.#assertRoom(received);
    const { budget } = this.#context;
    const { parts, bytes, weight } = received;
    const { isRead, reply } = beginCall(this.#context, caller, parts, weight);
    this.#open.add(id);
    this.#bytes += bytes;
    budget.callsOpen++;
    budget.callWeightOpen += weight;
    reply.then(
      (settled) => {
        this.#settled(id, received);
        if (!this.#cancelled.delete(id)) this.#answer(id, settled, isRead);
        this.#owner.settled();
      },
      (error: unknown) => {
        this.#settled(id, received);
        if (this.#cancelled.delete(id)) this.#owner.unheard(error);
        else this.#owner.failed(id, error);
        this.#owner.settled();
      },
    );
  }

  /** Nobody waits for it any more. One that is not open is no fault. */
  cancel(id: number): void {
    if (this.#open.has(id)) this.#cancelled.add(id);
  }

  /** OC2. */
  #assertRoom({ bytes, weight }: Received): void {
    const { limits, budget } = this.#context;
    if (bytes > limits.bodyBytesMax) {
      throw new OnefoldError("payload-too-large", `A call is larger than ${limits.bodyBytesMax} bytes.`, {
        details: { bodyBytesMax: limits.bodyBytesMax },
      });
    }
    if (this.#open.size >= limits.socketCallsMax || this.#bytes + bytes > limits.socketCallBytesMax) {
      throw new OnefoldError(
        "overloaded",
        "This connection has as many calls unanswered as it may. Await some first.",
        { retryAfterMs: 100 },
      );
    }
    const isTooHeavy = budget.callsOpen > 0 && budget.callWeightOpen + weight > limits.socketCallsMemoryBytesMax;
    if (budget.callsOpen >= limits.socketCallsOpenMax || isTooHeavy) {
      throw new OnefoldError("overloaded", "This node has as many calls as it accepts. Try again soon.", {
        retryAfterMs: 1000,
      });
    }
  }

  #answer(id: number, { sequence, output }: SocketReply, isRead: boolean): void {
    try {
      if (isRead) this.#owner.read(id, sequence, output);
      else this.#owner.done(id, sequence, output);
    } catch (cause) {
      this.#owner.failed(id, new OnefoldError("internal", "The output could not be encoded.", { cause }));
    }
  }

  #settled(id: number, { bytes, weight }: Received): void {
    const { budget } = this.#context;
    this.#open.delete(id);
    this.#bytes -= bytes;
    budget.callsOpen--;
    budget.callWeightOpen -= weight;
  }
}
