/**
 * A cluster of `nats-server` processes on this machine, for `onefold cluster` and for tests: started from a plan, waited for until
 * JetStream serves, stopped gracefully; killed and paused where a test wants that.
 *
 * NC1 `start` resolves when every server says that it is in health: JetStream has a leader, and what it keeps is there.
 * NC2 No server outlives this process (NP1).
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  clientUrl,
  logFile,
  monitorUrl,
  type NatsCredentials,
  type NatsMemberPlan,
  type NatsPlan,
  natsConfig,
  readIfPresent,
  storeDirectory,
} from "./nats-plan.ts";
import { NatsProcess } from "./nats-process.ts";

export interface NatsClusterOptions {
  /** The path of `nats-server`. */
  readonly program: string;
  readonly plan: NatsPlan;
  /** Where the servers keep their data, configurations and logs. */
  readonly directory: string;
  /** `always`, but where a test wants lax servers. */
  readonly syncInterval?: string;
}

const healthyMsMax = 60_000;
const healthPollMs = 50;
const healthRequestMs = 2_000;

export class NatsCluster {
  readonly #options: NatsClusterOptions;
  readonly #processes = new Map<string, NatsProcess>();

  private constructor(options: NatsClusterOptions) {
    this.#options = options;
  }

  /** Throws, with nothing left running, where they don't come to serve. */
  static async start(options: NatsClusterOptions): Promise<NatsCluster> {
    const cluster = new NatsCluster(options);
    try {
      await Promise.all(cluster.names.map((name) => cluster.#launch(name)));
      await cluster.untilHealthy();
    } catch (error) {
      await cluster.killAll();
      throw error;
    }
    return cluster;
  }

  get names(): readonly string[] {
    return this.#options.plan.members.map(({ name }) => name);
  }

  get urls(): readonly string[] {
    return this.#options.plan.members.map(clientUrl);
  }

  get account(): NatsCredentials {
    return this.#options.plan.account;
  }

  get systemAccount(): NatsCredentials {
    return this.#options.plan.systemAccount;
  }

  urlOf(name: string): string {
    return clientUrl(this.#member(name));
  }

  storeDirectoryOf(name: string): string {
    return storeDirectory(this.#options.directory, this.#member(name));
  }

  /** The process that it runs as now, or ran as last. */
  pidOf(name: string): number | undefined {
    return this.#process(name).pid;
  }

  /** Resolves when the process that it runs as now is gone, however that came. */
  whenGone(name: string): Promise<void> {
    return this.#process(name).gone;
  }

  isRunning(name: string): boolean {
    return this.#processes.get(name)?.isRunning === true;
  }

  /** Starts a server that isn't running. It is not waited for: `untilHealthy` does. */
  async startServer(name: string): Promise<void> {
    if (!this.isRunning(name)) await this.#launch(name);
  }

  async stopServer(name: string): Promise<void> {
    await this.#process(name).stop();
  }

  async killServer(name: string): Promise<void> {
    await this.#process(name).kill();
  }

  /** As a process that gets no time, or a machine that nothing reaches: its connections stay. Resolves when it does nothing any more. */
  async pauseServer(name: string): Promise<void> {
    await this.#process(name).pause();
  }

  resumeServer(name: string): void {
    this.#process(name).resume();
  }

  /** Resolves when each of the servers, or all, says that it is in health. Throws when one is gone, or after a minute. */
  async untilHealthy(names: readonly string[] = this.names): Promise<void> {
    const deadlineMs = performance.now() + healthyMsMax;
    for (const name of names) {
      for (;;) {
        const process = this.#process(name);
        if (!process.isRunning) throw new Error(`The server ${name} has ended: ${await this.#lastWords(name)}`);
        const complaint = await healthComplaint(this.#member(name));
        if (complaint === undefined) break;
        if (performance.now() > deadlineMs) throw new Error(`The server ${name} doesn't come to health: ${complaint}`);
        await new Promise((resolve) => setTimeout(resolve, healthPollMs));
      }
    }
  }

  /** One after the other, so that each hands over what it leads to one that stays. */
  async stop(): Promise<void> {
    for (const process of this.#processes.values()) await process.stop();
  }

  async killAll(): Promise<void> {
    await Promise.all([...this.#processes.values()].map((process) => process.kill()));
  }

  async #launch(name: string): Promise<void> {
    const { program, plan, directory, syncInterval } = this.#options;
    const member = this.#member(name);
    await mkdir(join(directory, name), { recursive: true });
    const configFile = join(directory, name, "server.conf");
    const text = natsConfig(plan, member, { directory, ...(syncInterval === undefined ? {} : { syncInterval }) });
    await writeFile(configFile, text, { mode: 0o600 });
    this.#processes.set(name, new NatsProcess(program, configFile));
  }

  /** What it said before it ended, for people. */
  async #lastWords(name: string): Promise<string> {
    const logged = (await readIfPresent(logFile(this.#options.directory, this.#member(name)))) ?? "";
    const complaints = logged.split("\n").filter((line) => /\[(FTL|ERR)\]/.test(line));
    return [this.#process(name).lastWords, ...complaints.slice(-3)].filter((text) => text !== "").join("; ");
  }

  #member(name: string): NatsMemberPlan {
    const member = this.#options.plan.members.find((each) => each.name === name);
    if (member === undefined) throw new Error(`There is no server ${name} in the plan.`);
    return member;
  }

  #process(name: string): NatsProcess {
    const process = this.#processes.get(name);
    if (process === undefined) throw new Error(`The server ${name} was never started.`);
    return process;
  }
}

/** What the server says is wrong with it; undefined where nothing is. */
async function healthComplaint(member: NatsMemberPlan): Promise<string | undefined> {
  try {
    const response = await fetch(`${monitorUrl(member)}/healthz`, { signal: AbortSignal.timeout(healthRequestMs) });
    const text = await response.text();
    return response.ok ? undefined : text;
  } catch (error) {
    // Not yet listening, or not answering.
    if (error instanceof Error) return error.message;
    throw error;
  }
}
