/**
 * The cluster of a run: servers of the engine and nodes, each a process that can be killed, stopped and started by itself.
 *
 * CL1 A party that ends though nobody meant it to is started again a second later, as a supervisor would, and noted.
 * CL2 A party comes up again with its data and its addresses.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import {
  freePorts,
  monitorUrl,
  natsConfig,
  type NatsMemberPlan,
  type NatsPlan,
  natsPlan,
} from "../../src/cli/cluster/nats-plan.ts";
import { anyNode, clients, type Link, type Party, type RunNetwork } from "./links.ts";
import { type ProcessEnd, RunProcess } from "./process.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const program = join(root, "dist", "cli", "main.js");
const systemPath = join(root, "scripts", "chaos", "system.ts");
const restartMs = 1000;
/** After so long a node that was asked to end is killed, and that is a finding. */
export const stopMsMax = 45_000;
const shardCount = 8;
const serverCount = 3;

export interface ChaosClusterOptions {
  readonly directory: string;
  readonly natsServer: string;
  readonly nodeCount: number;
  readonly network: RunNetwork;
  /** Something happened that nobody asked for. */
  readonly onNote: (sentence: string) => void;
}

interface NodePorts {
  readonly http: number;
  readonly peers: number;
}

/** Of a cluster with so many nodes: the nodes, then the servers. */
export function partiesOf(nodeCount: number): readonly Party[] {
  const named = (letter: string, count: number): readonly Party[] =>
    Array.from({ length: count }, (_, index) => `${letter}${index + 1}`);
  return [...named("n", nodeCount), ...named("e", serverCount)];
}

export class ChaosCluster {
  readonly nodes: readonly Party[];
  readonly servers: readonly Party[];
  readonly #options: ChaosClusterOptions;
  readonly #plan: NatsPlan;
  readonly #ports: ReadonlyMap<Party, NodePorts>;
  readonly #processes = new Map<Party, RunProcess>();
  /** Those that are to run. */
  readonly #wanted = new Set<Party>();
  readonly #killed = new WeakSet<RunProcess>();

  private constructor(options: ChaosClusterOptions, plan: NatsPlan, ports: ReadonlyMap<Party, NodePorts>) {
    this.#options = options;
    this.#plan = plan;
    this.#ports = ports;
    this.nodes = [...ports.keys()];
    this.servers = plan.members.map(({ name }) => name);
  }

  /** Plans all, opens the network's links, and starts nothing. */
  static async make(options: ChaosClusterOptions): Promise<ChaosCluster> {
    const { directory, nodeCount, network } = options;
    const engine = await natsPlan({ directory: join(directory, "engine"), serverCount });
    const taken = new Set(engine.members.flatMap((each) => [each.clientPort, each.routePort, each.monitorPort]));
    const plan = { ...engine, members: engine.members.map((each) => ({ ...each, host: network.hostOf(each.name) })) };
    const free = (await freePorts(taken.size + 2 * nodeCount)).filter((port) => !taken.has(port));
    const ports = new Map(
      Array.from({ length: nodeCount }, (_, index) => [
        `n${index + 1}`,
        { http: free[2 * index]!, peers: free[2 * index + 1]! },
      ]),
    );
    const cluster = new ChaosCluster(options, plan, ports);
    await network.open(cluster.#links());
    await writeFile(
      join(directory, "engine.json"),
      JSON.stringify({ account: plan.account, system: plan.systemAccount }),
      { mode: 0o600 },
    );
    return cluster;
  }

  /** Of all nodes, as clients reach them. */
  get urls(): readonly string[] {
    return this.nodes.map((node) => this.urlOf(node));
  }

  urlOf(node: Party): string {
    return `http://${this.#options.network.addressOf({ from: clients, to: node, port: this.#portsOf(node).http })}`;
  }

  storeOf(server: Party): string {
    return join(this.#options.directory, "engine", server, "store");
  }

  isRunning(party: Party): boolean {
    return this.#processes.get(party)?.isRunning === true;
  }

  pidOf(party: Party): number | undefined {
    return this.#processes.get(party)?.pid;
  }

  async startAll(): Promise<void> {
    for (const server of this.servers) await this.start(server);
    for (const node of this.nodes) await this.start(node);
  }

  /** Nothing where it runs. Resolves when its process is there, which says nothing of its serving. */
  async start(party: Party): Promise<void> {
    this.#wanted.add(party);
    if (this.isRunning(party)) return;
    const { directory, network } = this.#options;
    await mkdir(join(directory, "logs"), { recursive: true });
    const command = this.nodes.includes(party) ? this.#nodeCommand(party) : await this.#serverCommand(party);
    if (!this.#wanted.has(party) || this.isRunning(party)) return;
    const [first, ...rest] = [...network.prefixOf(party), ...command];
    const process = new RunProcess({
      command: [first!, ...rest],
      environment: { ONEFOLD_LOG_FORMAT: "text" },
      logPath: join(directory, "logs", `${party}.log`),
    });
    this.#processes.set(party, process);
    void process.ended.then((end) => this.#ended(party, process, end));
  }

  /** SIGKILL; resolves when it is gone. It stays so until `start`. */
  async kill(party: Party): Promise<void> {
    this.#wanted.delete(party);
    const process = this.#processes.get(party);
    if (process === undefined) return;
    this.#killed.add(process);
    process.signal("SIGKILL");
    await process.ended;
  }

  /** SIGTERM; gives how it ended, undefined where it was killed meanwhile. It stays so until `start`. */
  async stop(party: Party): Promise<ProcessEnd | undefined> {
    this.#wanted.delete(party);
    const process = this.#processes.get(party);
    const end = await process?.stop(stopMsMax);
    return process !== undefined && this.#killed.has(process) ? undefined : end;
  }

  pause(party: Party): void {
    this.#processes.get(party)?.signal("SIGSTOP");
  }

  resume(party: Party): void {
    this.#processes.get(party)?.signal("SIGCONT");
  }

  async killAll(): Promise<void> {
    await Promise.all([...this.nodes, ...this.servers].map((party) => this.kill(party)));
  }

  /** What a server says is wrong with it; undefined where nothing is. */
  async complaintOf(server: Party): Promise<string | undefined> {
    try {
      const response = await fetch(`${monitorUrl(this.#member(server))}/healthz`, {
        signal: AbortSignal.timeout(2000),
      });
      const text = await response.text();
      return response.ok ? undefined : text;
    } catch (error) {
      if (error instanceof Error) return error.message;
      throw error;
    }
  }

  #ended(party: Party, process: RunProcess, end: ProcessEnd): void {
    if (!this.#wanted.has(party) || this.#processes.get(party) !== process) return;
    this.#options.onNote(`${party} has ended by itself (${end}); it is started again.`);
    void sleep(restartMs).then(() => (this.#wanted.has(party) ? this.start(party) : undefined));
  }

  #links(): readonly Link[] {
    const { members } = this.#plan;
    return [
      ...this.nodes.flatMap((node) => [
        ...members.map(({ name, clientPort }) => ({ from: node, to: name, port: clientPort })),
        { from: anyNode, to: node, port: this.#portsOf(node).peers },
        { from: clients, to: node, port: this.#portsOf(node).http },
      ]),
      ...members.flatMap(({ name }) => this.#routesOf(name)),
    ];
  }

  /** Servers need one to another each; which of two connections stays is theirs to find out. */
  #routesOf(server: Party): readonly Link[] {
    return this.#plan.members
      .filter(({ name }) => name !== server)
      .map(({ name, routePort }) => ({ from: server, to: name, port: routePort }));
  }

  async #serverCommand(server: Party): Promise<readonly string[]> {
    const { directory, natsServer, network } = this.#options;
    const engine = join(directory, "engine");
    await mkdir(join(engine, server), { recursive: true });
    const path = join(engine, server, "server.conf");
    const routes = this.#routesOf(server).map((link) => network.addressOf(link));
    const text = natsConfig(this.#plan, this.#member(server), { directory: engine, routes });
    await writeFile(path, text, { mode: 0o600 });
    return [natsServer, "--config", path];
  }

  #nodeCommand(node: Party): readonly string[] {
    const { directory, network } = this.#options;
    const { http, peers } = this.#portsOf(node);
    const host = network.hostOf(node);
    const engine = this.#plan.members.map(
      ({ name, clientPort }) => `nats://${network.addressOf({ from: node, to: name, port: clientPort })}`,
    );
    return [
      ...[process.execPath, program, "start", systemPath],
      ...["--cluster", engine.join(",")],
      ...["--engine-credentials", join(directory, "engine.json")],
      ...["--name", node],
      ...["--data", join(directory, node)],
      ...["--host", host, "--port", String(http), "--http-url", this.urlOf(node)],
      ...["--node-address", network.addressOf({ from: anyNode, to: node, port: peers })],
      ...["--node-listen", `${host}:${peers}`],
      ...["--shards", String(shardCount)],
      "--json",
    ];
  }

  #member(server: Party): NatsMemberPlan {
    return this.#plan.members.find(({ name }) => name === server)!;
  }

  #portsOf(node: Party): NodePorts {
    return this.#ports.get(node)!;
  }
}
