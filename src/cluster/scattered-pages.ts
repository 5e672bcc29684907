/**
 * Reads over all shards, put together: pages of ids, of changes and of dead letters.
 *
 * SP1  Every shard's part is in its own order, complete, and shows once: a page's cursor says of each shard how far it has been shown.
 * SP2  A page has at most as many items as were asked for.
 */
import { compareUtf8, encodeUtf8 } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { decodeValue, encodeValue } from "../base/value.ts";
import type { ChangeItem, ChangesReply, DeadLetterItem, DeadLettersReply, ListReply } from "../entity/service.ts";

/** What one shard has answered. */
export interface ShardPage<R> {
  readonly shard: string;
  readonly reply: R;
}

/** How far each shard has been shown, by its own account. */
export type ShardCursors = ReadonlyMap<string, string>;

/** In order of the ids' bytes. Every shard goes on behind one id, so one cursor is good for all of them, also after a split. */
export function mergedList(pages: readonly ShardPage<ListReply>[], limit: number): ListReply {
  const parts = pages.map(({ reply }) => ({ items: reply.ids, isLast: reply.cursor === undefined }));
  const { items: ids, isLast } = merged(parts, limit, (a, b) => compareUtf8(a, b) <= 0);
  if (isLast) return { ids };
  return { ids, cursor: Buffer.from(encodeUtf8(ids.at(-1)!)).toString("base64url") };
}

/** All items of all pages, by time, without changing the order within a shard: its times never go back. */
export function mergedChanges(
  pages: readonly ShardPage<ChangesReply>[],
  before: ShardCursors,
  log: string,
): ChangesReply {
  const after = new Map(before);
  for (const { shard, reply } of pages) after.set(shard, reply.next);
  const parts = pages.map(({ reply }) => ({ items: reply.items, isLast: true }));
  const { items } = merged<ChangeItem>(parts, Number.POSITIVE_INFINITY, (a, b) => a.timeMs <= b.timeMs);
  return { items, next: encodeCursors(after), log, trimmed: pages.some(({ reply }) => reply.trimmed) };
}

/** Newest first. A letter is named by its shard and its place there. */
export function mergedDeadLetters(
  pages: readonly ShardPage<DeadLettersReply>[],
  before: ShardCursors,
  limit: number,
): DeadLettersReply {
  const parts = pages.map(({ shard, reply }) => ({
    items: reply.items.map((item) => ({ shard, item })),
    isLast: reply.cursor === undefined,
  }));
  const { items: shown, isLast } = merged(parts, limit, (a, b) => a.item.timeMs >= b.item.timeMs);
  const after = new Map(before);
  for (const { shard, item } of shown) after.set(shard, item.letter);
  const removed = pages.reduce((sum, { reply }) => sum + reply.removed, 0);
  const items: DeadLetterItem[] = shown.map(({ shard, item }) => ({ ...item, letter: `${shard}:${item.letter}` }));
  return isLast ? { items, removed } : { items, cursor: encodeCursors(after), removed };
}

interface Part<T> {
  readonly items: readonly T[];
  /** Nothing follows these. */
  readonly isLast: boolean;
}

/**
 * Merges parts that are in order each, up to `limit` items, and no farther than every part is known. `goesFirst` decides between heads.
 * `isLast`: nothing is left.
 */
function merged<T>(
  parts: readonly Part<T>[],
  limit: number,
  goesFirst: (a: T, b: T) => boolean,
): { readonly items: readonly T[]; readonly isLast: boolean } {
  const heads = parts.map((part) => ({ part, at: 0 }));
  const items: T[] = [];
  for (;;) {
    let best: (typeof heads)[number] | undefined;
    for (const head of heads) {
      if (head.at === head.part.items.length) {
        // What it has next is not known, and might be what goes first.
        if (!head.part.isLast) return { items, isLast: false };
      } else if (best === undefined || !goesFirst(best.part.items[best.at]!, head.part.items[head.at]!)) {
        best = head;
      }
    }
    if (best === undefined) return { items, isLast: true };
    if (items.length >= limit) return { items, isLast: false };
    items.push(best.part.items[best.at++]!);
  }
}

export function encodeCursors(cursors: ShardCursors): string {
  return Buffer.from(encodeValue([...cursors].map(([shard, cursor]) => [shard, cursor]))).toString("base64url");
}

/** Throws `malformed` for what `encodeCursors` has not given. */
export function decodeCursors(text: string, what: string, { scatteredShardsMax }: Limits): ShardCursors {
  const cursors = new Map<string, string>();
  try {
    const pairs = decodeValue(new Uint8Array(Buffer.from(text, "base64url")));
    if (Array.isArray(pairs) && pairs.length <= scatteredShardsMax) {
      for (const [shard, cursor] of pairs as readonly (readonly [unknown, unknown])[]) {
        if (typeof shard === "string" && typeof cursor === "string") cursors.set(shard, cursor);
      }
      if (cursors.size === pairs.length) return cursors;
    }
  } catch (error) {
    // Not `damaged`: it is the caller's text.
    if (!(error instanceof OnefoldError || error instanceof TypeError)) throw error;
  }
  throw new OnefoldError("malformed", `${what} is not one that this system has given out.`);
}
