/**
 * What a caller is told about something that user code threw: anything can be thrown, also what can't even be looked at.
 *
 * F1  `failureOf` never throws (but on the watchdog's stop), and what it gives can be kept, sent and printed: a refusal's details are a value of bounded
 *     size that shares no memory with user code.
 */
import { OnefoldError, Refused } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { decodeValue, encodeValue } from "../base/value.ts";
import { GuardTimeout } from "../host/host.ts";

/** A foreign copy of this library may have thrown it, so a refusal is known by its shape as well. */
function isRefusal(error: unknown): error is Refused {
  if (error instanceof Refused) return true;
  return error instanceof Error && error.name === "Refused" && typeof (error as { code?: unknown }).code === "string";
}

/**
 * Refusals and Onefold's own errors pass, everything else becomes `command-failed` with the thrown thing as its cause.
 * `what` is the command's name. Refusal details that are no value become `invalid-value`, larger ones `too-large`.
 */
export function failureOf(error: unknown, what: string): OnefoldError | Refused {
  try {
    if (error instanceof OnefoldError) return error;
    if (isRefusal(error)) return refusalOf(error, what);
    // The real watchdog's stop passes no `catch`. The simulated one's is thrown, and must reach its guard all the same.
    if (error instanceof GuardTimeout) throw error;
  } catch (cause) {
    if (cause === error && cause instanceof GuardTimeout) throw cause;
    // A proxy, a getter: user code that throws while it is looked at.
    if (cause instanceof OnefoldError) return cause;
    return new OnefoldError("command-failed", `${what} threw what can't be looked at; nothing was changed.`, { cause });
  }
  return new OnefoldError("command-failed", `${what} threw; nothing was changed.`, { cause: error });
}

/**
 * What user code threw, as it is, unless it claims that stored data is damaged: only the core can know that, and stops the
 * shard for it, which no user's error may do (G10).
 */
export function withoutClaimOfDamage(error: unknown, what: string): unknown {
  let isClaim: boolean;
  try {
    isClaim = error instanceof OnefoldError && error.code === "damaged";
  } catch {
    // It can't be looked at; `failureOf` knows what to make of that.
    return error;
  }
  if (!isClaim) return error;
  return new OnefoldError("command-failed", `${what} threw; nothing was changed.`, { cause: error });
}

/** Throws `invalid-value` or `too-large`. */
function refusalOf(error: Refused, what: string): Refused {
  const { code, details } = error;
  if (details === undefined) return error;
  const bytes = encodeValue(details, { what: `the details of ${what}'s refusal '${code}'` });
  if (bytes.length > limits.outputBytesMax) {
    throw new OnefoldError(
      "too-large",
      `The details of ${what}'s refusal '${code}' would be ${bytes.length} bytes; the limit is ${limits.outputBytesMax}.`,
      { details: { bytes: bytes.length, bytesMax: limits.outputBytesMax } },
    );
  }
  return new Refused(code, decodeValue(bytes));
}
