/** The nodes of a cluster on this machine: started all at once, looked after, and ended. */
import { join } from "node:path";
import { CommandFailure, exitCodes } from "../exit-code.ts";
import { restartMs } from "./local-servers.ts";
import { type NodeEnd, NodeProcess } from "./node-process.ts";

export interface LocalNodesOptions {
  /** Of the system's module. */
  readonly path: string;
  /** Each node has a directory in it, by its name. */
  readonly directory: string;
  readonly count: number;
  readonly regions: readonly string[];
  readonly serversIn: (region: string | undefined) => readonly string[];
  readonly replicaCount: number;
  readonly credentialsPath: string;
  /** The first node's; the others' follow. Undefined: any free ones. */
  readonly port: number | undefined;
  readonly shards: number | undefined;
  readonly followers: number | undefined;
  readonly restarts: boolean;
  readonly onUp: (node: { readonly name: string; readonly pid: number; readonly url: string }) => void;
  readonly onEnd: (name: string) => void;
  readonly onNote: (line: string) => void;
}

/** After so long a node that was asked to end is killed. */
const stopMsMax = 45_000;

export class LocalNodes {
  readonly #options: LocalNodesOptions;
  readonly #nodes = new Map<string, NodeProcess>();
  readonly #urls = new Map<string, string>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #isOver = false;

  constructor(options: LocalNodesOptions) {
    this.#options = options;
  }

  /** Of those that have served, in the order of their names. */
  get urls(): readonly string[] {
    return [...this.#urls].sort().map(([, url]) => url);
  }

  /** Resolves when all are members. Throws `CommandFailure` (refused) where one ends before it is. */
  async start(): Promise<void> {
    const names = Array.from({ length: this.#options.count }, (_, index) => `n${index + 1}`);
    await Promise.all(
      names.map(async (name, index) => {
        if ((await this.#launch(name, index)) || this.#isOver) return;
        throw new CommandFailure(exitCodes.refused, `The node ${name} does not come up; its reason stands above.`);
      }),
    );
  }

  /** Asks all to finish what they have accepted, and resolves when they have ended. */
  async stop(): Promise<void> {
    this.#isOver = true;
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all(
      [...this.#nodes.values()].map(async (node) => {
        node.stop();
        const timer = setTimeout(() => node.kill(), stopMsMax);
        await node.ended;
        clearTimeout(timer);
      }),
    );
  }

  /** Whether it came to serve. */
  async #launch(name: string, index: number): Promise<boolean> {
    const { onUp, onNote } = this.#options;
    const node = new NodeProcess({ name, words: this.#words(name, index), onNote });
    this.#nodes.set(name, node);
    const ready = await node.ready;
    if (ready === undefined) return false;
    this.#urls.set(name, ready.url);
    onUp({ name, pid: ready.pid, url: ready.url });
    void node.ended.then((end) => this.#ended(name, index, end));
    return true;
  }

  #ended(name: string, index: number, end: NodeEnd): void {
    const { restarts, onEnd, onNote } = this.#options;
    onEnd(name);
    if (this.#isOver) return;
    const how = "signal" in end ? end.signal : `exit code ${end.code}`;
    onNote(`The node ${name} has ended (${how}).${restarts ? " It is started again." : ""}`);
    if (restarts) this.#restartSoon(name, index);
  }

  #restartSoon(name: string, index: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#launch(name, index).then((isUp) => {
        if (!isUp && !this.#isOver) this.#restartSoon(name, index);
      });
    }, restartMs);
    this.#timers.add(timer);
  }

  #words(name: string, index: number): readonly string[] {
    const { path, directory, regions, serversIn, replicaCount, credentialsPath, port, shards, followers } =
      this.#options;
    const region = regions.length === 0 ? undefined : regions[index % regions.length]!;
    // A node that had a port once keeps it: clients know it.
    const given =
      port === undefined ? Number(new URL(this.#urls.get(name) ?? "http://localhost:0").port) : port + index;
    return [
      "start",
      path,
      ...["--cluster", serversIn(region).join(",")],
      ...["--engine-credentials", credentialsPath],
      ...["--engine-replicas", String(replicaCount)],
      // Whoever asks for fewer than three servers on one machine has been told (docs/clusters.md).
      ...(replicaCount < 3 ? ["--unsafe-durability"] : []),
      ...["--name", name],
      ...["--data", join(directory, name)],
      ...["--port", String(given)],
      ...(shards === undefined ? [] : ["--shards", String(shards)]),
      ...(followers === undefined ? [] : ["--followers", String(followers)]),
      ...(region === undefined ? [] : ["--label", `region=${region}`, "--regions", regions.join(",")]),
      "--json",
    ];
  }
}
