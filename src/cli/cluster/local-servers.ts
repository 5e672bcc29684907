/** The engine's servers of a cluster on this machine: from a plan that its directory keeps, looked after, and ended. */
import { CommandFailure, exitCodes } from "../exit-code.ts";
import { NatsCluster } from "./nats-cluster.ts";
import { clientUrl, type NatsCredentials, type NatsPlan, natsPlan, replicaCountOf } from "./nats-plan.ts";

export interface LocalServersOptions {
  readonly program: string;
  readonly directory: string;
  /** 1, 3 or 5: in each region, where there are regions. */
  readonly count: number;
  readonly regions: readonly string[];
  /** Whether one that ends is started again. */
  readonly restarts: boolean;
  readonly onUp: (server: { readonly name: string; readonly pid: number; readonly url: string }) => void;
  readonly onNote: (line: string) => void;
}

/** Between the end of a process and its next start. */
export const restartMs = 1000;

export class LocalServers {
  readonly #options: LocalServersOptions;
  readonly #plan: NatsPlan;
  readonly #cluster: NatsCluster;
  readonly #timers = new Set<NodeJS.Timeout>();
  #isOver = false;

  private constructor(options: LocalServersOptions, plan: NatsPlan, cluster: NatsCluster) {
    this.#options = options;
    this.#plan = plan;
    this.#cluster = cluster;
  }

  /** Resolves when all serve. Throws `CommandFailure` (refused) where they don't come to. */
  static async start(options: LocalServersOptions): Promise<LocalServers> {
    const { program, directory, count, regions, onUp } = options;
    try {
      const plan = await natsPlan({ directory, serverCount: count, regions });
      const cluster = await NatsCluster.start({ program, plan, directory });
      const servers = new LocalServers(options, plan, cluster);
      for (const member of plan.members) {
        onUp({ name: member.name, pid: cluster.pidOf(member.name)!, url: clientUrl(member) });
        servers.#lookAfter(member.name);
      }
      return servers;
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new CommandFailure(exitCodes.refused, `The engine does not come up: ${message}`, { cause });
    }
  }

  /** Of the region's, or of all. A node reaches the rest by those that are near. */
  urlsIn(region: string | undefined): readonly string[] {
    return this.#plan.members.filter((member) => member.region === region).map(clientUrl);
  }

  get replicaCount(): number {
    return replicaCountOf(this.#plan);
  }

  /** In the form that `--engine-credentials` takes. */
  get credentials(): { readonly account: NatsCredentials; readonly system: NatsCredentials } {
    return { account: this.#plan.account, system: this.#plan.systemAccount };
  }

  /** Gracefully. Idempotent. */
  async stop(): Promise<void> {
    this.#isOver = true;
    for (const timer of this.#timers) clearTimeout(timer);
    await this.#cluster.stop();
  }

  #lookAfter(name: string): void {
    void this.#cluster.whenGone(name).then(() => {
      if (this.#isOver) return;
      const { restarts, onNote } = this.#options;
      onNote(`The engine's server ${name} has ended.${restarts ? " It is started again." : ""}`);
      if (!restarts) return;
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        void this.#restart(name);
      }, restartMs);
      this.#timers.add(timer);
    });
  }

  async #restart(name: string): Promise<void> {
    const { onUp, onNote } = this.#options;
    try {
      await this.#cluster.startServer(name);
      if (this.#isOver) return this.#cluster.stopServer(name);
      this.#lookAfter(name);
      await this.#cluster.untilHealthy([name]);
      onUp({ name, pid: this.#cluster.pidOf(name)!, url: this.#cluster.urlOf(name) });
    } catch (error) {
      // One that has ended again is looked after already; what else keeps it from serving an operator must see.
      onNote(
        `The engine's server ${name} does not come back: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
}
