/** What people, and with `--json` programs, read when a command fails: what happened and what to do. A stack trace only with `DEBUG`. */
import { OnefoldError, Refused, type Retry } from "../base/errors.ts";
import { CommandFailure, type ExitCode, exitCodes } from "./exit-code.ts";
import { printable } from "./text.ts";

/** For people. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return `Something that is not an error was thrown: ${String(error)}`;
  if (isDebugging()) return error.stack ?? error.message;
  if (error instanceof CommandFailure) return printable(error.message);
  if (error instanceof OnefoldError) {
    const details = error.details === undefined ? "" : `\n${JSON.stringify(error.details, plain, 2)}`;
    return printable(`${error.code}: ${error.message}${details}`);
  }
  return `${error.name}: ${printable(error.message)}\nThis is a bug; set DEBUG=1 to see where.`;
}

export function isDebugging(): boolean {
  return (process.env.DEBUG ?? "") !== "";
}

interface OwnProblem {
  readonly code: string;
  readonly detail: string;
  readonly retry: Retry;
  readonly details?: unknown;
}

/**
 * For programs, as JSON text: the node's problem document, or an object with the same `code`, `detail` and `retry`. Undefined
 * where the result that was printed says it.
 */
export function errorJson(error: unknown): string | undefined {
  if (error instanceof CommandFailure && error.isReported) return undefined;
  const problem = error instanceof CommandFailure ? error.problem : undefined;
  return JSON.stringify(problem ?? ownProblem(error), plain);
}

function ownProblem(error: unknown): OwnProblem {
  if (error instanceof CommandFailure) return { ...classes[error.exitCode], detail: error.message };
  if (error instanceof OnefoldError) {
    const { code, message, retry, details } = error;
    return { code, detail: message, retry, ...(details === undefined ? {} : { details }) };
  }
  if (error instanceof Refused) {
    return { code: error.code, detail: error.message, retry: "never", details: error.details };
  }
  return { ...classes[exitCodes.internal], detail: error instanceof Error ? error.message : String(error) };
}

const classes: Readonly<Record<ExitCode, Pick<OwnProblem, "code" | "retry">>> = {
  [exitCodes.done]: { code: "done", retry: "never" },
  [exitCodes.refused]: { code: "failed", retry: "never" },
  [exitCodes.usage]: { code: "usage", retry: "never" },
  [exitCodes.unreachable]: { code: "unreachable", retry: "safe" },
  [exitCodes.tryLater]: { code: "try-later", retry: "safe" },
  [exitCodes.outcomeUnknown]: { code: "outcome-unknown", retry: "unknown" },
  [exitCodes.internal]: { code: "internal", retry: "unknown" },
};

/** What JSON lacks. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  return value;
}
