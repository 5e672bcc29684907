/**
 * What a caller is told about something that user code threw: anything can be thrown, also what can't even be looked at.
 *
 * F1  `failureOf` never throws (but on the watchdog's stop), and what it gives can be kept, sent and printed: a refusal's details are a value of bounded
 *     size that shares no memory with user code.
 * F2  To look at what user code threw is to run user code: `failureOf` is called under the watchdog, and whoever gets a failure
 *     need not look at its cause.
 */
import { OnefoldError, Refused } from "../base/errors.ts";
import { type Limits, limits } from "../base/limits.ts";
import { decodeValue, encodeValue } from "../base/value.ts";
import { GuardTimeout, type StopReason } from "../host/host.ts";

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
    return new CommandFailure(`${what} threw what can't be looked at; nothing was changed.`, cause);
  }
  return new CommandFailure(`${what} threw; nothing was changed.`, error);
}

const causeTextMax = 4000;

/** User code threw something unexpected. */
export class CommandFailure extends OnefoldError {
  /** The cause as text, for the operator. */
  readonly causeText: string;

  constructor(message: string, cause: unknown) {
    super("command-failed", message, { cause });
    this.causeText = textOf(cause);
  }
}

/** What user code may throw is anything, also what can't be turned into text, or only into very much of it. */
function textOf(thrown: unknown): string {
  try {
    const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : thrown;
    return String(text).slice(0, causeTextMax);
  } catch (error) {
    if (error instanceof GuardTimeout) throw error;
    return `a ${typeof thrown} that could not be turned into text`;
  }
}

/** What is told about user code that the watchdog stopped. */
export function stoppedFailure(what: string, reason: StopReason, { commandMs }: Limits): OnefoldError {
  return reason === "time"
    ? new OnefoldError(
        "command-too-slow",
        `${what} ran longer than ${commandMs} ms and was stopped; nothing was changed.`,
      )
    : new OnefoldError("too-large", `${what} took more memory than the node can spare; nothing was changed.`);
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
  return new CommandFailure(`${what} threw; nothing was changed.`, error);
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

/** What a call is told that has not begun. A damaged store is rebuilt, so that is no more than not being ready. */
export function notBegunBecause(stopped: OnefoldError): OnefoldError {
  const code = stopped.code === "damaged" ? "not-ready" : stopped.code;
  return new OnefoldError(code, stopped.message, { cause: stopped, retry: "safe", retryAfterMs: 1000 });
}
