/**
 * The digest of a state: what tells whether two stores hold the same. It covers every row of every table but for what is about the log
 * itself (`meta`): each row's key and value, in order of the keys.
 */
import { sha256, sha256Bytes } from "../base/digest.ts";
import type { StoreReader } from "../store/store.ts";
import { tables } from "./keys.ts";

const rowsPerTurn = 500;

/** 32 bytes. `store` must not change meanwhile; `takeTurn` lets other work have its turn. Throws `damaged` where a row is. */
export async function stateDigest(store: StoreReader, takeTurn: () => Promise<void>): Promise<Uint8Array> {
  let digest: Uint8Array = new Uint8Array(sha256Bytes);
  let rows = 0;
  const lengths = new Uint8Array(8);
  const view = new DataView(lengths.buffer);
  for (const { key, value } of store.range({ from: Uint8Array.of(1), to: Uint8Array.of(tables.meta) })) {
    view.setUint32(0, key.length);
    view.setUint32(4, value.length);
    digest = sha256(digest, lengths, key, value);
    if (++rows % rowsPerTurn === 0) await takeTurn();
  }
  return digest;
}
