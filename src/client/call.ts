/** A call on its way: what is asked, and how far it has come. */
import type { Value } from "../base/value.ts";
import type { ClientTimer } from "./platform.ts";
import type { RequestSession } from "./request-session.ts";

/** How one call is to be carried out. */
export interface CallOptions {
  /** How long the caller waits, retries included, ms; the client's default if absent. Then `deadline-passed`. */
  readonly deadlineMs?: number;
  /**
   * Makes the call take hold once across clients and restarts of the caller; else the client's session does so for as long as
   * the client lives. 1–255 visible ASCII characters; for commands and transactions.
   */
  readonly idempotencyKey?: string;
  /** How fresh a read must be; `strong` if absent. */
  readonly read?: "strong" | "session" | "eventual";
  /** Gives the call up: it rejects with the signal's reason. It may have taken hold. */
  readonly signal?: AbortSignal;
}

/** What is the same for all calls of one command, query or transaction. */
export interface CallShape {
  /** The message's type. */
  readonly type: number;
  /** For `state`, `list` and `history` from the start; for a query since its first answer has told. */
  isRead: boolean;
}

export interface Call {
  readonly id: number;
  readonly shape: CallShape;
  /** Elements behind the options: of the message, `bodyParts` many. */
  readonly bodyParts: number;
  /** Where the encoded body stands; a frame that was sent is kept for as long as one of its calls may have to be sent again. */
  body: Uint8Array | undefined;
  bodyStart: number;
  bodyEnd: number;
  readonly deadlineAtMs: number;
  readonly options: CallOptions | undefined;
  /** Facts of listings and histories, which stand where others have their options. */
  readonly page: Value | undefined;
  session: RequestSession | undefined;
  number: number;
  /** How often it was sent; and whether an answer to it is awaited on the present connection. */
  sentCount: number;
  isAwaited: boolean;
  /** Whether it was sent over HTTP last: then the end of a connection says nothing of it. */
  isOverHttp: boolean;
  retries: number;
  /** Waits for its next try, or for its own deadline. */
  retryTimer: ClientTimer | undefined;
  deadlineTimer: ClientTimer | undefined;
  onAbort: (() => void) | undefined;
  lastError: Error | undefined;
  readonly resolve: (output: Value | undefined) => void;
  readonly reject: (error: unknown) => void;
}
