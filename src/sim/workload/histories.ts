/**
 * Histories, as clients read them, against the lives of the model.
 *
 * H1  Newest first: sequences, generations and, in one generation, versions go down; a whole history goes down to the first.
 * H2  A state that is shown is the entity's after some command of a life that it had, and the older one that of fewer.
 * H3  What an item says of its cause (call, transaction, message, timer, administration) is what the command was.
 * H4  An acknowledged call stands where its answer said.
 */
import type { HistoryItem } from "../../entity/service.ts";
import type { ModelLife } from "./model.ts";
import type { EntityName, JournalEntry } from "./plan.ts";
import { type Recording, unitOf } from "./recording.ts";

/** What a client that read a history was given. */
export interface HistoryOutput {
  readonly items: readonly HistoryItem[];
  /** Down to the entity's first command. */
  readonly isWhole: boolean;
}

export interface HistoryFacts {
  readonly recording: Recording;
  readonly name: EntityName;
  readonly lives: readonly ModelLife[];
}

/** A root state of whatever kind and version. */
interface ShownState {
  readonly birth?: string | null;
  readonly balance?: number;
  readonly cents?: number;
  readonly count?: number;
  readonly journal?: readonly JournalEntry[];
}

export interface HistoryGlimpse {
  readonly birth: string | null;
  readonly count: number;
  readonly balance: number;
}

/** How far an item's state has come; undefined where it shows no state, or one that does not say (a ledger's). */
export function glimpseOfItem({ state }: HistoryItem): HistoryGlimpse | undefined {
  if (state === undefined) return undefined;
  if (state === null) return { birth: null, count: 0, balance: 0 };
  const { birth, balance, cents, count, journal } = state as unknown as ShownState;
  const known = count ?? journal?.length;
  if (known === undefined) return undefined;
  return { birth: birth ?? null, count: known, balance: balance ?? cents ?? Number.NaN };
}

/** All that is wrong with it, as sentences. */
export function* checkHistory({ recording, name, lives }: HistoryFacts, output: HistoryOutput): Iterable<string> {
  const { items, isWhole } = output;
  yield* checkOrder(output);
  for (const [index, item] of items.entries()) {
    const glimpse = glimpseOfItem(item);
    if (glimpse === undefined) continue;
    if (item.state === null) {
      yield* checkEnd(item, items[index - 1]);
      continue;
    }
    const life = lives.find(({ birth }) => birth === glimpse.birth);
    const look = life?.looks[glimpse.count];
    if (life === undefined || look === undefined || look.balance !== glimpse.balance) {
      yield `its history shows ${JSON.stringify(glimpse)}, which never was`;
      continue;
    }
    const { journal } = item.state as unknown as ShownState;
    if (journal !== undefined && JSON.stringify(journal) !== JSON.stringify(life.journal.slice(0, glimpse.count))) {
      yield `its history shows other commands than ${glimpse.count} of ${glimpse.birth} had run`;
    }
    const older = items[index + 1];
    if (older === undefined && !isWhole) continue;
    const before = older === undefined || older.generation < item.generation ? 0 : glimpseOfItem(older)?.count;
    if (before !== undefined) yield* checkCause(recording, item, life.journal.slice(before, glimpse.count), name);
  }
}

function* checkOrder({ items, isWhole }: HistoryOutput): Iterable<string> {
  for (let index = 1; index < items.length; index++) {
    const [newer, older] = [items[index - 1]!, items[index]!];
    const isBehind =
      newer.generation === older.generation ? newer.version > older.version : newer.generation === older.generation + 1;
    if (newer.sequence < older.sequence || newer.timeMs < older.timeMs || !isBehind) {
      yield `its history goes from ${placeOf(newer)} back to ${placeOf(older)}`;
    }
  }
  const oldest = items.at(-1);
  if (isWhole && oldest !== undefined && oldest.generation !== 1) yield `its history begins at ${placeOf(oldest)}`;
}

function placeOf({ sequence, generation, version }: HistoryItem): string {
  return `batch ${sequence} (generation ${generation}, version ${version})`;
}

/** What comes after the end of a life is the next life. */
function* checkEnd(item: HistoryItem, newer: HistoryItem | undefined): Iterable<string> {
  if (newer !== undefined && newer.generation !== item.generation + 1) yield `it goes on after the end of a life`;
  if (item.by === "admin" && item.command !== "delete") yield `an administrator's ${item.command} is in its history`;
}

function* checkCause(
  recording: Recording,
  item: HistoryItem,
  ran: readonly JournalEntry[],
  { kind, id }: EntityName,
): Iterable<string> {
  const what = `${kind}/${id} at ${placeOf(item)}`;
  const last = ran.at(-1);
  if (last === undefined) {
    // A timer that failed is removed, and nothing else is changed.
    if (item.by !== "timer") yield `${what} shows a ${item.by} that ran no command`;
    return;
  }
  const relation = recording.intention(last[0])?.relation;
  const expected = relation === "step" ? "transaction" : relation;
  if (item.by !== expected) yield `${what} shows ${last[0]} as a ${item.by}; it was a ${expected}`;
  if (ran.length > 1 && item.by !== "transaction") yield `${what} shows ${ran.length} commands as one ${item.by}`;
  const asked = recording.requestOf(unitOf(last[0]));
  if (asked?.outcome.kind === "ok" && asked.outcome.sequence !== item.sequence) {
    yield `${what} shows ${last[0]}, which was acknowledged as standing in batch ${asked.outcome.sequence}`;
  }
}
