/** What a server says of a failure, as the error that callers catch. */
import { type ErrorCode, errorTable, OnefoldError, Refused, type Retry } from "../base/errors.ts";
import type { FailureFacts } from "../wire/protocol.ts";

/** `Refused` for a refusal by the system's code, else `OnefoldError`. A code of a newer server's becomes its retry class's. */
export function errorOfFacts(facts: FailureFacts): OnefoldError | Refused {
  if (facts.refused === true) return new Refused(facts.code, facts.details);
  const code = Object.hasOwn(errorTable, facts.code) ? (facts.code as ErrorCode) : codeOfRetry[facts.retry];
  return new OnefoldError(code, facts.detail, {
    retry: facts.retry,
    ...(facts.details === undefined ? {} : { details: facts.details }),
    ...(facts.retryAfterMs === undefined ? {} : { retryAfterMs: facts.retryAfterMs }),
  });
}

const codeOfRetry: { readonly [retry in Retry]: ErrorCode } = {
  never: "malformed",
  safe: "overloaded",
  unknown: "outcome-unknown",
};
