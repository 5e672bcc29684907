/** Lists the ids of one kind, in order of their bytes, from the store's index. */
import { encodeUtf8 } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { StoreReader } from "../store/store.ts";
import { afterPrefix, type BinaryString, binary, binaryOfBytes, bytesOfBinary, keys, textOfBinary } from "./keys.ts";
import type { ListReply, ReadOptions } from "./service.ts";

/** Throws `malformed` for a cursor that this function has not given out, or a limit that is not one. */
export function list(
  store: StoreReader,
  kind: string,
  options: ReadOptions & { readonly prefix?: string; readonly limit?: number; readonly cursor?: string },
  limits: Limits,
): ListReply {
  const limit = pageLimit(options.limit, limits);
  const base = keys.listingOfKind(options.principal.tenant, kind);
  const prefix = base + binary(options.prefix ?? "");
  const from = options.cursor === undefined ? prefix : `${base}${binary(decodeCursor(options.cursor))}\0\0`;
  const ids: string[] = [];
  const range = {
    from: bytesOfBinary(later(from, prefix)),
    to: bytesOfBinary(afterPrefix(prefix)),
    limit: limit + 1,
  };
  for (const { key } of store.range(range)) ids.push(textOfBinary(binaryOfBytes(key).slice(base.length, -1)));
  if (ids.length <= limit) return { ids };
  const page = ids.slice(0, limit);
  return { ids: page, cursor: Buffer.from(encodeUtf8(page.at(-1)!)).toString("base64url") };
}

/** A cursor may come from a listing with another prefix. */
function later(a: BinaryString, b: BinaryString): BinaryString {
  return [a, b].sort()[1]!;
}

function decodeCursor(cursor: string): string {
  const text = Buffer.from(cursor, "base64url").toString("utf8");
  if (text === "" || text.includes("\0"))
    throw new OnefoldError("malformed", "The cursor is not one from this listing.");
  return text;
}

/** The number of results of one page. Throws `malformed`. */
export function pageLimit(limit: number | undefined, { listLimitDefault, listLimitMax }: Limits): number {
  if (limit === undefined) return listLimitDefault;
  if (!Number.isSafeInteger(limit) || limit < 1)
    throw new OnefoldError("malformed", "A limit is a whole number, 1 or more.");
  return Math.min(limit, listLimitMax);
}
