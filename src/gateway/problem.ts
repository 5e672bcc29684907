/**
 * Failures as RFC 9457 problem documents. Pure.
 *
 * P1  What a caller learns of a failure inside (damage, a throw in a user's function) is its code and title; message, cause
 *     and stack go to the trace alone. A developer on loopback without `authenticate` sees the message too, except of
 *     `internal`, which may be about anything and is never shown.
 * P2  `retry` is the error's own class, never better: nothing here turns `unknown` into a failure that was certain.
 */
import { errorTable, OnefoldError, Refused } from "../base/errors.ts";
import type { ErrorCode } from "../base/errors.ts";
import { stringifyTaggedJson } from "../base/tagged-json.ts";
import type { Value } from "../base/value.ts";

export interface Problem {
  readonly status: number;
  /** A JSON document of type `application/problem+json`. */
  readonly body: string;
  /** Whole seconds, for `Retry-After`: on every 429 and 503. */
  readonly retryAfterSeconds: number | undefined;
  /** What an operator must see in the trace; undefined for failures that are the caller's own or expected. */
  readonly report: unknown;
}

/** Codes whose messages speak of the inside: paths, user code, stored data. */
export const insideCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "internal",
  "damaged",
  "stopped",
  "command-failed",
  "invalid-definition",
  "invalid-configuration",
  "unsupported-version",
  "data-directory-busy",
]);

/** Members of a problem document that an error's own details can't replace. */
const reservedMembers: ReadonlySet<string> = new Set(["type", "title", "status", "detail", "code", "retry", "refused"]);

/** Anything thrown, as a problem. What is neither `OnefoldError` nor `Refused` is a bug here: `internal`. */
export function problemOf(error: unknown, options: { readonly showInside: boolean }): Problem {
  if (error instanceof Refused) return refusal(error);
  const known =
    error instanceof OnefoldError ? error : new OnefoldError("internal", errorTable.internal.title, { cause: error });
  const { status, title } = errorTable[known.code];
  const isInside = insideCodes.has(known.code);
  const isShown = !isInside || (options.showInside && known.code !== "internal");
  const document: { [member: string]: Value | undefined } = {
    type: `urn:onefold:error:${known.code}`,
    title,
    status,
    detail: isShown ? known.message : title,
    code: known.code,
    retry: known.retry,
  };
  let report = isInside && known.code !== "command-failed" ? error : undefined;
  try {
    if (isShown) addDetails(document, known.details);
    return { status, body: stringifyTaggedJson(document), retryAfterSeconds: retryAfter(known, status), report };
  } catch (cause) {
    // Details that are no value are a bug of whoever made the error; the caller still learns what happened to the request.
    report = cause;
    const { type, detail, code, retry } = document;
    const body = stringifyTaggedJson({ type, title, status, detail, code, retry });
    return { status, body, retryAfterSeconds: retryAfter(known, status), report };
  }
}

function refusal(error: Refused): Problem {
  const { status, title, retry } = errorTable.refused;
  const document = {
    type: "urn:onefold:refused",
    title,
    status,
    detail: error.message,
    code: error.code,
    retry,
    refused: true,
  };
  try {
    const details = error.details as Value | undefined;
    const body = stringifyTaggedJson(details === undefined ? document : { ...document, details });
    return { status, body, retryAfterSeconds: undefined, report: undefined };
  } catch (cause) {
    return { status, body: stringifyTaggedJson(document), retryAfterSeconds: undefined, report: cause };
  }
}

/** RFC 9457's extension members: the fields of an object of details stand beside `code`; other details under `details`. */
function addDetails(document: { [member: string]: Value | undefined }, details: unknown): void {
  if (details === undefined) return;
  const isRecord =
    typeof details === "object" && details !== null && Object.getPrototypeOf(details) === Object.prototype;
  if (!isRecord || Object.keys(details).some((name) => reservedMembers.has(name))) {
    document.details = details as Value;
    return;
  }
  for (const [name, value] of Object.entries(details)) document[name] = value as Value;
}

function retryAfter(error: OnefoldError, status: number): number | undefined {
  if (error.retryAfterMs !== undefined) return Math.max(1, Math.ceil(error.retryAfterMs / 1000));
  return error.retry !== "never" && (status === 429 || status === 503) ? 1 : undefined;
}
