/**
 * What leaves for other nodes: everything that one turn has for a life of a peer goes in as few network messages as it fits in.
 *
 * PO1  Of each item that was added, exactly one of `sent` and `refused` is called, unless it encodes to nothing; and not inside `add`.
 */
import { type NetworkErrorCode, NetworkError } from "../host/network.ts";
import { encodeFrame, frameHeadBytesMax } from "./peer-frame.ts";

export interface Outgoing {
  /** The encoded message at the moment of sending; undefined where there is nothing to say any more. */
  encode(nowMs: number): Uint8Array | undefined;
  /** The network has taken it: it may arrive. */
  sent(): void;
  /** The network has not taken it: it surely won't arrive. */
  refused(code: NetworkErrorCode): void;
}

interface Destination {
  readonly address: string;
  readonly life: string | undefined;
  readonly items: Outgoing[];
}

export interface OutboxParts {
  /** This node's life. */
  readonly life: string;
  readonly messageBytesMax: number;
  nowMs(): number;
  soon(callback: () => void): void;
  /** Throws `NetworkError`. */
  send(address: string, bytes: Uint8Array): void;
}

export class PeerOutbox {
  readonly #parts: OutboxParts;
  #destinations = new Map<string, Destination>();

  constructor(parts: OutboxParts) {
    this.#parts = parts;
  }

  /** Sends `item` at the end of this turn. */
  add(to: { readonly address: string; readonly life: string | undefined }, item: Outgoing): void {
    if (this.#destinations.size === 0) this.#parts.soon(() => this.#flush());
    const key = `${to.life ?? ""} ${to.address}`;
    const destination = this.#destinations.get(key);
    if (destination === undefined) this.#destinations.set(key, { ...to, items: [item] });
    else destination.items.push(item);
  }

  #flush(): void {
    const destinations = this.#destinations;
    this.#destinations = new Map();
    for (const destination of destinations.values()) this.#flushTo(destination);
  }

  #flushTo({ address, life, items }: Destination): void {
    const to = { address, life };
    const nowMs = this.#parts.nowMs();
    let batch: Outgoing[] = [];
    let messages: Uint8Array[] = [];
    let sizeBytes = frameHeadBytesMax;
    for (const item of items) {
      const message = item.encode(nowMs);
      if (message === undefined) continue;
      if (messages.length > 0 && sizeBytes + message.length > this.#parts.messageBytesMax) {
        this.#send(to, batch, messages);
        [batch, messages, sizeBytes] = [[], [], frameHeadBytesMax];
      }
      batch.push(item);
      messages.push(message);
      sizeBytes += message.length;
    }
    if (messages.length > 0) this.#send(to, batch, messages);
  }

  #send(
    to: { readonly address: string; readonly life: string | undefined },
    batch: Outgoing[],
    messages: Uint8Array[],
  ) {
    try {
      this.#parts.send(to.address, encodeFrame({ from: this.#parts.life, to: to.life }, messages));
    } catch (error) {
      if (!(error instanceof NetworkError)) throw error;
      for (const item of batch) item.refused(error.code);
      return;
    }
    for (const item of batch) item.sent();
  }
}
