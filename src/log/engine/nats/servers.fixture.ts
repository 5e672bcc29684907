/** Real servers for the tests of the engine: a cluster of its own for each file, in a directory that goes with it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { natsServerForTests } from "../../../../scripts/nats-server.ts";
import { NatsCluster } from "../../../cli/cluster/nats-cluster.ts";
import { natsPlan } from "../../../cli/cluster/nats-plan.ts";
import { connectNatsEngine, type NatsEngine, type NatsEngineOptions } from "./nats-engine.ts";

export interface ServersOptions {
  readonly serverCount: 1 | 3;
  /** `always`, if absent. */
  readonly syncInterval?: string;
}

export class TestServers {
  readonly cluster: NatsCluster;
  readonly #directory: string;
  readonly #engines: NatsEngine[] = [];
  #prefixCount = 0;

  private constructor(cluster: NatsCluster, directory: string) {
    this.cluster = cluster;
    this.#directory = directory;
  }

  static async start({ serverCount, ...options }: ServersOptions): Promise<TestServers> {
    const { path: program } = await natsServerForTests();
    const directory = await mkdtemp(join(tmpdir(), "onefold-nats-"));
    const plan = await natsPlan({ directory, serverCount });
    return new TestServers(await NatsCluster.start({ program, plan, directory, ...options }), directory);
  }

  /** A connection of its own, to any of the servers if `options` name none. Closed with the servers at the latest. */
  async connect(options: Partial<NatsEngineOptions> = {}): Promise<NatsEngine> {
    const { urls, account, systemAccount, names } = this.cluster;
    const engine = await connectNatsEngine({
      servers: urls,
      login: account,
      systemLogin: systemAccount,
      cluster: "test",
      replicaCount: names.length === 1 ? 1 : 3,
      ...options,
    });
    this.#engines.push(engine);
    return engine;
  }

  /** Begins names of logs that nobody else uses. */
  newPrefix(): string {
    return `t${++this.#prefixCount}-`;
  }

  async dispose(): Promise<void> {
    for (const engine of this.#engines) await engine.close();
    await this.cluster.killAll();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Lets what is under way arrive: real time passes. */
export function pass(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5));
}

/** Looks at a condition until it holds. Throws where it doesn't within the time. */
export async function until(condition: () => boolean | Promise<boolean>, atMostMs = 30_000): Promise<void> {
  const deadlineMs = performance.now() + atMostMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`What is waited for has not come within ${atMostMs} ms.`);
    await pass();
  }
}
