/**
 * The structured log on standard error: a line per event, JSON for programs, text for people on a terminal.
 *
 * Levels say what to do (`docs/logs.md`): `error`: a person must act now; `warn`: look into it within days, the node goes
 * on or mends itself; `info`: for the record, nothing to do; `debug`: for whoever works on Onefold.
 *
 * L-1  A trace never throws and never ends the process, whatever its fields hold and whoever reads the other end.
 * L-2  A line has a bounded length; one event that repeats has a bounded number of lines a second, and the rest are counted.
 */
import { OnefoldError } from "../../base/errors.ts";
import type { LogLevel, Trace } from "../host.ts";
import { Repeats } from "./trace-repeats.ts";

const levels: readonly LogLevel[] = ["debug", "info", "warn", "error"];
const formats = ["json", "text"] as const;

export type TraceFormat = (typeof formats)[number];

export interface TraceOptions {
  /**
   * `json`: one object a line, with `time`, `level`, `message` and the fields. Default: `$ONEFOLD_LOG_FORMAT`, else `text` where
   * standard error is a terminal and `json` where it is not.
   */
  readonly format?: TraceFormat;
  /** Nothing below it is written. Default: `$ONEFOLD_LOG_LEVEL`, else `info`. */
  readonly level?: LogLevel;
  /** Where whole lines go. Default: standard error. */
  readonly write?: (line: string) => void;
  /** Default: the wall clock. */
  readonly now?: () => Date;
}

/** A stack, a refused value: whoever wants more than this of one event has to look where it happened. */
const lineCharactersMax = 16_384;
const fieldNamesOfTheLine: readonly string[] = ["time", "level", "message"];

type Fields = Readonly<Record<string, unknown>>;

/** Throws `invalid-configuration` (retry never) for an environment that names no level or format. */
export function makeTrace(options: TraceOptions = {}): Trace {
  const { now = () => new Date() } = options;
  const least = levels.indexOf(options.level ?? chosen("ONEFOLD_LOG_LEVEL", levels) ?? "info");
  const format = options.format ?? chosen("ONEFOLD_LOG_FORMAT", formats) ?? (isTerminal() ? "text" : "json");
  const render = format === "json" ? jsonLine : textLine(options.write === undefined && hasColours());
  const write = options.write ?? standardError();
  const put = (level: LogLevel, message: string, fields: Fields): void => {
    write(render(now().toISOString(), level, message, fields));
  };
  const repeats = new Repeats(put);
  return (level, message, fields = {}) => {
    if (levels.indexOf(level) >= least && repeats.mayPass(level, message)) put(level, message, fields);
  };
}

function chosen<T extends string>(variable: string, allowed: readonly T[]): T | undefined {
  const value = process.env[variable];
  if (value === undefined || value === "") return undefined;
  const known = allowed.find((each) => each === value);
  if (known !== undefined) return known;
  throw new OnefoldError("invalid-configuration", `${variable} must be one of ${allowed.join(", ")}, not '${value}'.`);
}

function isTerminal(): boolean {
  return process.stderr.isTTY === true;
}

/** https://no-color.org */
function hasColours(): boolean {
  return isTerminal() && (process.env.NO_COLOR ?? "") === "";
}

function standardError(): (line: string) => void {
  const { stderr } = process;
  if (!stderr.listeners("error").includes(survive)) stderr.on("error", survive);
  return (line) => void stderr.write(line);
}

/** A log collector that goes away must not take the node with it (L-1); there is nowhere left to say so. */
function survive(): undefined {
  return undefined;
}

// ---------------------------------------------------------------------------------------------------------------- json

function jsonLine(time: string, level: LogLevel, message: string, fields: Fields): string {
  const head = { time, level, message };
  const line = toJson({ ...head, ...renamed(fields) });
  if (line === undefined) return `${JSON.stringify({ ...head, unprintable: true })}\n`;
  if (line.length <= lineCharactersMax) return `${line}\n`;
  // Still one object a line, which can be searched for as any other.
  return `${JSON.stringify({ ...head, truncated: line.slice(0, lineCharactersMax / 2) })}\n`;
}

/** A field of the line's own name gets an underscore, so that it neither hides that nor is lost. */
function renamed(fields: Fields): Fields {
  if (!fieldNamesOfTheLine.some((name) => name in fields)) return fields;
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [fieldNamesOfTheLine.includes(name) ? `${name}_` : name, value]),
  );
}

/** Undefined for what can't be written: circles, getters that throw. */
function toJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value, replace) ?? "null";
  } catch {
    // What it threw may itself be of the kind that can't be written; the line says that something could not be.
    return undefined;
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

// ---------------------------------------------------------------------------------------------------------------- text

const colours: Readonly<Record<LogLevel, number>> = { debug: 90, info: 36, warn: 33, error: 31 };

function textLine(coloured: boolean): typeof jsonLine {
  return (time, level, message, fields) => {
    const colour = coloured ? `\u001b[${colours[level]}m` : "";
    const dim = coloured ? "\u001b[2m" : "";
    const plain = coloured ? "\u001b[0m" : "";
    const text = Object.entries(fields).map(([name, value]) => ` ${dim}${name}=${plain}${valueText(value)}`);
    const line = `${dim}${time}${plain} ${colour}${level.padEnd(5)}${plain} ${message}${text.join("")}`;
    const stacks = Object.values(fields).flatMap(stackLines);
    return `${bounded([line, ...stacks].join("\n"))}\n`;
  };
}

function bounded(text: string): string {
  return text.length <= lineCharactersMax ? text : `${text.slice(0, lineCharactersMax)}… (cut)`;
}

function valueText(value: unknown): string {
  if (typeof value === "string" && /^[\w.:/@-]+$/.test(value)) return value;
  return toJson(value instanceof Error ? `${value.name}: ${value.message}` : value) ?? "(unprintable)";
}

/** Where an error and its causes come from, indented; nothing for other values. */
function stackLines(value: unknown): readonly string[] {
  const lines: string[] = [];
  const seen = new Set<unknown>();
  for (let error = value; error instanceof Error && !seen.has(error); error = error.cause) {
    seen.add(error);
    lines.push(...(error.stack ?? `${error.name}: ${error.message}`).split("\n").map((line) => `      ${line.trim()}`));
  }
  return lines;
}
