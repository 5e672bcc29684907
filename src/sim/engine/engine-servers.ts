/**
 * The servers of a simulated engine: what state each is in, and who reaches whom. They are hosts on the simulated network, so that
 * an obstruction there is in the way of nodes and servers alike.
 */
import { assert } from "../../base/assert.ts";
import type { FaultCounts } from "../faults.ts";
import type { SimulatedNetwork } from "../network.ts";
import type { Scheduler } from "../scheduler.ts";

/**
 * A paused server keeps what is sent to it until it is resumed; one that is down loses it.
 *
 *     running ──pause──▶ paused
 *        ▲ ◀──resume──────┘ │
 *        └──restart── down ◀┘ crash, stop
 */
export type ServerState = "running" | "paused" | "down";

/** One server, for reports and for choosing what to strike. */
export interface EngineServer {
  readonly name: string;
  readonly zone: string;
  readonly state: ServerState;
}

interface ServerRecord extends EngineServer {
  state: ServerState;
  isLagging: boolean;
  /** What was sent to it while it was paused. */
  held: (() => void)[];
}

/** What waits for a clog to be cleared. */
interface Held {
  readonly from: string;
  readonly to: string;
  readonly step: () => void;
}

export interface EngineServersOptions {
  readonly scheduler: Scheduler;
  readonly network: SimulatedNetwork;
  readonly counts: FaultCounts;
  readonly servers: readonly { readonly name: string; readonly zone: string }[];
  /** Something was changed: a server's state, or a way. */
  readonly onChange: () => void;
}

export class EngineServers {
  readonly #options: EngineServersOptions;
  readonly #servers = new Map<string, ServerRecord>();
  #held: Held[] = [];
  #hadQuorum = true;

  constructor(options: EngineServersOptions) {
    this.#options = options;
    for (const { name, zone } of options.servers) {
      assert(!this.#servers.has(name), "a server's name is its own");
      this.#servers.set(name, { name, zone, state: "running", isLagging: false, held: [] });
    }
    options.network.watchWays(() => this.#changed());
  }

  get all(): readonly EngineServer[] {
    return [...this.#servers.values()];
  }

  /** True if some majority of servers runs and each of it reaches the others. */
  get hasQuorum(): boolean {
    const names = [...this.#servers.keys()];
    const majority = Math.floor(names.length / 2) + 1;
    return names.some((name) => names.filter((other) => this.isConnected(name, other)).length >= majority);
  }

  isRunning(name: string): boolean {
    return this.#server(name).state === "running";
  }

  isLagging(name: string): boolean {
    return this.#server(name).isLagging;
  }

  isConnected(one: string, other: string): boolean {
    return this.isRunning(one) && this.isRunning(other) && this.isOpen(one, other);
  }

  /** Nothing is in the way between two hosts, in either direction. */
  isOpen(one: string, other: string): boolean {
    const { network } = this.#options;
    return network.way(one, other) === undefined && network.way(other, one) === undefined;
  }

  /** Its process exists, so that a connection to it can be made, even if it is paused. */
  isUp(name: string): boolean {
    return this.#server(name).state !== "down";
  }

  #server(name: string): ServerRecord {
    const server = this.#servers.get(name);
    assert(server !== undefined, `there is no engine server ${name}`);
    return server;
  }

  // ------------------------------------------------------------------------------------------------------- states

  /** Says whether anything was changed. */
  pause(name: string): boolean {
    return this.#become(name, { from: ["running"], to: "paused" });
  }

  resume(name: string): boolean {
    const server = this.#server(name);
    if (server.state !== "paused") return false;
    const { held } = server;
    server.held = [];
    this.#become(name, { from: ["paused"], to: "running" });
    for (const step of held) this.#options.scheduler.at(0, () => this.arrive(name, step));
    return true;
  }

  goDown(name: string): boolean {
    this.#server(name).held = [];
    return this.#become(name, { from: ["running", "paused"], to: "down" });
  }

  restart(name: string): boolean {
    return this.#become(name, { from: ["down"], to: "running" });
  }

  lag(name: string, isLagging: boolean): void {
    const server = this.#server(name);
    if (server.isLagging === isLagging) return;
    server.isLagging = isLagging;
    this.#changed();
  }

  #become(name: string, { from, to }: { readonly from: readonly ServerState[]; readonly to: ServerState }): boolean {
    const server = this.#server(name);
    if (!from.includes(server.state)) return false;
    server.state = to;
    this.#options.scheduler.note(`engine server ${name} is ${to}`);
    this.#changed();
    return true;
  }

  #changed(): void {
    const { hasQuorum } = this;
    if (this.#hadQuorum && !hasQuorum) this.#options.counts.add("quorum-loss");
    this.#hadQuorum = hasQuorum;
    const held = this.#held;
    this.#held = [];
    for (const { from, to, step } of held) this.carry(from, to, { afterMs: 0, step });
    this.#options.onChange();
  }

  // ------------------------------------------------------------------------------------------------------- carrying

  /**
   * Runs `step` where a message from one host to another arrives, `afterMs` from now. Says whether that is to be expected; otherwise
   * it is lost, or comes when what is in the way has been cleared.
   */
  carry(from: string, to: string, { afterMs, step }: { readonly afterMs: number; readonly step: () => void }): boolean {
    const { network, scheduler, counts } = this.#options;
    const way = network.way(from, to);
    if (way === "clog") {
      this.#held.push({ from, to, step });
      return false;
    }
    if (way === "cut") {
      counts.add("cut-request");
      return false;
    }
    scheduler.at(afterMs, step);
    return true;
  }

  /** A message has come to a server: runs `step` there, now, after its pause, or never. Says whether it was now. */
  arrive(name: string, step: () => void): boolean {
    const server = this.#server(name);
    if (server.state === "running") {
      step();
      return true;
    }
    if (server.state === "paused") server.held.push(step);
    return false;
  }
}
