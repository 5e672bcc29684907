/**
 * The load on one subject, in a process of its own, so that no figure depends on what was measured before: opens the subject, measures one
 * family of workloads, and tells the parent what came of it.
 */
import { type Measurement, type MeasurementOptions, measurements } from "../measurement.ts";
import { BenchCluster } from "../cluster/bench-cluster.ts";
import { besidePlainStream } from "../subject/cluster.ts";
import { openHttp } from "../subject/http.ts";
import { openInProcess } from "../subject/in-process.ts";
import { openPostgres } from "../subject/postgres.ts";
import { openRedis } from "../subject/redis.ts";
import { openSocket } from "../subject/socket.ts";
import type { Opponent, Subject, Transport } from "../subject/subject.ts";
import { type Sizes, workloadFamilies } from "../workload/workload.ts";
import { beChild, type Child, startChild, tellParent } from "./child.ts";

/** What the load is put on. */
export type SubjectPlace =
  /** A node that the load makes for itself, with its data in `directory`. */
  | { readonly engine: "segment"; readonly transport: Transport; readonly directory: string }
  /** A cluster that the load makes for itself. */
  | {
      readonly engine: "nats";
      readonly transport: Transport;
      readonly directory: string;
      readonly nodeCount: number;
      readonly shardCount: number | undefined;
    }
  /** A server that is there, on loopback. */
  | { readonly engine: Opponent; readonly port: number };

export interface LoadJob {
  readonly place: SubjectPlace;
  readonly family: string;
  /** The family's workloads that are wanted. */
  readonly workloads: readonly string[];
  readonly sizes: Sizes;
  readonly concurrencies: readonly number[];
  readonly seconds: number;
}

/** So long at least until what runs again and again is compiled, here and in the node. */
const firstWarmSecondsMin = 0.75;
/** A limit takes a third as long as its measurement, but no less than this: its own loop has to get warm as well. */
const limitSecondsMin = 0.25;

/** What the load tells. */
export type LoadNews =
  | { readonly type: "begin"; readonly workload: string; readonly concurrency: number }
  | { readonly type: "measurement"; readonly measurement: Measurement }
  | { readonly type: "done" };

beChild(async (job) => {
  const load = new Load();
  load.run(job as LoadJob).then(
    () => news({ type: "done" }),
    (error: unknown) => {
      if (load.isStopped) return;
      console.error(error);
      process.exit(1);
    },
  );
  return { ready: undefined, close: () => load.stop() };
});

/** One run, and what must be ended with it. */
class Load {
  #isDone = false;
  #isStopped = false;
  #node: Pick<Child, "close"> | undefined;

  /** True once nobody wants to know any more what comes of it. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  async run({ place, family, workloads, sizes, concurrencies, seconds }: LoadJob): Promise<void> {
    const subject = await this.#open(place);
    const wanted = workloadFamilies(sizes)
      .find(({ name }) => name === family)!
      .workloads.filter(({ name }) => workloads.includes(name));
    const onBegin: MeasurementOptions["onBegin"] = (what) => news({ type: "begin", ...what });
    const limitSeconds = Math.max(limitSecondsMin, seconds / 3);
    const firstWarmSeconds = Math.max(firstWarmSecondsMin, seconds);
    const options = { concurrencies, seconds, firstWarmSeconds, limitSeconds, onBegin };
    for await (const measurement of measurements(subject, wanted, options)) news({ type: "measurement", measurement });
    await subject.close();
    await this.#node?.close();
    this.#isDone = true;
  }

  /** Where it is not done: ends its node, which lets go of its data, and then this process. */
  async stop(): Promise<void> {
    if (this.#isDone) return;
    this.#isStopped = true;
    await this.#node?.close();
    process.exit(1);
  }

  async #open(place: SubjectPlace): Promise<Subject> {
    switch (place.engine) {
      case "redis":
        return await openRedis(place.port);
      case "postgres":
        return await openPostgres(place.port);
      case "nats":
        return await this.#openCluster(place);
      case "segment":
        return await this.#openOnefold(place.transport, place.directory);
    }
  }

  async #openOnefold(transport: Transport, directory: string): Promise<Subject> {
    if (transport === "in-process") return await openInProcess(directory);
    const node = await startChild("node", { directory });
    this.#node = node;
    const port = portOf(node);
    return transport === "http"
      ? openHttp({ port, startBareHttp: async () => bareServer(await startChild("bare-http", {})) })
      : openSocket({ port, startBareSocket: async () => bareServer(await startChild("bare-socket", {})) });
  }

  async #openCluster({ transport, ...options }: Extract<SubjectPlace, { readonly engine: "nats" }>): Promise<Subject> {
    const cluster = await BenchCluster.start(options);
    this.#node = cluster;
    const bare = (): Promise<never> => Promise.reject(new Error("a cluster is held against no bare server"));
    const subjects = cluster.ports.map((port) =>
      transport === "http"
        ? openHttp({ port, startBareHttp: bare })
        : openSocket({ port, startBareSocket: bare, isSampled: false }),
    );
    const { urls, account } = cluster.servers;
    return besidePlainStream(subjects, { servers: urls, ...account });
  }
}

function news(what: LoadNews): void {
  tellParent(what);
}

function portOf(child: Child): number {
  return (child.ready as { readonly port: number }).port;
}

function bareServer(child: Child): { readonly port: number; close(): Promise<void> } {
  return { port: portOf(child), close: () => child.close() };
}
