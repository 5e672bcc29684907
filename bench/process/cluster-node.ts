/** A node of the benchmark's cluster, in a process of its own, like the program `onefold start --cluster`. */
import { limitHeapGrowth } from "../../src/host/node/heap.ts";
import type { NatsLogin } from "../../src/log/engine/nats/connection.ts";
import { connectNatsEngine } from "../../src/log/engine/nats/nats-engine.ts";
import { serveMember } from "../../src/runtime/serve-member.ts";
import { natsBlobs } from "../../src/store/engine/nats-blobs.ts";
import { errorsOnly } from "../subject/in-process.ts";
import { benchSystem } from "../system.ts";
import { beChild } from "./child.ts";

export interface ClusterNodeJob {
  readonly name: string;
  readonly directory: string;
  /** 0 for any free one. */
  readonly port: number;
  /** Begins the names of what is in the engine. */
  readonly cluster: string;
  readonly servers: readonly string[];
  readonly login: NatsLogin;
  readonly systemLogin: NatsLogin;
  readonly shardCount?: number;
}

beChild(async (job) => {
  const { name, directory, port, cluster, servers, login, systemLogin, shardCount } = job as ClusterNodeJob;
  limitHeapGrowth();
  const replicaCount = 3;
  const served = await serveMember({
    system: benchSystem,
    dataDirectory: directory,
    name,
    hostname: "127.0.0.1",
    port,
    address: "127.0.0.1:0",
    labels: {},
    connectEngine: async () => {
      const logs = await connectNatsEngine({ servers, cluster, replicaCount, login, systemLogin });
      const blobs = natsBlobs({ connection: logs.connection, cluster, replicaCount });
      return { logs, blobs, close: () => logs.close() };
    },
    allowsLaxEngine: false,
    ...(shardCount === undefined ? {} : { shardCount }),
    trace: errorsOnly,
    onStopped: (error) => {
      console.error(error);
      process.exit(1);
    },
  });
  await served.joined;
  return { ready: { port: served.port }, close: () => served.close({ noticeMs: 0 }) };
});
