/** Nodes with `Peers` on a simulated network, for tests: `a:1`, `b:1` and so on, with crashes and restarts. */
import { assert } from "../base/assert.ts";
import { limits as defaultLimits, type Limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import { type SimulatedHost, SimulatedNode, type TraceLine } from "../sim/host.ts";
import { SimulatedNetwork } from "../sim/network.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { listenForPeers, type NetworkPeers } from "./network-peers.ts";

/** Longest virtual time that one `run` may take. */
const runMsMax = 10 * 60_000;

export interface PeerNode {
  readonly name: string;
  readonly address: string;
  readonly host: SimulatedHost;
  readonly peers: NetworkPeers;
}

export class PeerNetwork {
  readonly scheduler = new Scheduler({ eventsMax: 2_000_000 });
  readonly random: SeededRandom;
  readonly network: SimulatedNetwork;
  readonly limits: Limits;
  readonly traces: TraceLine[] = [];
  readonly #nodes = new Map<string, SimulatedNode>();

  constructor(seed: string | number, limits: Partial<Limits> = {}) {
    this.random = new SeededRandom(seed);
    this.limits = { ...defaultLimits, ...limits };
    const { scheduler } = this;
    this.network = new SimulatedNetwork({ scheduler, random: this.random.fork("network"), limits: this.limits });
  }

  /** Begins a life of the node, which must not be alive. */
  async start(name: string): Promise<PeerNode> {
    const node = this.#nodes.get(name) ?? this.#newNode(name);
    const host = node.start();
    const address = `${name}:1`;
    const { network, clock, timers, random, trace } = host;
    const peers = await listenForPeers(address, { network, clock, timers, random, trace, limits: this.limits });
    return { name, address, host, peers };
  }

  crash(name: string): void {
    this.#nodes.get(name)!.crash();
  }

  #newNode(name: string): SimulatedNode {
    const { scheduler, network } = this;
    const node = new SimulatedNode({
      scheduler,
      network,
      name,
      random: this.random.fork(name),
      onTrace: (line) => this.traces.push(line),
    });
    this.#nodes.set(name, node);
    return node;
  }

  /** Runs virtual time until `body` has ended; fails if it never does. */
  run<T>(body: () => Promise<T>): Promise<T> {
    return this.scheduler.complete(body(), { untilMs: this.scheduler.nowMs + runMsMax });
  }

  sleep(durationMs: number): Promise<void> {
    return this.scheduler.sleep(durationMs);
  }

  /** Waits in virtual time until `condition` holds; fails after `boundMs`. */
  async until(condition: () => boolean, boundMs = 60_000): Promise<void> {
    const endMs = this.scheduler.nowMs + boundMs;
    while (!condition()) {
      assert(this.scheduler.nowMs < endMs, `the condition did not come to hold within ${boundMs} ms`);
      await this.sleep(1);
    }
  }
}
