/** A node on a real machine: the data directory's disk, the LMDB store, and the process's own clock. */
import type { Limits } from "../base/limits.ts";
import type { OnefoldError } from "../base/errors.ts";
import { version } from "../base/version.ts";
import type { SystemHandle } from "../entity/definition.ts";
import type { Service } from "../entity/service.ts";
import { nodeHost } from "../host/node/host.ts";
import type { Host, Trace } from "../host/host.ts";
import type { Log } from "../log/log.ts";
import type { MetricsSource } from "../gateway/metrics.ts";
import { lmdbStore } from "../store/engine/lmdb.ts";
import type { PromotionTarget } from "../wire/promotion.ts";
import type { ClusterEngine } from "./cluster-engine.ts";
import { dataLayout } from "./data-layout.ts";
import { EmbeddedNode, type OpeningProgress } from "./embedded.ts";
import { meteredHost } from "./metered-host.ts";
import { LogMeter, MeteredLog } from "./metered-log.ts";
import { MeteredService } from "./metered-service.ts";
import { connectTarget } from "./nats-cluster.ts";
import { nodeMetrics } from "./node-metrics.ts";

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
  /** What there is to measure of the node and its process, for the gateway's `/metrics`. */
  readonly metrics: MetricsSource;
  close(): Promise<void>;
}

/** Opens, or makes, the data directory and serves it in this process. Throws as `EmbeddedNode.open`. */
export async function openNode(options: NodeOptions): Promise<OnefoldNode> {
  const { dataDirectory, trace, ...rest } = options;
  const measured = meteredHost(nodeHost({ dataDirectory, ...(trace === undefined ? {} : { trace }) }));
  const { host } = measured;
  const storeEngine = lmdbStore({ directory: `${dataDirectory}/${dataLayout.store}`, trace: host.trace });
  const logMeter = new LogMeter();
  const measureLog = (log: Log): Log => new MeteredLog(log, logMeter, host.clock);
  const { definition } = options.system;
  const connectEngine = (target: PromotionTarget): Promise<ClusterEngine> => connectTarget(target, definition.name);
  const embedded = await EmbeddedNode.open({ ...rest, host, storeEngine, measureLog, connectEngine });
  const service = new MeteredService(embedded.service, definition, host.clock);
  const metrics: MetricsSource = {
    metrics: [
      ...nodeMetrics(embedded, { version, system: definition.name, engine: "embedded" }),
      ...service.metrics,
      ...logMeter.metrics,
      ...measured.metrics,
    ],
    // Loaded with the first scrape: what it measures (the event loop's delay, garbage collection) is not free.
    processText: async () => (await import("../host/node/process-metrics.ts")).processMetricsText(),
  };
  return { service, host, embedded, metrics, close: () => embedded.close() };
}
