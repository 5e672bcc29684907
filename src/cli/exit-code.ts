/**
 * What the program's exit code means. The same failure always gives the same code, so that scripts can react to it:
 * 4 is worth another try, 5 only under the same idempotency key, the others are not.
 */
import { OnefoldError, type Retry } from "../base/errors.ts";

export const exitCodes = {
  done: 0,
  /** The system refused, the request failed for good, or `verify` found damage. */
  refused: 1,
  /** The command line is wrong, or SYSTEM can't be loaded. */
  usage: 2,
  /** Nobody answers at the address. */
  unreachable: 3,
  /** Nothing happened; the same command may work later (busy data directory, port in use, overload). */
  tryLater: 4,
  /** It may have happened: the node died or the deadline passed before the answer came. */
  outcomeUnknown: 5,
  /** A bug in Onefold. */
  internal: 70,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Ends a command with a message for people and an exit code for programs. Never shown with a stack trace. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure";
  readonly exitCode: ExitCode;
  /** What the node said, for `--json`; absent where the failure is the command line's own. */
  readonly problem: unknown;

  constructor(
    exitCode: ExitCode,
    message: string,
    options: { readonly problem?: unknown; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.exitCode = exitCode;
    this.problem = options.problem;
  }
}

/** The exit code that stands for a retry class. */
export function exitCodeOfRetry(retry: Retry): ExitCode {
  switch (retry) {
    case "never":
      return exitCodes.refused;
    case "safe":
      return exitCodes.tryLater;
    case "unknown":
      return exitCodes.outcomeUnknown;
  }
}

/** The exit code for whatever ended a command. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CommandFailure) return error.exitCode;
  if (error instanceof OnefoldError) {
    if (error.code === "internal") return exitCodes.internal;
    if (isPortTaken(error.cause)) return exitCodes.tryLater;
    if (error.code === "invalid-definition" || error.code === "invalid-configuration") return exitCodes.usage;
    return exitCodeOfRetry(error.retry);
  }
  return exitCodes.internal;
}

function isPortTaken(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
}
