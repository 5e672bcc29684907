/** The engine of a cluster, as a node is given it: what keeps the logs, and what keeps snapshots. */
import type { LogEngine } from "../log/engine-log.ts";
import type { Blobs } from "../store/blobs.ts";

export interface ClusterEngine {
  readonly logs: LogEngine;
  /** Places for blobs, by name; made when they are first written to. */
  blobs(place: string): Blobs;
  /** Idempotent; `logs` is closed with it. */
  close(): Promise<void>;
}
