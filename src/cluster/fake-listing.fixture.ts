/** Pages of a listing with a shard's cursors, over a service that lists whatever it is asked for. */
import type { ListReply, PageOptions } from "../entity/service.ts";

export async function list(
  all: (options: { readonly limit: number; readonly cursor?: string }) => Promise<ListReply>,
  { limit = 100, cursor }: PageOptions,
): Promise<ListReply> {
  const after = cursor === undefined ? "" : Buffer.from(cursor, "base64url").toString();
  // Without a cursor of its own, the fake would take ours for an id.
  const { ids } = await all({ limit: 1_000_000, cursor: after });
  if (ids.length <= limit) return { ids };
  const page = ids.slice(0, limit);
  return { ids: page, cursor: Buffer.from(page.at(-1)!).toString("base64url") };
}
