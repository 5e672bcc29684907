/**
 * What happened to one entity, newest first, read from the log: every effect names the batch that touched its entity before,
 * so a page costs as many batches as it shows, whatever the log holds.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { decodeValue } from "../base/value.ts";
import type { Log } from "../log/log.ts";
import type { Past } from "../log/past.ts";
import { decodeBatch, type EntityEffect, type Entry } from "./batch.ts";
import type { BinaryString } from "./keys.ts";
import { pageLimit } from "./listing.ts";
import type { HistoryItem, HistoryReply, PageOptions } from "./service.ts";

/** Throws `malformed` for a bad cursor or limit, `damaged` where the log is, and for its past as `Past.read`. */
export async function history(
  { log, past }: { readonly log: Log; readonly past: Past | undefined },
  latest: { readonly name: BinaryString; readonly lastSequence: number },
  options: PageOptions,
  limits: Limits,
): Promise<HistoryReply> {
  const limit = pageLimit(options.limit, limits);
  const start = options.cursor === undefined ? undefined : parseCursor(options.cursor);
  // Of the first batch, how many of its effects (from its begin) have not been shown yet.
  let before = start?.before ?? Number.POSITIVE_INFINITY;
  const items: HistoryItem[] = [];
  for (let sequence = start?.sequence ?? latest.lastSequence; sequence > 0; before = Number.POSITIVE_INFINITY) {
    const isPast = sequence < log.firstSequence;
    const record = isPast ? await past?.read(sequence) : await log.read(sequence);
    if (isPast && record === undefined) return { items, trimmed: true };
    const effects = record?.kind === "batch" ? effectsOn(latest.name, decodeBatch(record.payload)) : [];
    if (record === undefined || effects.length === 0) {
      // A cursor that was made up names any place; the links of the history itself are to be trusted.
      if (sequence === start?.sequence) throw badCursor();
      throw new OnefoldError("damaged", `The log's batch ${sequence} does not speak of the entity.`);
    }
    for (let index = Math.min(before, effects.length) - 1; index >= 0; index--) {
      if (items.length === limit) return { items, cursor: `${sequence}.${index + 1}`, trimmed: false };
      const { entry, effect } = effects[index]!;
      items.push(historyItem(entry, effect, { sequence, timeMs: record.timeMs }));
    }
    sequence = effects[0]!.effect.previousSequence;
  }
  return { items, trimmed: false };
}

interface EntryEffect {
  readonly entry: Entry;
  readonly effect: EntityEffect;
}

function effectsOn(name: BinaryString, entries: readonly Entry[]): EntryEffect[] {
  return entries.flatMap((entry) =>
    entry.effects.filter((effect) => effect.name === name).map((effect) => ({ entry, effect })),
  );
}

/** What an entry did to one entity, for people. */
export function historyItem(
  entry: Entry,
  effect: EntityEffect,
  { sequence, timeMs }: { readonly sequence: number; readonly timeMs: number },
): HistoryItem {
  const { state, generation, version, items } = effect;
  return {
    sequence,
    timeMs,
    generation,
    version,
    command: entry.command,
    by: entry.origin,
    subject: entry.subject,
    ...(state === undefined ? {} : { state: state === null ? null : decodeValue(state) }),
    itemCount: items.length,
  };
}

function parseCursor(cursor: string): { readonly sequence: number; readonly before: number } {
  const match = /^(\d{1,15})\.(\d{1,9})$/.exec(cursor);
  if (match === null) throw badCursor();
  return { sequence: Number(match[1]), before: Number(match[2]) };
}

function badCursor(): OnefoldError {
  return new OnefoldError("malformed", "The cursor is not one from this history.");
}
