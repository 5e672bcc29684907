/**
 * The asking half of calls between nodes, towards one address: which life is there, and what was asked of it.
 *
 *     waiting ──life known──► queued ──flushed──► sent ──answer──► settled
 *        │                      │                  └─deadline, the life is over─► `outcome-unknown`
 *        └──────deadline────────┴─deadline, the network refused─► `unavailable`, `overloaded`
 *
 * AP1  A request goes to the one life that it names, so it is handled by that or by none. A life is taken for the present one only on its
 *      welcome to the newest nonce: it was alive after that was sent, and so outlived every life that was known before.
 * AP2  A call is settled once. Retry `safe` only if the network never took it, or its handler's node says so.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { toHex } from "../base/bytes.ts";
import type { Value } from "../base/value.ts";
import type { Random } from "../host/host.ts";
import type { NetworkErrorCode } from "../host/network.ts";
import { encodeMessage, lifeBytes } from "./peer-frame.ts";
import { decodeBody, decodeFailure } from "./peer-failure.ts";
import type { PeerOutbox } from "./peer-outbox.ts";

/** What a call takes beside its body. */
export const callOverheadBytes = 256;

interface OpenCall {
  readonly id: number;
  readonly method: string;
  readonly body: Uint8Array;
  readonly deadlineMs: number;
  resolve(value: Value): void;
  reject(error: Error): void;
  /** The life that it was sent to; undefined until the network has taken it. */
  sentTo: string | undefined;
}

export interface AskedPeerParts {
  readonly address: string;
  readonly limits: Limits;
  readonly random: Random;
  readonly outbox: PeerOutbox;
  nowMs(): number;
  nextId(): number;
}

export class AskedPeer {
  readonly #parts: AskedPeerParts;
  readonly #calls = new Map<number, OpenCall>();
  #openBytes = 0;
  #life: string | undefined = undefined;
  /** The newest hello, until it is answered. */
  #hello: { readonly nonce: string; askedMs: number } | undefined = undefined;

  constructor(parts: AskedPeerParts) {
    this.#parts = parts;
  }

  /** Nothing is under way: all that would be lost with this is which life is there. */
  get isIdle(): boolean {
    return this.#calls.size === 0;
  }

  /** Rejects as `Peers.call`; `overloaded` at the limits (PE3). */
  call(method: string, body: Uint8Array, deadlineMs: number): Promise<Value> {
    const { limits, address } = this.#parts;
    const sizeBytes = body.length + callOverheadBytes;
    if (this.#calls.size >= limits.peerCallsMax || this.#openBytes + sizeBytes > limits.peerCallBytesMax) {
      const message = `As much as is allowed waits for answers from ${address}. Try again a little later.`;
      return Promise.reject(new OnefoldError("overloaded", message, { retryAfterMs: 100 }));
    }
    return new Promise((resolve, reject) => {
      const id = this.#parts.nextId();
      const call: OpenCall = { id, method, body, deadlineMs, resolve, reject, sentTo: undefined };
      this.#calls.set(id, call);
      this.#openBytes += sizeBytes;
      if (this.#life === undefined) this.#askLife();
      else this.#queue(call, this.#life);
    });
  }

  #queue(call: OpenCall, life: string): void {
    this.#parts.outbox.add(
      { address: this.#parts.address, life },
      {
        encode: (nowMs) => {
          const remainingMs = call.deadlineMs - nowMs;
          // Another life may have come meanwhile, to which it is queued as well.
          const isDue = life === this.#life && call.sentTo === undefined && this.#calls.has(call.id);
          if (remainingMs <= 0 || !isDue) return undefined;
          const { id, method, body } = call;
          return encodeMessage({ type: "request", id, remainingMs, method, body });
        },
        sent: () => {
          call.sentTo = life;
        },
        refused: (code) => this.#fail(call, refusal(code, this.#parts.address)),
      },
    );
  }

  // --------------------------------------------------------------------------------------------------- what the peer says

  /** A frame came from this life of the peer: perhaps another than the one that is known. */
  heardOf(life: string): void {
    if (this.#life === undefined || life === this.#life) return;
    // With nothing under way, whoever calls next asks; a call that names the life before would be in doubt for nothing.
    if (this.isIdle) this.endsLife();
    else this.#askLife();
  }

  /** The life that is known will not be called again: the next call asks which one is there. */
  endsLife(): void {
    this.#life = undefined;
  }

  /** It is known from elsewhere that another life has begun there: what comes now is not sent to the one before. */
  restarted(): void {
    this.#life = undefined;
    if (this.#calls.size > 0) this.#askLife();
  }

  /** AP1. */
  welcomed(life: string, nonce: string): void {
    if (this.#hello?.nonce !== nonce) return;
    this.#hello = undefined;
    if (life === this.#life) return;
    this.#life = life;
    for (const call of [...this.#calls.values()]) {
      if (call.sentTo === undefined) this.#queue(call, life);
      else if (call.sentTo !== life)
        this.#fail(call, unknown(`${this.#parts.address} was restarted before it answered ${call.method}.`));
    }
  }

  /** The handler's answer, encoded. */
  answered(id: number, bytes: Uint8Array): void {
    this.#settle(id, (call) => {
      const value = decodeBody(bytes);
      this.#forget(call);
      call.resolve(value);
    });
  }

  /** What the handler threw, encoded. */
  failed(id: number, bytes: Uint8Array): void {
    this.#settle(id, (call) => this.#fail(call, decodeFailure(bytes)));
  }

  /** Nobody may wait for the answer any more. */
  #settle(id: number, settle: (call: OpenCall) => void): void {
    const call = this.#calls.get(id);
    if (call === undefined) return;
    try {
      settle(call);
    } catch (cause) {
      const message = `${this.#parts.address} answered ${call.method} with what can't be read.`;
      this.#fail(call, new OnefoldError("outcome-unknown", message, { cause }));
    }
  }

  // --------------------------------------------------------------------------------------------------------- time and end

  /** Called every now and then while something is under way. */
  tick(nowMs: number): void {
    const { address, limits } = this.#parts;
    for (const call of [...this.#calls.values()]) {
      if (call.deadlineMs > nowMs) continue;
      const error =
        call.sentTo === undefined
          ? new OnefoldError("unavailable", `${address} could not be reached for ${call.method}; nothing was sent.`)
          : unknown(`${address} did not answer ${call.method} in time.`);
      this.#fail(call, error);
    }
    if (this.#hello === undefined) return;
    if (this.#calls.size === 0) this.#hello = undefined;
    else if (this.#hello.askedMs + limits.peerHelloMs <= nowMs) this.#sayHello();
  }

  close(): void {
    for (const call of [...this.#calls.values()]) {
      const error =
        call.sentTo === undefined
          ? new OnefoldError("unavailable", "The node is stopping; nothing was sent.")
          : unknown(`The node stopped before ${this.#parts.address} answered ${call.method}.`);
      this.#fail(call, error);
    }
  }

  #askLife(): void {
    if (this.#hello !== undefined) return;
    this.#hello = { nonce: toHex(this.#parts.random.bytes(lifeBytes)), askedMs: 0 };
    this.#sayHello();
  }

  #sayHello(): void {
    const hello = this.#hello!;
    hello.askedMs = this.#parts.nowMs();
    const bytes = encodeMessage({ type: "hello", nonce: hello.nonce });
    this.#parts.outbox.add(
      { address: this.#parts.address, life: undefined },
      {
        encode: () => bytes,
        sent: () => undefined,
        // It is said again, unless that is of no use.
        refused: (code) => {
          if (code !== "full") this.#failUnsent(code);
        },
      },
    );
  }

  #failUnsent(code: NetworkErrorCode): void {
    this.#hello = undefined;
    for (const call of [...this.#calls.values()]) {
      if (call.sentTo === undefined) this.#fail(call, refusal(code, this.#parts.address));
    }
  }

  #fail(call: OpenCall, error: Error): void {
    this.#forget(call);
    call.reject(error);
  }

  #forget(call: OpenCall): void {
    if (this.#calls.delete(call.id)) this.#openBytes -= call.body.length + callOverheadBytes;
  }
}

function unknown(message: string): OnefoldError {
  return new OnefoldError("outcome-unknown", `${message} It may have been done.`);
}

function refusal(code: NetworkErrorCode, address: string): OnefoldError {
  if (code === "full") {
    const message = `${address} does not keep up with what is sent to it. Try again a little later.`;
    return new OnefoldError("overloaded", message, { retryAfterMs: 100 });
  }
  return new OnefoldError("unavailable", `Nothing can be sent to ${address}: ${code}.`);
}
