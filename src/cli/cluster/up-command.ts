/**
 * `onefold cluster up`: a whole cluster on this machine. Servers of the engine and nodes are processes of their own; all end with this one.
 *
 * CU1 Everything is in one directory, from which the same cluster comes up again.
 * CU2 What ends by itself or is killed is started again, a second later, unless told otherwise.
 * CU3 At the end nodes go first and finish what they have accepted, then the servers.
 */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { CommandFailure, exitCodes } from "../exit-code.ts";
import type { Output } from "../output.ts";
import { listenForStop } from "../stop-signals.ts";
import { findSystemModule } from "../system-path.ts";
import { HealthWatch, type NodeHealth } from "./health-watch.ts";
import { LocalNodes } from "./local-nodes.ts";
import { LocalServers } from "./local-servers.ts";
import { provideNatsServer } from "./provided-nats-server.ts";
import type { UpOptions } from "./up-options.ts";

/**
 * Resolves when it was asked to end, and all has ended. Throws `CommandFailure`: `usage` where there is no `nats-server` or SYSTEM, `refused`
 * where servers or nodes don't come to serve.
 */
export async function clusterUp(systemPath: string, options: UpOptions, output: Output): Promise<void> {
  const { regions = [] } = options;
  if (options.nodes < regions.length) {
    const message = `Each region needs a node: --nodes ${options.nodes} are fewer than ${regions.length} regions.`;
    throw new CommandFailure(exitCodes.usage, message);
  }
  const stop = listenForStop(() => output.note("Stopped at once."));
  const path = await findSystemModule(systemPath, process.cwd());
  const directory = resolve(options.data);
  const program = await provideNatsServer((sentence) => output.note(sentence));
  await mkdir(directory, { recursive: true });
  const said = new Sayings(options.json === true, output);
  const servers = await LocalServers.start({
    program: program.path,
    directory: join(directory, "engine"),
    count: options.servers,
    regions,
    restarts: options.restart,
    onUp: (server) => said.server(server),
    onNote: (line) => output.note(line),
  });
  let nodes: LocalNodes | undefined;
  const watch = new HealthWatch((health) => said.health(health));
  try {
    nodes = new LocalNodes({
      path,
      directory,
      count: options.nodes,
      regions,
      serversIn: (region) => servers.urlsIn(region),
      replicaCount: servers.replicaCount,
      credentialsPath: await writeCredentials(directory, servers),
      port: options.port,
      shards: options.shards,
      followers: options.followers,
      restarts: options.restart,
      onUp: (node) => {
        said.node(node);
        watch.add(node.name, node.url);
      },
      onEnd: (name) => watch.remove(name),
      onNote: (line) => output.note(line),
    });
    const well = watch.untilWell();
    const serving = nodes.start().then(() => well);
    const isUp = await Promise.race([serving.then(() => true), stop.asked.then(() => false)]);
    if (isUp) {
      said.up(nodes.urls);
      await stop.asked;
    }
    output.note("Ending the nodes, then the engine; once more to stop at once.");
  } finally {
    watch.close();
    await nodes?.stop();
    await servers.stop();
  }
}

async function writeCredentials(directory: string, servers: LocalServers): Promise<string> {
  const path = join(directory, "engine.json");
  await writeFile(path, JSON.stringify(servers.credentials, undefined, 2), { mode: 0o600 });
  // The mode counts only where the file is made.
  await chmod(path, 0o600);
  return path;
}

/** What is printed, for people or as a line of JSON each. */
class Sayings {
  readonly #isJson: boolean;
  readonly #output: Output;

  constructor(isJson: boolean, output: Output) {
    this.#isJson = isJson;
    this.#output = output;
  }

  server({ name, pid, url }: { readonly name: string; readonly pid: number; readonly url: string }): void {
    this.#say({ engine: name, pid, url }, `engine ${name}  ${url}  (process ${pid})`);
  }

  node({ name, pid, url }: { readonly name: string; readonly pid: number; readonly url: string }): void {
    this.#say({ node: name, pid, http: url }, `node ${name}  ${url}  (process ${pid})`);
  }

  up(urls: readonly string[]): void {
    this.#say(
      { kind: "up", http: urls },
      `\nThe cluster is up: any of its ${urls.length} nodes answers any call. Ctrl-C ends all of it. Look at it with\n\n  onefold cluster status --url ${urls[0]}\n`,
    );
  }

  health({ node, state, problems }: NodeHealth): void {
    const style = state === "ready" && problems.length === 0 ? "good" : "bad";
    const text = problems.length === 0 ? state : `${state}: ${problems.join(" ")}`;
    this.#say({ kind: "health", node, state, problems }, `${node}  ${this.#output.styled(style, text)}`);
  }

  #say(facts: object, text: string): void {
    this.#output.result(this.#isJson ? JSON.stringify(facts) : text);
  }
}
