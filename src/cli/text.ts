/**
 * How values look to people: safe on a terminal, with units, in columns.
 *
 * TX1  What comes from users (ids, states, refusals) can't steer the terminal: control characters are shown, never sent.
 */
import type { Output } from "./output.ts";

/** Control characters, and the marks that turn the direction of text. */
const steeringPattern = /[\p{Cc}\p{Bidi_Control}]/gu;

/** TX1. Lines stay lines, and tabs tabs. */
export function printable(text: string): string {
  return text.replaceAll(steeringPattern, (character) => {
    if (character === "\n" || character === "\t") return character;
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** TX1, on one line: line feeds and tabs are shown, too. */
export function printableLine(text: string): string {
  return printable(text).replaceAll("\n", "\\n").replaceAll("\t", "\\t");
}

/** JSON for a person: indented where it is more than a plain value. Other text as it is. */
export function prettyJson(text: string): string {
  try {
    return printable(JSON.stringify(JSON.parse(text), null, 2));
  } catch (error) {
    if (error instanceof SyntaxError) return printable(text);
    throw error;
  }
}

/** `text`, or its beginning and an ellipsis, in at most `columns` characters. */
export function shortened(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`;
}

/** A time in milliseconds since the Unix epoch, as ISO 8601 in UTC. */
export function timeText(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

/** A whole number with separators: `12,345`. */
export function countText(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** A rate: whole from ten on, with a decimal below. */
export function rateText(perSecond: number): string {
  return perSecond >= 10 || perSecond === 0 ? countText(perSecond) : perSecond.toFixed(1);
}

const yearMs = 365.25 * 24 * 3_600_000;

/** A span of time, in the two units that fit best, and in years. */
export function spanText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600), Math.floor(seconds / 60)];
  const years = ms / yearMs;
  if (years >= 1) return `${years.toFixed(1)} years`;
  const inYears = `(${years.toPrecision(2)} years)`;
  if (days > 0) return `${days} ${days === 1 ? "day" : "days"} ${hours % 24} h ${inYears}`;
  if (hours > 0) return `${hours} h ${minutes % 60} min ${inYears}`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s ${inYears}` : `${seconds} s ${inYears}`;
}

/** Milliseconds in three figures or so, without their unit; `–` for none. */
export function millisecondsText(ms: number | undefined): string {
  if (ms === undefined) return "–";
  return ms >= 100 ? countText(ms) : ms.toFixed(ms >= 10 ? 1 : 2);
}

const units = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** Bytes with a unit: `12.3 MiB`. */
export function bytesText(bytes: number): string {
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

export interface Column {
  readonly title: string;
  /** Numbers stand to the right. */
  readonly align?: "right";
}

/**
 * Rows under titles, in columns two spaces apart; the last column is as long as it is, cut off at a terminal's edge. Empty where
 * there are no rows. Cells are made safe (TX1).
 */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], output: Output): string {
  if (rows.length === 0) return "";
  const cells = rows.map((row) => row.map(printableLine));
  const titles = columns.map(({ title }) => title);
  const widths = columns.map((_column, index) => {
    return Math.max(...[titles, ...cells].map((row) => row[index]?.length ?? 0));
  });
  const line = (row: readonly string[]): string => {
    const text = row
      .map((cell, index) => {
        if (columns[index]?.align === "right") return cell.padStart(widths[index]!);
        return index === row.length - 1 ? cell : cell.padEnd(widths[index]!);
      })
      .join("  ");
    return output.columns === undefined ? text : shortened(text, output.columns);
  };
  return [output.styled("strong", line(titles)), ...cells.map(line)].join("\n");
}

/** A bar of `width` characters that is full at 1. */
export function bar(fraction: number, width: number): string {
  const full = Math.round(Math.min(1, Math.max(0, fraction)) * width);
  return `[${"#".repeat(full)}${"-".repeat(width - full)}]`;
}

/** One word of a command line: single quotes take everything literally in a POSIX shell, except themselves. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
