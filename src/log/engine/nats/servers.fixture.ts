/** Real servers for the tests of the engine: a cluster of its own for each file, in a directory that goes with it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OnefoldError } from "../../../base/errors.ts";
import { natsServerForTests } from "../../../../scripts/nats-server.ts";
import { NatsCluster } from "../../../cli/cluster/nats-cluster.ts";
import { natsPlan } from "../../../cli/cluster/nats-plan.ts";
import { logStream } from "./names.ts";
import { connectNatsEngine, type NatsEngine, type NatsEngineOptions } from "./nats-engine.ts";
import type { StreamInfo } from "./stream-config.ts";

export interface ServersOptions {
  readonly serverCount: 1 | 3;
  /** `always`, if absent. */
  readonly syncInterval?: string;
}

const startTriesMax = 3;

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
    for (let tries = 1; ; tries++) {
      const directory = await mkdtemp(join(tmpdir(), "onefold-nats-"));
      try {
        const plan = await natsPlan({ directory, serverCount });
        return new TestServers(await NatsCluster.start({ program, plan, directory, ...options }), directory);
      } catch (error) {
        await rm(directory, { recursive: true, force: true });
        // Another test may have taken one of the ports meanwhile.
        if (tries === startTriesMax) throw error;
      }
    }
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

/** What the engine tells of a log's stream; undefined where nobody answers. */
export async function streamInfo(engine: NatsEngine, log: string): Promise<StreamInfo | undefined> {
  try {
    const answer = await engine.connection.api<StreamInfo>(`STREAM.INFO.${logStream("test", log)}`);
    return "value" in answer ? answer.value : undefined;
  } catch (error) {
    if (error instanceof OnefoldError && error.code === "unavailable") return undefined;
    throw error;
  }
}

/** The server that leads a log, once one does. */
export async function leaderOf(engine: NatsEngine, log: string): Promise<string> {
  let leader: string | undefined;
  await until(async () => {
    leader = (await streamInfo(engine, log))?.cluster?.leader;
    return leader !== undefined;
  });
  return leader!;
}

/** Makes a server the leader of a log, and waits until it is. */
export async function makeLeader(engine: NatsEngine, log: string, server: string): Promise<void> {
  let asked = 0;
  await until(async () => {
    if ((await leaderOf(engine, log)) === server) return true;
    // It stands for election on its own time, so it is not asked at every look.
    if (asked++ % 100 === 0) {
      await engine.connection.api(`STREAM.LEADER.STEPDOWN.${logStream("test", log)}`, {
        placement: { preferred: server },
      });
    }
    return false;
  });
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
