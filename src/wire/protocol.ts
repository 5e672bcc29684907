/**
 * The words of the socket's protocol, `onefold.v1`, that the gateway and the client share. `docs/protocol.md` specifies them; a
 * change here is a change there, and of the contract.
 */

export const subprotocol = "onefold.v1";
export const socketPath = "/v1/socket";

/** First element of each message that a client sends. */
export const toServer = {
  hello: 0,
  /** A command or a query: the server tells by the name. */
  call: 1,
  transaction: 2,
  delete: 3,
  state: 4,
  list: 5,
  history: 6,
  subscribe: 7,
  /** More changes of a subscription may be sent. */
  credit: 8,
  cancel: 9,
  ping: 10,
  /** What of a session's requests has been answered; may name another session. */
  session: 11,
  /** Asks for a new session's token. */
  mint: 12,
} as const;

/** First element of each message that a server sends. */
export const toClient = {
  welcome: 0,
  /** A command, transaction or deletion took hold: its sequence and output. */
  done: 1,
  /** The answer to a read. */
  read: 2,
  failed: 3,
  /** A subscription's value: its first, or a later one. */
  value: 4,
  /** A subscription that was resumed: nothing has changed since. */
  unchanged: 5,
  pong: 6,
} as const;

/** Why a server ends a connection: 4000 + the HTTP status that would say the same. Below 4000: RFC 6455's own. */
export const closeCodes = {
  /** The node takes its leave: connect again. */
  leaving: 1001,
  tooLarge: 1009,
  malformed: 4400,
  unauthenticated: 4401,
  forbidden: 4403,
  unknownSystem: 4404,
  /** No hello in time, or nothing heard for too long. */
  silent: 4408,
  /** What the client doesn't take exceeds what is kept for it. */
  notReading: 4429,
  internal: 4500,
  /** Not ready, or as many connections as it accepts: connect again, later. */
  unavailable: 4503,
} as const;

/** What the server tells in its welcome. */
export interface Welcome {
  readonly system: string;
  /** A new session's token, to be used or not; and for how long from now it is good. */
  readonly session: string;
  readonly sessionMs: number;
  /** Calls that may be unanswered at once, and their bytes. */
  readonly callsMax: number;
  readonly callBytesMax: number;
  readonly frameBytesMax: number;
  readonly subscriptionsMax: number;
  /** A session's number may be ahead of its lowest unanswered one by less than this. */
  readonly sessionRequestsMax: number;
  /** Something must be heard from the client at least this often, a ping if nothing else. */
  readonly silenceMsMax: number;
}

/** What a `failed` message says: the facts of a problem document. */
export interface FailureFacts {
  readonly code: string;
  readonly retry: "never" | "safe" | "unknown";
  readonly status: number;
  readonly detail: string;
  readonly refused?: true;
  readonly details?: unknown;
  readonly retryAfterMs?: number;
}
