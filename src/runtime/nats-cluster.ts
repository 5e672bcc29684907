/** The engine of a cluster on NATS JetStream, for a node that is told by plain data where it is. */
import { OnefoldError } from "../base/errors.ts";
import type { NatsLogin, NatsTls } from "../log/engine/nats/connection.ts";
import type { NatsEngineOptions } from "../log/engine/nats/nats-engine.ts";
import type { EngineLogin, PromotionTarget } from "../wire/promotion.ts";
import type { ClusterEngine } from "./cluster-engine.ts";

/** Of letters and digits alone, as names in the engine are. Two systems whose names differ in other characters need a name that is given. */
export function engineNameOf(systemName: string): string {
  return systemName.toLowerCase().replaceAll(/[^a-z0-9]/g, "");
}

/** Throws `unavailable` (retry safe) where none of the servers is reached, `invalid-configuration` (never) for a name that can't be. */
export async function connectTarget(target: PromotionTarget, systemName: string): Promise<ClusterEngine> {
  const { to, engineName: cluster = engineNameOf(systemName), replicaCount = 3, account, system, tls } = target;
  if (!/^[a-z0-9]{1,32}$/.test(cluster)) {
    const message = `A cluster's name in its engine has up to 32 of a-z and 0-9, and '${cluster}' is none. Give one with --engine-name.`;
    throw new OnefoldError("invalid-configuration", message);
  }
  return connectNatsCluster({
    servers: to.split(",").map((server) => server.trim()),
    cluster,
    replicaCount,
    login: account && loginOf(account),
    systemLogin: system && loginOf(system),
    tls,
  });
}

/** Where the engine is, and who the node is to it. */
export interface NatsClusterTarget {
  readonly servers: readonly string[];
  readonly cluster: string;
  readonly replicaCount: NatsEngineOptions["replicaCount"];
  readonly login: NatsLogin | undefined;
  readonly systemLogin: NatsLogin | undefined;
  readonly tls: NatsTls | undefined;
}

/** Logs and blobs over one connection. Throws `unavailable` (retry safe) where none of the servers is reached. */
export async function connectNatsCluster(target: NatsClusterTarget): Promise<ClusterEngine> {
  // Loaded by those that are, or come to be, part of a cluster.
  const { connectNatsEngine } = await import("../log/engine/nats/nats-engine.ts");
  const { natsBlobs } = await import("../store/engine/nats-blobs.ts");
  const { servers, cluster, replicaCount, login, systemLogin, tls } = target;
  const logs = await connectNatsEngine({
    servers,
    cluster,
    replicaCount,
    ...(login === undefined ? {} : { login }),
    ...(systemLogin === undefined ? {} : { systemLogin }),
    ...(tls === undefined ? {} : { tls }),
  });
  const blobs = natsBlobs({ connection: logs.connection, cluster, replicaCount });
  return { logs, blobs, close: () => logs.close() };
}

function loginOf(login: EngineLogin): NatsLogin {
  return "credentials" in login ? { credentials: Buffer.from(login.credentials, "base64") } : login;
}
