/**
 * The network port: messages between named addresses. It is as weak as networks are, so that nobody comes to lean on more.
 * What a protocol needs beyond it (an answer, a number against repetition, another attempt) it does itself, and the
 * simulated twin sees to it that it must. Messages rather than connections, because that is what node-to-node protocols
 * consist of on every engine: NATS carries subjects, not streams. The real one (`host/node/network.ts`) sends frames over
 * TCP; the simulated one (`sim/network.ts`) delays, loses, repeats and reorders them, cuts and clogs the ways between nodes.
 *
 * N1  What arrives is one whole message, bytes unchanged, that the endpoint named as its sender sent to this address. The name
 *     is what the sender claims; it is no credential.
 * N2  A message may get lost, and arrive late, repeatedly, after ones that were sent later, or when its sender has gone; and
 *     whoever holds the address when it arrives gets it, be it a later life of the node. While nothing fails, all messages
 *     from one endpoint to another arrive, once, and in order.
 * N3  `send` takes a message as a whole or throws; it never waits. What it took and the peer's network did not yet confirm
 *     is bounded, by peer; all of it is given up as lost once the peer has confirmed nothing for `networkAnswerMs`.
 * N4  `receive` is never called before `listen` has resolved, nor inside a call of `send`, nor after `close` was called.
 */
import { limits, type Limits } from "../base/limits.ts";

export type NetworkErrorCode = "too-large" | "full" | "closed" | "invalid-address" | "address-in-use" | "failed";

/**
 * The network's refusal; nothing was sent. `full`: the peer does not keep up; worth another try later. All others fail
 * again, `address-in-use` and `failed` (the platform refuses the address) until somebody changes something.
 */
export class NetworkError extends Error {
  override readonly name = "NetworkError";
  readonly code: NetworkErrorCode;
  constructor(code: NetworkErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Called with each message, which belongs to the callee, and its sender's address. What it throws is a bug, and ends the process. */
export type Receive = (message: Uint8Array, from: string) => void;

/** An address that is listened on, and the sender of all that is sent through it. */
export interface Endpoint {
  /** With the port that was chosen, where 0 was asked for. */
  readonly address: string;
  /**
   * Sends `message` to `to`; the bytes are the caller's again at once. Throws `NetworkError`: `too-large` above
   * `networkMessageBytesMax`, `full` at `networkQueueBytesMax` for this peer, `invalid-address`, `closed`.
   */
  send(to: string, message: Uint8Array): void;
  /** Idempotent. What has not left yet may be lost. Once resolved, the address is free. */
  close(): Promise<void>;
}

export interface Network {
  /**
   * Listens on `address`: `host:port`, where the host is one that peers can reach this node by (no wildcard), and port 0 means
   * any free one. Throws `NetworkError`: `invalid-address`, `address-in-use`, `failed`.
   */
  listen(address: string, receive: Receive): Promise<Endpoint>;
}

export type NetworkLimits = Pick<
  Limits,
  "networkMessageBytesMax" | "networkQueueBytesMax" | "networkPeersMax" | "networkAnswerMs" | "networkRedialMs"
>;

export const networkLimits: NetworkLimits = limits;

/** What a message that is under way costs beside its bytes: without it, empty ones would be free. */
const messageOverheadBytes = 64;

/** What a message of so many bytes counts against `networkQueueBytesMax`. */
export function queuedBytes(messageBytes: number): number {
  return messageBytes + messageOverheadBytes;
}

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

/** `name:port`, `1.2.3.4:port` or `[::1]:port`; the host keeps its brackets. Throws `invalid-address`; port 0 only where allowed. */
export function parseAddress(address: string, { allowsAnyPort = false } = {}): HostAndPort {
  const [, host, digits] = /^(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253}):(\d{1,5})$/i.exec(address) ?? [];
  const port = Number(digits);
  // Nothing but zeros is a wildcard, in every spelling: 0.0.0.0, [::], 0.
  const isValid = host !== undefined && /[^0:.[\]]/.test(host) && port <= 65_535 && (port > 0 || allowsAnyPort);
  if (!isValid)
    throw new NetworkError("invalid-address", `not an address of the form host:port: ${address.slice(0, 300)}`);
  return { host, port };
}

/** Throws `too-large` or `full` where N3 says so. */
export function assertRoom(message: Uint8Array, underWayBytes: number, bounds: NetworkLimits): void {
  if (message.length > bounds.networkMessageBytesMax) {
    throw new NetworkError(
      "too-large",
      `a message of ${message.length} bytes; at most ${bounds.networkMessageBytesMax}`,
    );
  }
  if (underWayBytes + queuedBytes(message.length) > bounds.networkQueueBytesMax) {
    throw new NetworkError("full", `${underWayBytes} bytes are under way to this peer already`);
  }
}
