/** The engine of a cluster, as a node is given it: what keeps the logs, and what keeps snapshots. */
import type { LogEngine } from "../log/engine-log.ts";
import type { Blobs } from "../store/blobs.ts";

export interface ClusterEngine {
  readonly logs: LogEngine;
  /** Places for blobs, by name, on the region's servers if one is given; made when they are first written to. */
  blobs(place: string, region?: string): Blobs;
  /** Idempotent; `logs` is closed with it. */
  close(): Promise<void>;
}
