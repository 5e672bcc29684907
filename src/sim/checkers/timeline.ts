/**
 * Operations as lines of text over one axis of time, for people.
 *
 * TL1  Columns are the order of the shown events, not their distances: `|` is an event, `-` the time between, `>` an open end.
 */
import { endOf, type Operation, placeOf } from "./history.ts";

export interface TimelineRow {
  readonly mark: string;
  readonly operation: Operation<unknown, unknown>;
}

const textCharactersMax = 60;

/** One line for each row, in the given order. */
export function timelineOf(rows: readonly TimelineRow[]): readonly string[] {
  const events = new Set<number>();
  for (const { operation } of rows) {
    events.add(operation.invoked);
    if (Number.isFinite(endOf(operation))) events.add(endOf(operation));
  }
  const columns = new Map([...events].sort((a, b) => a - b).map((time, column) => [time, column]));
  const texts = rows.map(({ mark, operation }) => `${mark} ${placeOf(operation)} ${describeOperation(operation)}`);
  const width = Math.max(...texts.map((text) => text.length));
  return rows.map(({ operation }, index) => {
    const from = columns.get(operation.invoked)!;
    const to = columns.get(endOf(operation));
    const bar =
      to === undefined
        ? `|${"-".repeat(columns.size - from)}>`
        : `|${"-".repeat(Math.max(0, to - from - 1))}${to > from ? "|" : ""}`;
    return `  ${texts[index]!.padEnd(width)}  ${" ".repeat(from)}${bar}`;
  });
}

/** `write {"value":3} -> null`: an input's type and the rest of it, and the output as far as it is known. */
export function describeOperation({ input, outcome }: Operation<unknown, unknown>): string {
  const result = outcome.kind === "ok" ? jsonOf(outcome.output) : outcome.kind;
  return `${cut(describeInput(input))} -> ${cut(result)}`;
}

function describeInput(input: unknown): string {
  if (typeof input !== "object" || input === null || !("type" in input)) return jsonOf(input);
  const { type, ...rest } = input;
  if ("key" in rest) delete rest.key;
  return Object.keys(rest).length === 0 ? String(type) : `${type} ${jsonOf(rest)}`;
}

/** JSON, where a bigint is its digits. */
export function jsonOf(value: unknown): string {
  return (
    JSON.stringify(value, (_key, part: unknown) => (typeof part === "bigint" ? String(part) : part)) ?? "undefined"
  );
}

function cut(text: string): string {
  return text.length > textCharactersMax ? `${text.slice(0, textCharactersMax)}…` : text;
}
