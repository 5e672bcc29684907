/** The structured log on standard error: a line per event, as JSON for programs or as text for people. */
import type { LogLevel, Trace } from "../host.ts";

const levels: readonly LogLevel[] = ["debug", "info", "warn", "error"];

export interface TraceOptions {
  /** `json`: one object per line, with `time`, `level`, `message` and the fields. Default `text`. */
  readonly format?: "json" | "text";
  /** Nothing below it is written. Default `info`. */
  readonly level?: LogLevel;
  /** Where whole lines go. Default: standard error. */
  readonly write?: (line: string) => void;
  /** Default: the wall clock. */
  readonly now?: () => Date;
}

/** Never throws, whatever the fields hold. */
export function makeTrace(options: TraceOptions = {}): Trace {
  const { format = "text", level: least = "info", now = () => new Date() } = options;
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  return (level, message, fields = {}) => {
    if (levels.indexOf(level) < levels.indexOf(least)) return;
    const time = now().toISOString();
    if (format === "json") write(`${toJson({ time, level, message, ...fields })}\n`);
    else write(`${time} ${level.padEnd(5)} ${message}${toText(fields)}\n`);
  };
}

function toText(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(
      ([name, value]) => ` ${name}=${typeof value === "string" && /^[\w.:/@-]+$/.test(value) ? value : toJson(value)}`,
    )
    .join("");
}

function toJson(value: unknown): string {
  try {
    return JSON.stringify(value, replace) ?? "undefined";
  } catch (error) {
    return JSON.stringify(`unprintable: ${String(error)}`);
  }
}

/** What JSON lacks: errors with their causes and stacks, bytes, bigint. */
function replace(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return `${value}`;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (!(value instanceof Error)) return value;
  const { name, message, stack, cause } = value;
  const code = "code" in value ? { code: value.code } : {};
  return { name, message, ...code, stack, ...(cause === undefined ? {} : { cause }) };
}
