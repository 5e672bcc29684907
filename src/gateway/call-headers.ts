/**
 * The headers by which a caller says how a request is to be carried out. Parsed once, strictly: a header that was meant
 * to make a request safe to repeat and is misread would make it unsafe.
 *
 * H1  A header of ours that comes twice is refused: which of the two was meant can't be known.
 * H2  At most one of `Idempotency-Key` and `Onefold-Request`, as `CallOptions` asks.
 */
import { OnefoldError } from "../base/errors.ts";
import type { SessionRequest } from "../entity/service.ts";
import { parseCount } from "./query-string.ts";

/** Header names are lower-case; as Node's HTTP parser gives them. */
export type RawHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface CallHeaders {
  readonly deadlineMs: number;
  readonly idempotencyKey: string | undefined;
  /** The session's token, also where the request has no number (reads). Goes back with the reply. */
  readonly sessionToken: string | undefined;
  readonly session: SessionRequest | undefined;
}

export interface HeaderLimits {
  readonly deadlineMsDefault: number;
  readonly deadlineMsMax: number;
  readonly idempotencyKeyBytesMax: number;
}

/** Tokens are ours; whatever is longer than this or has other characters was never minted. */
const sessionTokenPattern = /^[\x21-\x7e]{1,4096}$/;
/** RFC-style: visible ASCII and inner spaces. */
const idempotencyKeyPattern = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
/** `<number>;lowest=<n>`. */
const requestPattern = /^(\d{1,15})\s*;\s*lowest=(\d{1,15})$/;
/** https://www.w3.org/TR/trace-context/#traceparent-header */
const traceparentPattern = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

const singleHeaders: readonly string[] = [
  "host",
  "idempotency-key",
  "onefold-session",
  "onefold-request",
  "onefold-deadline-ms",
];

/** Throws `malformed` (retry `never`) for a header that is not of its form. `rawHeaders` alternates names and values. */
export function parseCallHeaders(
  headers: RawHeaders,
  rawHeaders: readonly string[],
  limits: HeaderLimits,
): CallHeaders {
  assertSingle(rawHeaders);
  const sessionToken = text(headers, "onefold-session");
  const request = text(headers, "onefold-request");
  const idempotencyKey = text(headers, "idempotency-key");
  const deadline = text(headers, "onefold-deadline-ms");
  if (sessionToken !== undefined && !sessionTokenPattern.test(sessionToken)) {
    throw new OnefoldError("malformed", "Onefold-Session holds no session token. POST /v1/sessions gives one.");
  }
  if (idempotencyKey !== undefined) {
    if (!idempotencyKeyPattern.test(idempotencyKey) || idempotencyKey.length > limits.idempotencyKeyBytesMax) {
      throw new OnefoldError(
        "malformed",
        `Idempotency-Key must be 1 to ${limits.idempotencyKeyBytesMax} visible ASCII characters.`,
      );
    }
    if (request !== undefined) {
      throw new OnefoldError("malformed", "Idempotency-Key and Onefold-Request exclude each other. Send one of them.");
    }
  }
  return {
    deadlineMs: parseCount("Onefold-Deadline-Ms", deadline, {
      min: 1,
      max: limits.deadlineMsMax,
      absent: limits.deadlineMsDefault,
    }),
    idempotencyKey,
    sessionToken,
    session: request === undefined ? undefined : parseSessionRequest(sessionToken, request),
  };
}

function parseSessionRequest(token: string | undefined, request: string): SessionRequest {
  if (token === undefined) {
    throw new OnefoldError("malformed", "Onefold-Request needs Onefold-Session. POST /v1/sessions gives one.");
  }
  const match = requestPattern.exec(request);
  const number = Number(match?.[1]);
  const lowest = Number(match?.[2]);
  if (match === null || number < 1 || lowest < 1 || lowest > number) {
    throw new OnefoldError(
      "malformed",
      "Onefold-Request must be '<number>;lowest=<n>' with 1 ≤ n ≤ number, where n is the lowest number still unanswered.",
    );
  }
  return { token, number, lowest };
}

/** H1. Node drops or joins repeated headers, so the raw list is looked at. */
function assertSingle(rawHeaders: readonly string[]): void {
  // Bits, since nearly every request has some of these headers and a set for each request is felt.
  let seen = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    // A cheap test first: only names that begin with h, i or o can be among them.
    const first = name.charCodeAt(0) | 0x20;
    if (first !== 0x68 && first !== 0x69 && first !== 0x6f) continue;
    const at = singleHeaders.indexOf(name.toLowerCase());
    if (at < 0) continue;
    const bit = 1 << at;
    if ((seen & bit) !== 0) throw new OnefoldError("malformed", `The header ${name} is given more than once.`);
    seen |= bit;
  }
}

function text(headers: RawHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : undefined;
}

/** The W3C trace context that came with a request, for the fields of traces; undefined if absent or not of its form. */
export function traceparentOf(headers: RawHeaders): string | undefined {
  const value = text(headers, "traceparent");
  return value !== undefined && traceparentPattern.test(value) ? value : undefined;
}
