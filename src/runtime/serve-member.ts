/**
 * A whole node of a cluster behind its port. Without signals, terminals or ambient settings; the command line adds those.
 *
 * SM1 The port listens before the node is a member: probes and callers are told what it waits for.
 * SM2 `close` finishes what was accepted, then hands over what the node owns: the order is port, gateway, node, engine, data directory.
 */
import type { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { version } from "../base/version.ts";
import type { SystemHandle } from "../entity/definition.ts";
import { createGateway } from "../gateway/gateway.ts";
import type { GatewayTls } from "../gateway/http-server.ts";
import type { Trace } from "../host/host.ts";
import { nodeHost } from "../host/node/host.ts";
import type { NetworkTls } from "../host/node/network-tls.ts";
import type { ClusterEngine } from "./cluster-engine.ts";
import { dataLayout } from "./data-layout.ts";
import { MemberNode, type MemberPlace } from "./member.ts";
import { memberMetrics } from "./member-metrics.ts";
import { memberStores } from "./member-stores.ts";
import { meteredHost } from "./metered-host.ts";
import { LogMeter, MeteredLog } from "./metered-log.ts";
import { MeteredService } from "./metered-service.ts";
import type { Served } from "./serve.ts";

export interface ServeMemberOptions extends MemberPlace {
  readonly system: SystemHandle;
  /** Absolute, or relative to the process's working directory; made if it is not there. */
  readonly dataDirectory: string;
  /** Anything but loopback needs a system with `authenticate`. */
  readonly hostname: string;
  /** 0 for any free one. */
  readonly port: number;
  /** Where others reach the port; default: where it listens. */
  readonly httpUrl?: string;
  /** Serves HTTPS. Absent: plain HTTP. */
  readonly tls?: GatewayTls;
  readonly connectEngine: (trace: Trace) => Promise<ClusterEngine>;
  readonly trace?: Trace;
  /** Between nodes. Absent: neither encrypted nor authenticated. */
  readonly networkTls?: NetworkTls;
  /** Where peers are listened for, `host:port`, if not at `address`, which they know. */
  readonly listenOn?: string;
  readonly limits?: Partial<Limits>;
  /** Memory for entities that are not in use just now, of all shards together; default 64 MiB. */
  readonly cacheBytes?: number;
  readonly snapshotBytes?: number;
  /** The node has stopped for good and answers nothing any more: end the process, and start another. */
  readonly onStopped?: (error: OnefoldError) => void;
}

export interface ServedMember extends Served {
  readonly member: MemberNode;
  /** Resolves when the node is a member, or closed. Throws what no waiting mends: `invalid-configuration`, `damaged` (retry never). */
  readonly joined: Promise<void>;
}

/** As many as a cluster is likely to give one node; more take more memory. */
const shardsExpected = 16;
const cacheBytesDefault = 64 * 1024 * 1024;
/** So much a shard may have in any case, however many there are. */
const cacheBytesMin = 2 * 1024 * 1024;

/** Resolves once the port listens (SM1). Throws `data-directory-busy` (retry safe), `invalid-configuration` (never). */
export async function serveMember(options: ServeMemberOptions): Promise<ServedMember> {
  const {
    hostname,
    port,
    httpUrl,
    dataDirectory,
    trace: givenTrace,
    connectEngine,
    networkTls,
    listenOn,
    tls,
    cacheBytes,
    ...rest
  } = options;
  const measured = meteredHost(
    nodeHost({
      dataDirectory,
      ...(givenTrace === undefined ? {} : { trace: givenTrace }),
      ...(networkTls === undefined ? {} : { networkTls }),
      ...(listenOn === undefined ? {} : { networkListenOn: listenOn }),
    }),
  );
  const { host } = measured;
  const { trace } = host;
  const { definition } = options.system;
  const shardsMax = options.shardCount ?? shardsExpected;
  const logMeter = new LogMeter();
  const member = await MemberNode.open({
    ...rest,
    host,
    cacheBytes: Math.max(cacheBytesMin, Math.floor((cacheBytes ?? cacheBytesDefault) / shardsMax)),
    measureLog: (log) => new MeteredLog(log, logMeter, host.clock),
    storeEngine: memberStores({
      directory: `${dataDirectory}/${dataLayout.stores}`,
      trace,
      shardsMax,
    }),
    connectEngine: () => connectEngine(trace),
  });
  try {
    const service = new MeteredService(member.service, definition, host.clock);
    const gateway = await createGateway({
      service,
      system: definition,
      host,
      metrics: {
        metrics: [
          ...memberMetrics(member, { version, system: definition.name }),
          ...service.metrics,
          ...logMeter.metrics,
          ...measured.metrics,
        ],
        processText: async () => (await import("../host/node/process-metrics.ts")).processMetricsText(),
      },
      cluster: member,
      backup: member,
      address: { hostname, port },
      ...(tls === undefined ? {} : { tls }),
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
    await gateway.listen();
    trace("info", "The node listens, and joins its cluster.", {
      url: gateway.url,
      node: options.name,
      system: definition.name,
      version,
    });
    const joined = member.join(httpUrl ?? gateway.url);
    // Whoever serves it looks at it; nobody may, where the process ends first.
    joined.catch(() => undefined);
    let closing: Promise<void> | undefined;
    return {
      url: gateway.url,
      port: gateway.port,
      member,
      joined,
      close: (how = {}) => {
        closing ??= gateway
          .drain(how)
          .then(() => member.close())
          .then(() => trace("info", "The node has ended."));
        return closing;
      },
    };
  } catch (error) {
    await member.close();
    throw error;
  }
}
