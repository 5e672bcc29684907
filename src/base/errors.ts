/**
 * Every expected failure that a caller can react to, in one table: its code, whether the same request may be sent
 * again, and the HTTP status that stands for it.
 *
 * `retry` says what a caller may do with the *same* request:
 * - `never`: it will fail again, or must not be sent again;
 * - `safe`: nothing happened; send it again, after `retryAfterMs` where given;
 * - `unknown`: it may have happened; send it again only under the same request number or idempotency key.
 */
export type Retry = "never" | "safe" | "unknown";

interface ErrorClass {
  readonly status: number;
  readonly retry: Retry;
  readonly title: string;
}

const table = {
  malformed: { status: 400, retry: "never", title: "The request could not be understood" },
  unauthenticated: { status: 401, retry: "never", title: "The request carries no valid credentials" },
  forbidden: { status: 403, retry: "never", title: "The principal may not do this" },
  "unknown-kind": { status: 404, retry: "never", title: "The system has no entity kind of this name" },
  "unknown-command": { status: 404, retry: "never", title: "The kind has no command of this name" },
  "unknown-query": { status: 404, retry: "never", title: "The kind has no query of this name" },
  "unknown-transaction": { status: 404, retry: "never", title: "The system has no transaction of this name" },
  "unknown-system": { status: 404, retry: "never", title: "This node serves another system" },
  "unknown-route": { status: 404, retry: "never", title: "There is no such route" },
  "not-found": { status: 404, retry: "never", title: "There is no such entity" },
  "method-not-allowed": { status: 405, retry: "never", title: "The route does not answer this method" },
  "request-timeout": { status: 408, retry: "safe", title: "The request did not arrive in time" },
  conflict: { status: 409, retry: "safe", title: "The operation lost against others; nothing was changed" },
  "would-wait-for-itself": {
    status: 409,
    retry: "never",
    title: "The ordinary client was called from inside a transaction",
  },
  "payload-too-large": { status: 413, retry: "never", title: "The request is larger than the limit" },
  "headers-too-large": { status: 431, retry: "never", title: "The request's headers are larger than the limit" },
  "unsupported-media-type": { status: 415, retry: "never", title: "Only application/json is understood" },
  "invalid-id": { status: 400, retry: "never", title: "The id is empty, too long, or not allowed" },
  "invalid-value": { status: 422, retry: "never", title: "A value is not JSON, bytes, Date or bigint" },
  "invalid-input": { status: 422, retry: "never", title: "The input does not match its schema" },
  "invalid-state": { status: 422, retry: "never", title: "The command would leave a state that its schema refuses" },
  refused: { status: 422, retry: "never", title: "The command refused" },
  "too-large": { status: 422, retry: "never", title: "The command's effects are larger than the limit" },
  "idempotency-mismatch": {
    status: 422,
    retry: "never",
    title: "The idempotency key was used before with another request",
  },
  "session-expired": { status: 409, retry: "never", title: "The session has ended; its requests are never run again" },
  "request-forgotten": {
    status: 409,
    retry: "never",
    title: "The request number was acknowledged before; it is never run again",
  },
  "over-quota": { status: 429, retry: "safe", title: "Over the quota" },
  overloaded: { status: 503, retry: "safe", title: "The node has as much work as it accepts" },
  "not-ready": { status: 503, retry: "safe", title: "The node is starting or stopping" },
  unavailable: { status: 503, retry: "safe", title: "The part of the cluster that is reached can't do this now" },
  "not-owner": { status: 503, retry: "safe", title: "Another node owns the shard" },
  "disk-full": { status: 503, retry: "safe", title: "The disk is full; nothing was changed" },
  "command-failed": { status: 500, retry: "never", title: "The command threw; nothing was changed" },
  "command-too-slow": { status: 500, retry: "never", title: "The command ran longer than the limit and was stopped" },
  quarantined: { status: 503, retry: "never", title: "The entity is quarantined" },
  damaged: { status: 500, retry: "never", title: "Stored data is damaged; it is not served" },
  "deadline-passed": { status: 504, retry: "unknown", title: "The deadline passed; the outcome is unknown" },
  "outcome-unknown": { status: 503, retry: "unknown", title: "The request may have taken hold" },
  stopped: { status: 503, retry: "unknown", title: "The node stopped after an error that it cannot repair" },
  "data-directory-busy": { status: 503, retry: "safe", title: "Another process holds the data directory" },
  "unsupported-version": { status: 500, retry: "never", title: "The data needs a newer version of Onefold" },
  "invalid-definition": { status: 500, retry: "never", title: "The system's definition is wrong" },
  "invalid-configuration": { status: 500, retry: "never", title: "The configuration is wrong" },
  internal: { status: 500, retry: "unknown", title: "A bug in Onefold" },
} as const satisfies Record<string, ErrorClass>;

export type ErrorCode = keyof typeof table;

/** All codes with their HTTP status, retry class and title; the documentation's and OpenAPI's source. */
export const errorTable: Readonly<Record<ErrorCode, ErrorClass>> = table;

export interface ErrorOptions {
  /** Structured facts for the caller: the schema's issues, the limit and the actual value, a position in a file. */
  readonly details?: unknown;
  /** A hint when `retry` is `safe`: try again after this long. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
  /** Overrides the table's class where the same code is known to be safer, e.g. a deadline that passed before any work. */
  readonly retry?: Retry;
}

/**
 * A process may hold two copies of Onefold (a program and a user's module from different installations), each with classes of
 * its own. The mark makes `instanceof` see either's errors; subclasses are told apart as usual.
 */
function isInstance(
  value: unknown,
  asked: { readonly of: unknown; readonly base: unknown; readonly mark: symbol },
): boolean {
  if (typeof value !== "object" || value === null || !(asked.mark in value)) return false;
  return asked.of === asked.base || Function.prototype[Symbol.hasInstance].call(asked.of, value);
}

const errorMark = Symbol.for("onefold.OnefoldError");
const refusedMark = Symbol.for("onefold.Refused");

/** An expected failure. `message` says what happened and what to do about it, in one sentence each. */
export class OnefoldError extends Error {
  override readonly name = "OnefoldError";
  readonly code: ErrorCode;
  readonly retry: Retry;
  readonly details: unknown;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retry = options.retry ?? table[code].retry;
    this.details = options.details;
    this.retryAfterMs = options.retryAfterMs;
  }

  get status(): number {
    return table[this.code].status;
  }

  get [errorMark](): true {
    return true;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: `this` is the class that is asked about, which may be a subclass.
    return isInstance(value, { of: this, base: OnefoldError, mark: errorMark });
  }
}

/**
 * An expected business refusal, thrown by a command, query or transaction: the caller receives `code` and `details`
 * with HTTP 422, everything the command did is undone, and nothing is logged as an error.
 * `code` is a short kebab-case name; `details` must be a Onefold value (JSON, bytes, Date, bigint).
 * Retry class: `never`.
 */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly code: string;
  readonly details: unknown;

  constructor(code: string, details?: unknown) {
    super(`refused: ${code}`);
    this.code = code;
    this.details = details;
  }

  get [refusedMark](): true {
    return true;
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: `this` is the class that is asked about, which may be a subclass.
    return isInstance(value, { of: this, base: Refused, mark: refusedMark });
  }
}
