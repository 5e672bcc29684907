/**
 * What the program's exit code means. The same failure always gives the same code, so that scripts can react to it:
 * 4 is worth another try, 5 only under the same idempotency key, the others are not.
 */
import { OnefoldError, type Retry } from "../base/errors.ts";

export const exitCodes = {
  done: 0,
  /** The system refused, the request failed for good, `verify` found damage, or a seed of `sim` failed. */
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

/**
 * Of `start`, where the system's code kept the process from doing anything else, or a stop did not come to an end, so that it ended itself.
 * Start it again.
 */
export const hungExitCode = 75;

/** For `--help`; `docs/cli.md` says the same. */
export const exitCodeHelp = `
Exit codes:
  0    done
  1    refused, failed for good, damage found, or a simulation that failed
  2    wrong usage, or a SYSTEM that can't be loaded
  3    nobody answers at the address
  4    nothing happened; the same command may work later (port or data directory in use, overload)
  5    it may have happened; repeat it only with the same --key
  70   a bug in Onefold
  75   the system's code hung, or a stop did not come to an end, and the node has ended itself; start it again
  130  ended by Ctrl-C`;

export interface FailureFacts {
  /** What the node said, for `--json`; absent where the failure is the command line's own. */
  readonly problem?: unknown;
  /** The result that was printed says it all: with `--json` nothing follows it. */
  readonly isReported?: boolean;
  readonly cause?: unknown;
}

/** Ends a command with a message for people and an exit code for programs. Never shown with a stack trace. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure";
  readonly exitCode: ExitCode;
  readonly problem: unknown;
  readonly isReported: boolean;

  constructor(exitCode: ExitCode, message: string, facts: FailureFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.exitCode = exitCode;
    this.problem = facts.problem;
    this.isReported = facts.isReported ?? false;
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
