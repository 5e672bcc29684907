/** A failure as the facts of a `failed` message: the same as its problem document says, by the same rules (P1, P2). */
import { errorTable, OnefoldError, Refused } from "../base/errors.ts";
import { checkValue } from "../base/value.ts";
import type { FailureFacts } from "../wire/protocol.ts";
import { insideCodes } from "./problem.ts";

export interface SocketFailure {
  readonly facts: FailureFacts;
  /** What an operator must see in the trace; undefined for failures that are the caller's own or expected. */
  readonly report: unknown;
}

/** Anything thrown, as facts. What is neither `OnefoldError` nor `Refused` is a bug here: `internal`. */
export function socketFailureOf(error: unknown, options: { readonly showInside: boolean }): SocketFailure {
  if (error instanceof Refused) {
    const { status, retry } = errorTable.refused;
    const refusal = { code: error.code, retry, status, detail: error.message, refused: true } as const;
    return withDetails(refusal, error.details, undefined);
  }
  const known =
    error instanceof OnefoldError ? error : new OnefoldError("internal", errorTable.internal.title, { cause: error });
  const { status, title } = errorTable[known.code];
  const isInside = insideCodes.has(known.code);
  const isShown = !isInside || (options.showInside && known.code !== "internal");
  const facts: FailureFacts = {
    code: known.code,
    retry: known.retry,
    status,
    detail: isShown ? known.message : title,
    ...(known.retryAfterMs === undefined ? {} : { retryAfterMs: known.retryAfterMs }),
  };
  const report = isInside && known.code !== "command-failed" ? error : undefined;
  return withDetails(facts, isShown ? known.details : undefined, report);
}

function withDetails(facts: FailureFacts, details: unknown, report: unknown): SocketFailure {
  if (details === undefined) return { facts, report };
  try {
    checkValue(details);
    return { facts: { ...facts, details }, report };
  } catch (cause) {
    // Details that are no value are a bug of whoever made the error; the caller still learns what happened to the request.
    return { facts, report: report ?? cause };
  }
}
