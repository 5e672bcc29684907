/** A node on a real machine: the data directory's disk, the LMDB store, and the process's own clock. */
import type { Limits } from "../base/limits.ts";
import type { OnefoldError } from "../base/errors.ts";
import type { SystemHandle } from "../entity/definition.ts";
import type { Service } from "../entity/service.ts";
import { nodeHost } from "../host/node/host.ts";
import type { Host, Trace } from "../host/host.ts";
import { lmdbStore } from "../store/engine/lmdb.ts";
import { dataLayout } from "./data-layout.ts";
import { EmbeddedNode, type OpeningProgress } from "./embedded.ts";

export interface NodeOptions {
  readonly system: SystemHandle;
  /** Made if it is not there. One process at a time. */
  readonly dataDirectory: string;
  /** Where log lines go; standard error unless given. */
  readonly trace?: Trace;
  /** Memory for entities that are not in use just now; default 64 MiB. */
  readonly cacheBytes?: number;
  readonly snapshotBytes?: number;
  readonly limits?: Partial<Limits>;
  readonly onProgress?: (progress: OpeningProgress) => void;
  readonly onStopped?: (error: OnefoldError) => void;
}

export interface OnefoldNode {
  readonly service: Service;
  readonly host: Host;
  readonly embedded: EmbeddedNode;
  close(): Promise<void>;
}

/** Opens, or makes, the data directory and serves it in this process. Throws as `EmbeddedNode.open`. */
export async function openNode(options: NodeOptions): Promise<OnefoldNode> {
  const { dataDirectory, trace, ...rest } = options;
  const host = nodeHost({ dataDirectory, ...(trace === undefined ? {} : { trace }) });
  const storeEngine = lmdbStore({ directory: `${dataDirectory}/${dataLayout.store}`, trace: host.trace });
  const embedded = await EmbeddedNode.open({ ...rest, host, storeEngine });
  return { service: embedded.service, host, embedded, close: () => embedded.close() };
}
