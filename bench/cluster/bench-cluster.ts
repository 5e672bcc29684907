/**
 * A cluster on this machine for the benchmark: the engine's servers as `onefold cluster up` starts them, and nodes of the benchmark's system,
 * each a process of its own.
 *
 * BC1 No process outlives this one, however it ends: servers have a watcher, nodes look for their parent.
 * BC2 A node keeps its name, its directory and, from its second life on, its port.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { NatsCluster } from "../../src/cli/cluster/nats-cluster.ts";
import { natsPlan } from "../../src/cli/cluster/nats-plan.ts";
import { provideNatsServer } from "../../src/cli/cluster/provided-nats-server.ts";
import type { ClusterView } from "../../src/wire/cluster-view.ts";
import { type Child, startChild } from "../process/child.ts";
import type { ClusterNodeJob } from "../process/cluster-node.ts";

export interface BenchClusterOptions {
  readonly directory: string;
  readonly nodeCount: number;
  /** Undefined: as many as a cluster is founded with by default. */
  readonly shardCount: number | undefined;
}

/** Its cluster's name in the engine. */
export const engineName = "bench";
const serverCount = 3;
const servedMsMax = 60_000;
const pollMs = 25;

interface Node {
  readonly name: string;
  readonly directory: string;
  child: Child | undefined;
  port: number;
}

export class BenchCluster {
  readonly #options: BenchClusterOptions;
  readonly servers: NatsCluster;
  readonly #nodes: readonly Node[];

  private constructor(options: BenchClusterOptions, servers: NatsCluster) {
    this.#options = options;
    this.servers = servers;
    this.#nodes = Array.from({ length: options.nodeCount }, (_, index) => {
      const name = `n${index + 1}`;
      return { name, directory: join(options.directory, name), child: undefined, port: 0 };
    });
  }

  /** Resolves when every shard is served. Rejects, with nothing left running, where that does not come about. */
  static async start(options: BenchClusterOptions): Promise<BenchCluster> {
    const directory = join(options.directory, "engine");
    await mkdir(directory, { recursive: true });
    const { path: program } = await provideNatsServer((sentence) => console.error(sentence));
    const plan = await natsPlan({ directory, serverCount });
    const cluster = new BenchCluster(options, await NatsCluster.start({ program, plan, directory }));
    try {
      await Promise.all(cluster.nodeNames.map((name) => cluster.startNode(name)));
      await cluster.untilServed();
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  get nodeNames(): readonly string[] {
    return this.#nodes.map(({ name }) => name);
  }

  /** Of the nodes' ports, in the order of their names. */
  get ports(): readonly number[] {
    return this.#nodes.map(({ port }) => port);
  }

  get urls(): readonly string[] {
    return this.ports.map((port) => `http://127.0.0.1:${port}`);
  }

  /** Resolves when it is a member. */
  async startNode(name: string): Promise<void> {
    const node = this.#node(name);
    const { shardCount } = this.#options;
    const job: ClusterNodeJob = {
      name,
      directory: node.directory,
      port: node.port,
      cluster: engineName,
      servers: this.servers.urls,
      login: this.servers.account,
      systemLogin: this.servers.systemAccount,
      ...(shardCount === undefined ? {} : { shardCount }),
    };
    node.child = await startChild("cluster-node", job);
    node.port = (node.child.ready as { readonly port: number }).port;
  }

  /** As if its machine lost power. Resolves when it is gone. */
  async killNode(name: string): Promise<void> {
    const { child } = this.#node(name);
    this.#node(name).child = undefined;
    await child?.kill();
  }

  /** Asks it to finish and hand over, as SIGTERM does. Resolves when it has ended. */
  async stopNode(name: string): Promise<void> {
    const { child } = this.#node(name);
    this.#node(name).child = undefined;
    await child?.close();
  }

  /** What the cluster says of itself, by the first node that answers. Rejects where none does. */
  async view(): Promise<ClusterView> {
    let failure: unknown = new Error("no node runs");
    for (const { child, port } of this.#nodes) {
      if (child === undefined) continue;
      try {
        const response = await fetch(`http://127.0.0.1:${port}/v1/cluster`, { signal: AbortSignal.timeout(2000) });
        if (response.ok) return (await response.json()) as ClusterView;
        failure = new Error(await response.text());
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  /** Resolves when all nodes are members, every shard has its owner, who serves it, and no node owns two more than another. */
  async untilServed(): Promise<ClusterView> {
    const untilMs = performance.now() + servedMsMax;
    let last: unknown;
    while (performance.now() < untilMs) {
      try {
        const view = await this.view();
        const live = view.nodes.filter(({ status, answers }) => status === "live" && answers);
        if (live.length === this.#nodes.length && view.shards.every(isSettled) && isBalanced(view)) return view;
        last = view;
      } catch (error) {
        last = error;
      }
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
    throw new Error(`the cluster does not come to serve all shards: ${JSON.stringify(last)}`);
  }

  /** Nodes first, then the servers. Idempotent. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#nodes.map(({ child }) => child?.close()));
    await this.servers.stop();
  }

  #node(name: string): Node {
    const node = this.#nodes.find((each) => each.name === name);
    if (node === undefined) throw new Error(`there is no node ${name}`);
    return node;
  }
}

/** Else the controller is going to move more. */
function isBalanced({ nodes, shards }: ClusterView): boolean {
  const counts = nodes.map(({ name }) => shards.filter(({ owner }) => owner === name).length);
  return Math.max(...counts) - Math.min(...counts) <= 1;
}

function isSettled({ status, isServed, movingTo }: ClusterView["shards"][number]): boolean {
  return status === "active" && isServed && movingTo === null;
}
