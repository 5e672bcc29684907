/**
 * `Peers` over the network port. The frames are specified in `docs/protocol.md` ("Between nodes"); a call's life is drawn in
 * `asked-peer.ts`, what keeps a repeated request from being handled twice is in `asking-peers.ts`.
 *
 * NP1  A life has a random id. What was sent to another life of this address is not handled, and its sender is told whom it has reached:
 *      so a call is handled by one life at most, and an answer to an earlier life of the asker is nobody's.
 * NP2  Only what a handler means to say leaves it: `OnefoldError` and `Refused`; anything else that it throws is a bug, and `internal`.
 */
import { assert } from "../base/assert.ts";
import { toHex } from "../base/bytes.ts";
import { OnefoldError, Refused } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { encodeValue, type Value } from "../base/value.ts";
import type { Clock, Random, Timer, Timers, Trace } from "../host/host.ts";
import type { Endpoint, Network } from "../host/network.ts";
import { AskedPeer } from "./asked-peer.ts";
import { type AskingPeer, AskingPeers } from "./asking-peers.ts";
import { decodeBody, encodeFailure } from "./peer-failure.ts";
import { decodeFrame, encodeMessage, lifeBytes, type PeerFrame, type PeerMessage } from "./peer-frame.ts";
import { type Outgoing, PeerOutbox } from "./peer-outbox.ts";
import type { PeerHandler, Peers } from "./peers.ts";

export interface NetworkPeersParts {
  readonly network: Network;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly trace: Trace;
  readonly limits: Limits;
}

/** Between two looks whether all has been answered that was taken. */
const drainLookMs = 20;
/** Between two looks at deadlines, hellos and answers that the network had no room for. */
const tickMs = 20;

/** Listens on `address` (`Network.listen`, which it rejects like). Requests get `not-ready` until their method has a handler. */
export async function listenForPeers(address: string, parts: NetworkPeersParts): Promise<NetworkPeers> {
  const life = toHex(parts.random.bytes(lifeBytes));
  const peers: { ready?: NetworkPeers } = {};
  const endpoint = await parts.network.listen(address, (bytes, from) => peers.ready?.receive(bytes, from));
  peers.ready = new NetworkPeers(endpoint, life, parts);
  return peers.ready;
}

type Request = Extract<PeerMessage, { readonly type: "request" }>;

/** Where an answer goes. */
interface Asker {
  readonly address: string;
  readonly life: string;
  readonly deadlineMs: number;
}

export class NetworkPeers implements Peers {
  readonly address: string;
  readonly #parts: NetworkPeersParts;
  readonly #endpoint: Endpoint;
  readonly #life: string;
  readonly #outbox: PeerOutbox;
  readonly #asked = new Map<string, AskedPeer>();
  readonly #asking: AskingPeers;
  readonly #handlers = new Map<string, PeerHandler>();
  /** Answers that the network had no room for, to be tried again. */
  #unsent: { readonly asker: Asker; readonly item: Outgoing }[] = [];
  #lastId = 0;
  #ticking: Timer | undefined = undefined;
  #isClosed = false;
  #isDraining = false;
  #handlingCount = 0;

  constructor(endpoint: Endpoint, life: string, parts: NetworkPeersParts) {
    this.address = endpoint.address;
    this.#endpoint = endpoint;
    this.#parts = parts;
    this.#life = life;
    this.#asking = new AskingPeers(parts.limits);
    this.#outbox = new PeerOutbox({
      life,
      messageBytesMax: parts.limits.networkMessageBytesMax,
      nowMs: () => parts.clock.monotonicMs(),
      soon: (callback) => parts.timers.soon(callback),
      send: (to, bytes) => endpoint.send(to, bytes),
    });
  }

  handle(method: string, handler: PeerHandler): void {
    assert(!this.#handlers.has(method), `${method} has one handler`);
    this.#handlers.set(method, handler);
  }

  async call(address: string, method: string, body: Value, options: { readonly deadlineMs: number }): Promise<Value> {
    if (this.#isClosed) throw new OnefoldError("unavailable", "The node is stopping; nothing was sent.");
    const bytes = encodeValue(body, { what: `the body of ${method}` });
    const { peerBodyBytesMax } = this.#parts.limits;
    if (bytes.length > peerBodyBytesMax) {
      throw new OnefoldError(
        "too-large",
        `${method} would take ${bytes.length} bytes; the limit is ${peerBodyBytesMax}.`,
      );
    }
    this.#tickSoon();
    return this.#askedPeer(address).call(method, bytes, this.#parts.clock.monotonicMs() + options.deadlineMs);
  }

  /** It is known from elsewhere that another life has begun at `address`. Without it, the first call there finds out, and is in doubt. */
  restarted(address: string): void {
    this.#asked.get(address)?.restarted();
  }

  /**
   * From now on requests are answered `not-ready` (retry safe). Resolves after `lingerMs`, in which those that are on their way arrive,
   * once what was being handled has been answered, and after `atMostMs` at the latest.
   */
  async drain({ lingerMs, atMostMs }: { readonly lingerMs: number; readonly atMostMs: number }): Promise<void> {
    const { clock, timers } = this.#parts;
    const beganMs = clock.monotonicMs();
    this.#isDraining = true;
    for (;;) {
      const passedMs = clock.monotonicMs() - beganMs;
      const isDone = passedMs >= lingerMs && this.#handlingCount === 0;
      if (isDone || passedMs >= atMostMs) return;
      await new Promise<void>((resolve) => timers.after(drainLookMs, resolve, { keepsAlive: true }));
    }
  }

  /** Idempotent. What is under way rejects; handlers that run go on, and nobody hears of it. */
  /** The node at this address has said that its life ends; the next call finds out which one is there. */
  endsLife(address: string): void {
    this.#asked.get(address)?.endsLife();
  }

  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#ticking?.cancel();
      for (const peer of this.#asked.values()) peer.close();
      this.#unsent = [];
    }
    await this.#endpoint.close();
  }

  #askedPeer(address: string): AskedPeer {
    const known = this.#asked.get(address);
    if (known !== undefined) return known;
    const { limits, random, clock } = this.#parts;
    if (this.#asked.size >= limits.networkPeersMax) this.#forgetIdlePeer();
    const peer = new AskedPeer({
      address,
      limits,
      random,
      outbox: this.#outbox,
      nowMs: () => clock.monotonicMs(),
      nextId: () => ++this.#lastId,
    });
    this.#asked.set(address, peer);
    return peer;
  }

  #forgetIdlePeer(): void {
    for (const [address, peer] of this.#asked) {
      if (!peer.isIdle) continue;
      this.#asked.delete(address);
      return;
    }
    throw new OnefoldError(
      "overloaded",
      "Calls to as many nodes as are allowed are under way. Try again a little later.",
      {
        retryAfterMs: 100,
      },
    );
  }

  // ----------------------------------------------------------------------------------------------------------- receiving

  /** For the endpoint. */
  receive(bytes: Uint8Array, from: string): void {
    if (this.#isClosed) return;
    let frame: PeerFrame;
    try {
      frame = decodeFrame(bytes);
    } catch (error) {
      if (!(error instanceof OnefoldError)) throw error;
      this.#parts.trace("warn", "A frame from another node can't be read; it is dropped.", {
        from,
        reason: error.message,
      });
      return;
    }
    const isForThis = frame.to === this.#life;
    if (isForThis) this.#asked.get(from)?.heardOf(frame.from);
    for (const message of frame.messages) {
      if (message.type === "hello") this.#welcome(from, frame.from, message.nonce);
      else if (isForThis) this.#take(message, { from, life: frame.from });
      // NP1. It was meant for an earlier life, whose end its sender does not know yet.
      else if (message.type === "request") this.#welcome(from, frame.from, undefined);
    }
  }

  #take(
    message: Exclude<PeerMessage, { readonly type: "hello" }>,
    sender: { readonly from: string; readonly life: string },
  ) {
    const asked = this.#asked.get(sender.from);
    switch (message.type) {
      case "request":
        return this.#handle(message, sender);
      case "welcome":
        return message.nonce === undefined ? undefined : asked?.welcomed(sender.life, message.nonce);
      case "answer":
        return asked?.answered(message.id, message.body);
      case "failure":
        return asked?.failed(message.id, message.body);
    }
  }

  #welcome(address: string, life: string, nonce: string | undefined): void {
    const bytes = encodeMessage({ type: "welcome", nonce });
    // A hello is repeated, so its answer need not be.
    this.#outbox.add({ address, life }, { encode: () => bytes, sent: () => undefined, refused: () => undefined });
  }

  #handle(request: Request, { from, life }: { readonly from: string; readonly life: string }): void {
    const { id, method, body, remainingMs } = request;
    const asker: Asker = { address: from, life, deadlineMs: this.#parts.clock.monotonicMs() + remainingMs };
    const peer = this.#asking.of(from, life);
    const taken = peer.take(id, body.length);
    if (taken === "repeated") return;
    if (taken === "overloaded") {
      const message = `As much as ${this.address} accepts from one node is under way. Try again a little later.`;
      const error = new OnefoldError("overloaded", message, { retryAfterMs: 100 });
      // Not counted, so not kept either: where the network has no room for it, the asker's deadline tells.
      return this.#answer(asker, { type: "failure", id, body: encodeFailure(error) }, undefined);
    }
    this.#handlingCount++;
    this.#run(method, body, { address: from, leftMs: remainingMs }).then((answer) => {
      this.#handlingCount--;
      const kept = peer.exchange(body.length, answer.body.length) ? answer : this.#withheld(peer, body.length);
      this.#answer(asker, { type: kept.type, id, body: kept.body }, () => peer.release(kept.body.length));
    });
  }

  #withheld(peer: AskingPeer, bodyBytes: number): HandlerAnswer {
    const message = `${this.address} has more answers than it may keep which the network does not take; this one is withheld.`;
    const failure = failureAnswer(new OnefoldError("outcome-unknown", message));
    peer.exchange(bodyBytes, failure.body.length);
    return failure;
  }

  /** Never rejects. */
  async #run(method: string, bytes: Uint8Array, from: Parameters<PeerHandler>[1]): Promise<HandlerAnswer> {
    try {
      const handler = this.#isDraining ? undefined : this.#handlers.get(method);
      if (handler === undefined) {
        throw new OnefoldError("not-ready", `The node does not answer ${method} now; it starts or stops.`, {
          retryAfterMs: 200,
        });
      }
      const body = encodeValue(await handler(decodeBody(bytes), from), { what: `the answer to ${method}` });
      const { peerBodyBytesMax } = this.#parts.limits;
      if (body.length <= peerBodyBytesMax) return { type: "answer", body };
      throw new OnefoldError(
        "too-large",
        `The answer to ${method} takes ${body.length} bytes; at most ${peerBodyBytesMax}.`,
      );
    } catch (error) {
      if (error instanceof OnefoldError || error instanceof Refused) return failureAnswer(error);
      this.#parts.trace("error", "A bug in Onefold made a call between nodes fail; report this.", { method, error });
      return failureAnswer(new OnefoldError("internal", `A bug made ${method} fail.`));
    }
  }

  /** Sends it once the network has room, if `done` is given: that is called once it has gone, or is of no use any more. */
  #answer(asker: Asker, message: PeerMessage, done: (() => void) | undefined): void {
    const item: Outgoing = {
      encode: (nowMs) => {
        if (nowMs < asker.deadlineMs) return encodeMessage(message);
        done?.();
        return undefined;
      },
      sent: () => done?.(),
      refused: (code) => {
        if (code !== "full" || done === undefined || this.#isClosed) return done?.();
        this.#unsent.push({ asker, item });
        this.#tickSoon();
      },
    };
    if (!this.#isClosed) this.#outbox.add(asker, item);
  }

  // ---------------------------------------------------------------------------------------------------------------- time

  #tickSoon(): void {
    if (this.#isClosed) return;
    this.#ticking ??= this.#parts.timers.after(tickMs, () => this.#tick(), { keepsAlive: true });
  }

  #tick(): void {
    this.#ticking = undefined;
    const nowMs = this.#parts.clock.monotonicMs();
    let isBusy = false;
    for (const peer of this.#asked.values()) {
      peer.tick(nowMs);
      isBusy ||= !peer.isIdle;
    }
    const unsent = this.#unsent;
    this.#unsent = [];
    for (const { asker, item } of unsent) this.#outbox.add(asker, item);
    if (isBusy) this.#tickSoon();
  }
}

interface HandlerAnswer {
  readonly type: "answer" | "failure";
  readonly body: Uint8Array;
}

function failureAnswer(error: OnefoldError | Refused): HandlerAnswer {
  return { type: "failure", body: encodeFailure(error) };
}
