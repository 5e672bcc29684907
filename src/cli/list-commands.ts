/** The commands that list what a running node has: `ls`, `history` and `dead-letters`. Pages are fetched as they are needed. */
import type { DeadLettersReply, HistoryItem, ListReply } from "../entity/service.ts";
import { entityRoute, splitEntityPath } from "./entity-path.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import { type NodeOptions, queryText, readNode } from "./node-client.ts";
import type { Output } from "./output.ts";
import { readOutline } from "./system-outline.ts";
import { type Column, printableLine, table, timeText } from "./text.ts";
import { withNames } from "./unknown-name.ts";

export interface PageOptions extends NodeOptions {
  /** How many at most. */
  readonly limit: number;
  readonly cursor?: string;
}

export interface ListOptions extends PageOptions {
  readonly prefix?: string;
}

/** What a node gives at once. */
const pageLimit = 1000;

/** Prints the kinds and transactions of the system, or the ids of a kind. */
export async function list(kind: string | undefined, options: ListOptions, output: Output): Promise<void> {
  if (kind === undefined) {
    if (options.prefix !== undefined || options.cursor !== undefined) {
      throw new CommandFailure(
        exitCodes.usage,
        "--prefix and --cursor are for the ids of a kind; name one: onefold ls KIND.",
      );
    }
    await listKinds(options, output);
  } else if (kind.includes("/")) {
    throw new CommandFailure(exitCodes.usage, `ls takes a kind. One entity: onefold get ${kind}`);
  } else await listIds(kind, options, output);
}

async function listKinds(options: NodeOptions, output: Output): Promise<void> {
  const { system, kinds, transactions } = await readOutline(options);
  if (options.json === true) {
    output.result(JSON.stringify({ system, kinds: Object.fromEntries(kinds), transactions }));
    return;
  }
  const rows = [...kinds].map(([kind, { commands, queries }]) => [kind, commands.join(", "), queries.join(", ")]);
  const columns = [{ title: "KIND" }, { title: "COMMANDS" }, { title: "QUERIES" }];
  const tables = [
    table(columns, rows, output),
    table(
      [{ title: "TRANSACTION" }],
      transactions.map((name) => [name]),
      output,
    ),
  ];
  output.result([`The system ${system}.`, ...tables.filter((text) => text !== "")].join("\n\n"));
}

async function listIds(kind: string, options: ListOptions, output: Output): Promise<void> {
  const { prefix, json } = options;
  const all: string[] = [];
  let count = 0;
  let { cursor } = options;
  do {
    const limit = Math.min(pageLimit, options.limit - count);
    const path = `/v1/entities/${encodeURIComponent(kind)}${queryText({ prefix, limit, cursor })}`;
    const page = await withNames({ kind }, options, () => readNode<ListReply>(options, path));
    count += page.ids.length;
    if (json === true) all.push(...page.ids);
    else if (page.ids.length > 0) output.result(page.ids.map(printableLine).join("\n"));
    cursor = page.cursor;
  } while (cursor !== undefined && count < options.limit);
  if (json === true) output.result(JSON.stringify({ ids: all, ...(cursor === undefined ? {} : { cursor }) }));
  else noteMore(cursor, output);
}

interface HistoryPage {
  readonly items: readonly HistoryItem[];
  readonly cursor?: string;
  readonly trimmed: boolean;
}

/** Prints what happened to an entity, newest first. */
export async function history(path: string, options: PageOptions, output: Output): Promise<void> {
  const address = splitEntityPath(path);
  const route = entityRoute("/v1/history", address);
  const items: HistoryItem[] = [];
  let { cursor } = options;
  let trimmed = false;
  do {
    const limit = Math.min(pageLimit, options.limit - items.length);
    const page = await withNames({ kind: address.kind }, options, () =>
      readNode<HistoryPage>(options, route + queryText({ limit, cursor })),
    );
    items.push(...page.items);
    ({ cursor, trimmed } = page);
  } while (cursor !== undefined && items.length < options.limit);
  if (options.json === true) {
    output.result(JSON.stringify({ items, ...(cursor === undefined ? {} : { cursor }), trimmed }));
    return;
  }
  if (items.length === 0) output.note(`Nothing has happened to ${path}.`);
  else output.result(table(historyColumns, items.map(historyRow), output));
  if (trimmed) output.note("What happened earlier has been trimmed from the log.");
  noteMore(cursor, output);
}

const historyColumns: readonly Column[] = [
  { title: "TIME" },
  { title: "SEQUENCE", align: "right" },
  { title: "COMMAND" },
  { title: "BY" },
  { title: "SUBJECT" },
  { title: "STATE" },
];

function historyRow(item: HistoryItem): readonly string[] {
  const { timeMs, sequence, command, by, subject } = item;
  return [timeText(timeMs), String(sequence), command, by, subject, stateText(item)];
}

/** What a change left: the state, and how many items it touched. */
export function stateText({ state, itemCount }: Pick<HistoryItem, "state" | "itemCount">): string {
  const items = itemCount === 0 ? [] : [`${itemCount} ${itemCount === 1 ? "item" : "items"}`];
  const states = state === undefined ? [] : [state === null ? "deleted" : JSON.stringify(state)];
  return [...states, ...items].join(", ");
}

/** Prints messages and timers that ended without taking hold, newest first. */
export async function deadLetters(kind: string | undefined, options: PageOptions, output: Output): Promise<void> {
  const items: DeadLettersReply["items"][number][] = [];
  let { cursor } = options;
  let removed = 0;
  do {
    const limit = Math.min(pageLimit, options.limit - items.length);
    const path = `/v1/dead-letters${queryText({ kind, limit, cursor })}`;
    const page = await withNames(kind === undefined ? {} : { kind }, options, () =>
      readNode<DeadLettersReply>(options, path),
    );
    items.push(...page.items);
    ({ cursor, removed } = page);
  } while (cursor !== undefined && items.length < options.limit);
  if (options.json === true) {
    output.result(JSON.stringify({ items, ...(cursor === undefined ? {} : { cursor }), removed }));
    return;
  }
  if (items.length === 0) output.note("There are no dead letters.");
  else output.result(table(letterColumns, items.map(letterRow), output));
  if (removed > 0) output.note(`${removed} more were removed since the node started, being too many or too old.`);
  noteMore(cursor, output);
}

const letterColumns: readonly Column[] = ["TIME", "ENTITY", "COMMAND", "BY", "CODE", "INPUT", "DETAIL"].map(
  (title) => ({
    title,
  }),
);

function letterRow(item: DeadLettersReply["items"][number]): readonly string[] {
  const { timeMs, kind, id, command, by, code, detail, input, waits } = item;
  const time = timeMs === 0 ? "not known" : timeText(timeMs);
  return [time, `${kind}/${id}`, command, by, waits ? `${code} (waits)` : code, JSON.stringify(input), detail];
}

function noteMore(cursor: string | undefined, output: Output): void {
  if (cursor !== undefined) output.note(`There is more: --cursor ${cursor}`);
}
