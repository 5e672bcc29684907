/**
 * The cluster of docs/clusters.md, made as that page says: its own scripts and configurations, and the command lines of the two systemd
 * units. Three "hosts" are three addresses of loopback, each with a folder of its own in the place of `/`.
 *
 * What is changed of what the page says: the hosts' addresses, `/etc` and `/var/lib`, and the address of the monitoring port, which
 * every host has for itself.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFile } from "node:child_process";
import { once } from "node:events";
import { access, mkdir, readFile, writeFile } from "node:fs/promises";
import { get } from "node:https";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { natsServerForTests } from "../scripts/nats-server.ts";
import { NatsProcess } from "../src/cli/cluster/nats-process.ts";
import { ProgramFolder } from "./command-line.fixture.ts";
import { installOnefold, mainPath } from "./installation.ts";
import { until } from "./member.fixture.ts";
import { type Block, blocksOf, type Ended, shell } from "./page.fixture.ts";

const deploy = fileURLToPath(new URL("../deploy/", import.meta.url));

export interface PageHost {
  readonly name: string;
  readonly address: string;
  readonly zone: string;
  /** In the place of `/`. */
  readonly root: string;
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

export class PageCluster {
  readonly hosts: readonly PageHost[];
  /** Where what the page says is done. */
  readonly folder: string;
  readonly blocks: readonly Block[];
  readonly #programs: ProgramFolder;
  readonly #servers = new Map<string, NatsProcess>();
  readonly #nodes = new Map<string, ChildProcess>();
  readonly #words = new Map<string, string>();
  readonly #unit: string;

  private constructor(parts: {
    readonly programs: ProgramFolder;
    readonly blocks: readonly Block[];
    readonly network: string;
    readonly unit: string;
  }) {
    this.#programs = parts.programs;
    this.folder = parts.programs.path;
    this.#unit = parts.unit;
    this.blocks = parts.blocks.map((block) => ({
      ...block,
      text: block.text.replaceAll(/10\.0\.0\.1(?=[123])/g, parts.network),
    }));
    this.hosts = ["n1", "n2", "n3"].map((name, index) => ({
      name,
      address: `${parts.network}${index + 1}`,
      zone: "abc"[index]!,
      root: join(this.folder, `host-${name}`),
    }));
  }

  /** Types in what the page shows, and does nothing more. */
  static async make(): Promise<PageCluster> {
    const programs = await ProgramFolder.make();
    await installOnefold(programs.path, ["tsx"]);
    await writeFile(join(programs.path, "package.json"), '{ "type": "module", "main": "counters.ts" }');
    const cluster = new PageCluster({
      programs,
      blocks: await blocksOf("docs/clusters.md"),
      network: await freeNetwork(),
      unit: await readFile(join(deploy, "onefold-node.service"), "utf8"),
    });
    for (const { file, text } of cluster.blocks)
      if (file !== undefined) await writeFile(join(programs.path, file), text);
    return cluster;
  }

  /** A block without a file, by what it contains. */
  command(part: string): string {
    const found = this.blocks.filter(
      ({ language, file, text }) => language === "sh" && file === undefined && text.includes(part),
    );
    assert.equal(found.length, 1, `one block with ${part}`);
    return found[0]!.text;
  }

  /** Runs lines of the page in the folder. */
  run(lines: string): Promise<Ended> {
    return shell(lines, this.folder);
  }

  async place(host: PageHost): Promise<Ended> {
    const script = await readFile(join(this.folder, "place.sh"), "utf8");
    await writeFile(join(this.folder, `place-${host.name}.sh`), script.replaceAll("/etc/", `${host.root}/etc/`));
    const placed = await this.run(`sh place-${host.name}.sh ${host.name} ${host.address} ${host.zone}`);
    const config = join(host.root, "etc/nats/nats.conf");
    if (placed.exitCode === 0) {
      const text = await readFile(config, "utf8");
      const moved = text
        .replaceAll('"/etc/', `"${host.root}/etc/`)
        .replaceAll('"/var/lib/', `"${host.root}/var/lib/`)
        .replace('http: "127.0.0.1:', `http: "${host.address}:`);
      await writeFile(config, moved);
    }
    return placed;
  }

  async startServer({ name, root }: PageHost): Promise<void> {
    const { path } = await natsServerForTests();
    await mkdir(join(root, "var/lib"), { recursive: true });
    this.#servers.set(name, new NatsProcess(path, join(root, "etc/nats/nats.conf")));
  }

  async stopServer({ name }: PageHost): Promise<void> {
    await this.#servers.get(name)?.stop();
  }

  /** Until the server says that it is whole: what a restart of the next one waits for. */
  async serverHealthy({ name, address }: PageHost): Promise<void> {
    const server = this.#servers.get(name)!;
    await until(`the server ${name} is healthy`, async () => {
      assert.ok(server.isRunning, server.lastWords);
      return await fetch(`http://${address}:8222/healthz`).then(
        ({ ok }) => ok,
        () => false,
      );
    });
  }

  /** The words of the unit's `ExecStart`, with what systemd puts into them. `changes` are for options that differ, by their name. */
  async nodeWords(host: PageHost, changes: Readonly<Record<string, string>> = {}): Promise<readonly string[]> {
    const line = /^ExecStart=((?:.*\\\n)*.*)$/m.exec(this.#unit)![1]!.replaceAll("\\\n", " ");
    const environment = variablesOf(await readFile(join(host.root, "etc/onefold/node.env"), "utf8"));
    const words = line
      .trim()
      .split(/\s+/)
      .map((word) =>
        word
          .replaceAll("%d", join(host.root, "etc/onefold"))
          .replaceAll("%S", join(host.root, "var/lib"))
          .replaceAll(/\$\{(\w+)\}/g, (_, name: string) => environment.get(name)!),
      );
    assert.deepEqual(words.slice(0, 3), ["/usr/bin/env", "node", "node_modules/onefold/dist/cli/main.js"]);
    for (const [option, value] of Object.entries(changes)) words[words.indexOf(option) + 1] = value;
    return words.slice(3);
  }

  /** Every credential that the unit loads is one that `place.sh` puts there. */
  async assertCredentials({ root }: PageHost): Promise<void> {
    const loaded = [...this.#unit.matchAll(/^LoadCredential=([\w.-]+):\/(.*)$/gm)];
    assert.equal(loaded.length, 6);
    for (const [, name, path] of loaded) {
      assert.equal(path, `etc/onefold/${name}`);
      await access(join(root, path!));
    }
  }

  async startNode(host: PageHost, changes: Readonly<Record<string, string>> = {}): Promise<ChildProcess> {
    const words = await this.nodeWords(host, changes);
    this.#programs.environment = { ...Object.fromEntries(await this.#systemVariables()), ONEFOLD_LOG_FORMAT: "json" };
    const child = this.#programs.spawn(process.execPath, [mainPath, ...words]);
    child.stdout!.resume();
    this.#words.set(host.name, "");
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#words.set(host.name, (this.#words.get(host.name)! + text).slice(-65_536));
    });
    this.#nodes.set(host.name, child);
    return child;
  }

  /** What the node has written to its log lately. */
  logOf({ name }: PageHost): string {
    return this.#words.get(name) ?? "";
  }

  /** Gracefully, as systemd does. Gives the exit code. */
  async stopNode({ name }: PageHost): Promise<number | null> {
    const child = this.#nodes.get(name)!;
    const exit = once(child, "exit");
    child.kill("SIGTERM");
    return ((await exit) as [number | null])[0];
  }

  async nodeReady(host: PageHost): Promise<void> {
    await until(`the node ${host.name} is ready`, async () => {
      const child = this.#nodes.get(host.name)!;
      assert.equal(child.exitCode, null, this.logOf(host));
      return (await this.ask(host, "/readyz"))?.status === 200;
    }).catch((error: unknown) => {
      throw new Error(`The node ${host.name} is not ready: ${this.logOf(host)}`, { cause: error });
    });
  }

  /** Over HTTPS, trusting the port's authority alone; undefined where nobody answers. */
  async ask(
    { address }: PageHost,
    path: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Reply | undefined> {
    const ca = await this.read("port-ca.pem");
    return await new Promise((resolve) => {
      const request = get({ host: address, port: 7400, path, headers, ca, agent: false }, (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text: string) => {
          body += text;
        });
        response.on("end", () => resolve({ status: response.statusCode!, body }));
      });
      request.on("error", () => resolve(undefined));
    });
  }

  /** A caller that has all addresses and calls again and again, one call at a time, each of which must answer with the next number. */
  async callForever(): Promise<Caller> {
    await writeFile(join(this.folder, "caller.ts"), callerText(this.hosts));
    const environment = { ...Object.fromEntries(await this.#systemVariables()), NODE_EXTRA_CA_CERTS: "port-ca.pem" };
    this.#programs.environment = environment;
    return new Caller(this.#programs.spawn(process.execPath, ["--import", "tsx", "caller.ts"]));
  }

  read(file: string): Promise<string> {
    return readFile(join(this.folder, file), "utf8");
  }

  async token(): Promise<string> {
    return (await this.#systemVariables()).get("OPERATOR_TOKEN")!;
  }

  async #systemVariables(): Promise<ReadonlyMap<string, string>> {
    return variablesOf(await this.read("system.env"));
  }

  async remove(): Promise<void> {
    // Its programs end with the folder.
    await this.#programs.remove().finally(async () => {
      await Promise.all([...this.#servers.values()].map((server) => server.kill()));
    });
  }
}

/** It prints each number that it gets, and ends at SIGTERM; a call that fails ends it with an error. */
function callerText(hosts: readonly PageHost[]): string {
  const urls = JSON.stringify(hosts.map(({ address }) => `https://${address}:7400`));
  return `
import { connect } from "onefold/client";
import type { counters } from "./counters.ts";
const client = connect<typeof counters>(${urls}, { token: process.env.OPERATOR_TOKEN! });
let isOver = false;
process.once("SIGTERM", () => { isOver = true; });
for (let expected = 1; !isOver; expected++) {
  const count = await client.counter("called").increment();
  if (count !== expected) throw new Error(count + " came instead of " + expected);
  console.log(count);
}
client.$close();
`;
}

export class Caller {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #lines = 0;
  #errors = "";

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = new Promise((resolve) => child.once("exit", resolve));
    child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.#lines += text.split("\n").length - 1;
    });
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#errors += text;
    });
  }

  /** Resolves when so many more calls have been answered. */
  async counted(more: number): Promise<void> {
    const reached = this.#lines + more;
    await until(`${more} more calls are answered`, () => {
      assert.equal(this.#child.exitCode, null, this.#errors);
      return this.#lines >= reached;
    });
  }

  async end(): Promise<void> {
    this.#child.kill("SIGTERM");
    assert.equal(await this.#ended, 0, this.#errors);
  }
}

/** Whether a program can be run; an exit code other than 0 is none of a missing one. */
export async function isInstalled(program: string, ...args: readonly string[]): Promise<boolean> {
  try {
    await promisify(execFile)(program, args);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}

function variablesOf(text: string): ReadonlyMap<string, string> {
  return new Map([...text.matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]));
}

/** The first digits of three addresses of loopback on which the page's ports are free. Other machines' don't matter: 127/8 is this one's. */
async function freeNetwork(): Promise<string> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const network = `127.${1 + ((process.pid + attempt) % 250)}.${1 + (Math.floor(process.pid / 250) % 250)}.1`;
    if (await areFree([1, 2, 3].map((last) => `${network}${last}`))) return network;
  }
  throw new Error("No three addresses of loopback have the ports of docs/clusters.md free.");
}

async function areFree(addresses: readonly string[]): Promise<boolean> {
  for (const address of addresses) {
    for (const port of [7400, 7401, 4222, 6222, 8222]) {
      const server = createServer();
      const isFree = await new Promise<boolean>((resolve) => {
        server.once("error", () => resolve(false));
        server.listen(port, address, () => resolve(true));
      });
      if (!isFree) return false;
      await new Promise((resolve) => server.close(resolve));
    }
  }
  return true;
}
