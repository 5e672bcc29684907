/** The stores of a cluster's node: one LMDB file for each log that it has a copy of. */
import type { Trace } from "../host/host.ts";
import { lmdbStore } from "../store/engine/lmdb.ts";
import type { StoreEngine } from "../store/store.ts";

/** A shard's part of the data; costs no memory, see `LmdbStoreOptions`. */
const mapBytes = 16 * 1024 ** 3;
/** Of all stores together, as one store alone has it. */
const residentBytes = 40 * 1024 * 1024;
/** So much of a map is resident in any case, with what one apply touches. */
const residentBytesMin = 4 * 1024 * 1024;

/** The same engine for the same log each time: one store may be open at a time. `shardsMax` shards are to share the memory. */
export function memberStores(options: {
  readonly directory: string;
  readonly trace: Trace;
  readonly shardsMax: number;
}): (log: string) => StoreEngine {
  const { directory, trace, shardsMax } = options;
  const engines = new Map<string, StoreEngine>();
  const bytesMax = Math.max(residentBytesMin, Math.floor(residentBytes / shardsMax));
  return (log) => {
    let engine = engines.get(log);
    if (engine === undefined) {
      engine = lmdbStore({ directory: `${directory}/${log}`, trace, mapBytes, residency: { bytesMax } });
      engines.set(log, engine);
    }
    return engine;
  };
}
