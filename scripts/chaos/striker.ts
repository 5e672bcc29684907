/**
 * Carries a plan out: each strike begins at its time, lasts, and is taken back.
 *
 * ST1 When `run` resolves, everything that the strikes did has been taken back, and all that was ended has been started.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ChaosCluster } from "./cluster.ts";
import type { SmallDisk } from "./full-disk.ts";
import type { Party, RunNetwork } from "./links.ts";
import type { Meter } from "./meter.ts";
import { type Plan, type Strike, strikeText, waysOf } from "./plan.ts";

/** A strike as it was: for the report. */
export interface Struck {
  readonly strike: Strike;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface StrikerOptions {
  readonly cluster: ChaosCluster;
  readonly network: RunNetwork;
  readonly disk: SmallDisk | undefined;
  readonly meter: Meter;
  readonly onStrike: (sentence: string) => void;
  readonly accuse: (anomaly: string, what: string) => void;
  readonly signal: AbortSignal;
}

export class Striker {
  readonly #options: StrikerOptions;
  readonly struck: Struck[] = [];

  constructor(options: StrikerOptions) {
    this.#options = options;
  }

  async run(plan: Plan): Promise<void> {
    const { meter, signal, network, cluster } = this.#options;
    const startMs = meter.nowMs();
    const strikes = plan.strikes.map(async (strike) => {
      await sleep(Math.max(0, startMs + strike.atMs - meter.nowMs()), undefined, { signal });
      await this.#strike(strike);
    });
    await Promise.all([...strikes, sleep(plan.durationMs, undefined, { signal })]);
    await network.healAll();
    for (const party of this.#parties) cluster.resume(party);
    await cluster.startAll();
  }

  get #parties(): readonly Party[] {
    const { nodes, servers } = this.#options.cluster;
    return [...nodes, ...servers];
  }

  async #strike(strike: Strike): Promise<void> {
    const { meter, onStrike } = this.#options;
    const fromMs = meter.nowMs();
    onStrike(`${strikeText(strike)}, for ${strike.forMs} ms`);
    await this.#carryOut(strike);
    this.struck.push({ strike, fromMs, toMs: meter.nowMs() });
  }

  async #carryOut(strike: Strike): Promise<void> {
    const { cluster, network } = this.#options;
    const { kind, targets, forMs } = strike;
    const [target] = targets as [Party];
    switch (kind) {
      case "kill-node":
      case "kill-server":
      case "kill-all":
        await Promise.all(targets.map((each) => cluster.kill(each)));
        await this.#wait(forMs);
        for (const each of targets.toSorted()) await cluster.start(each);
        return;
      case "pause-node":
      case "pause-server":
        cluster.pause(target);
        await this.#wait(forMs);
        cluster.resume(target);
        return;
      case "stop-node":
      case "stop-server":
        return this.#stop(target, forMs);
      case "cut-node":
      case "cut-server":
      case "split":
      case "one-way": {
        const ways = waysOf(strike, this.#parties);
        await network.cut(ways);
        await this.#wait(forMs);
        return network.heal(ways);
      }
      case "delay":
      case "loss": {
        const ways = waysOf(strike, this.#parties);
        network.slow?.(ways, { delayMs: strike.delayMs ?? 0, lossRate: strike.lossRate ?? 0 });
        await this.#wait(forMs);
        return network.heal(ways);
      }
      case "full-disk":
        await this.#options.disk?.fill();
        await this.#wait(forMs);
        await this.#options.disk?.free();
        // A server whose disk was full leaves JetStream off until it is started again: an operator's part.
        await cluster.stop(target);
        return cluster.start(target);
    }
  }

  async #stop(target: Party, forMs: number): Promise<void> {
    const { cluster, accuse } = this.#options;
    const isNode = cluster.nodes.includes(target);
    const wasRunning = cluster.isRunning(target);
    const end = await cluster.stop(target);
    if (isNode && wasRunning && end !== undefined && end !== "exit code 0") {
      accuse("unclean-end", `${target} was asked to end: ${end}`);
    }
    await this.#wait(forMs);
    await cluster.start(target);
  }

  async #wait(forMs: number): Promise<void> {
    await sleep(forMs, undefined, { signal: this.#options.signal });
  }
}
