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
import {
  beginCall,
  type SocketAsker,
  type SocketCallContext,
  type SocketCaller,
  type SocketReply,
} from "./socket-calls.ts";
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
  readonly #open = new Map<number, OpenCall>();
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
    const call = new OpenCall(this, id, received, caller);
    this.#opened(call);
    try {
      beginCall(this.#context, caller, received.parts, received.weight, call);
    } catch (error) {
      this.#closed(call);
      throw error;
    }
  }

  /** Nobody waits for it any more. One that is not open is no fault. */
  cancel(id: number): void {
    const call = this.#open.get(id);
    if (call !== undefined) call.isCancelled = true;
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

  /** A call's end, told by the call itself: each tells one of the two, once. */
  resolved(call: OpenCall, { sequence, output, position }: SocketReply): void {
    this.#closed(call);
    if (position !== undefined) call.caller.sees?.(position);
    if (!call.isCancelled) {
      try {
        if (call.isRead) this.#owner.read(call.id, sequence, output);
        else this.#owner.done(call.id, sequence, output);
      } catch (cause) {
        this.#owner.failed(call.id, new OnefoldError("internal", "The output could not be encoded.", { cause }));
      }
    }
    this.#owner.settled();
  }

  rejected(call: OpenCall, error: Error): void {
    this.#closed(call);
    if (call.isCancelled) this.#owner.unheard(error);
    else this.#owner.failed(call.id, error);
    this.#owner.settled();
  }

  #opened(call: OpenCall): void {
    const { budget } = this.#context;
    this.#open.set(call.id, call);
    this.#bytes += call.bytes;
    budget.callsOpen++;
    budget.callWeightOpen += call.weight;
  }

  #closed(call: OpenCall): void {
    const { budget } = this.#context;
    this.#open.delete(call.id);
    this.#bytes -= call.bytes;
    budget.callsOpen--;
    budget.callWeightOpen -= call.weight;
  }
}

/** An object that is answered, and no promise with two closures: one is made for every call. */
class OpenCall implements SocketAsker {
  readonly #calls: OpenCalls;
  readonly id: number;
  readonly bytes: number;
  readonly weight: number;
  readonly caller: SocketCaller;
  isRead = false;
  /** Nobody waits for it any more. */
  isCancelled = false;

  constructor(calls: OpenCalls, id: number, { bytes, weight }: Received, caller: SocketCaller) {
    this.#calls = calls;
    this.caller = caller;
    this.id = id;
    this.bytes = bytes;
    this.weight = weight;
  }

  resolve(reply: SocketReply): void {
    this.#calls.resolved(this, reply);
  }

  reject(error: Error): void {
    this.#calls.rejected(this, error);
  }
}
