/** What people read when a command fails: what happened and what to do, without a stack trace unless `DEBUG` is set. */
import { OnefoldError } from "../base/errors.ts";
import { CommandFailure } from "./exit-code.ts";

export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return `Something that is not an error was thrown: ${String(error)}`;
  if (isDebugging()) return error.stack ?? error.message;
  if (error instanceof CommandFailure) return error.message;
  if (error instanceof OnefoldError) {
    const details = error.details === undefined ? "" : `\n${JSON.stringify(error.details, printable, 2)}`;
    return `${error.code}: ${error.message}${details}`;
  }
  return `${error.name}: ${error.message}\nThis is a bug; set DEBUG=1 to see where.`;
}

export function isDebugging(): boolean {
  return (process.env.DEBUG ?? "") !== "";
}

function printable(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  return value;
}
