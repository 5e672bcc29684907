/** What the tests of the simulated engine share: nodes with lives on a network, and an engine for them. */
import { SeededRandom } from "../../base/random.ts";
import { encodeUtf8 } from "../../base/bytes.ts";
import type { EngineLog, LogEngine } from "../../log/engine-log.ts";
import { NodeLife } from "../life.ts";
import { SimulatedNetwork } from "../network.ts";
import { Scheduler } from "../scheduler.ts";
import { SimulatedEngine, type SimulatedEngineOptions } from "./engine.ts";

export class EngineWorld {
  readonly scheduler = new Scheduler();
  readonly network: SimulatedNetwork;
  readonly engine: SimulatedEngine;

  constructor(seed: string | number, options: Pick<SimulatedEngineOptions, "times" | "servers"> = {}) {
    const random = new SeededRandom(seed);
    const { scheduler } = this;
    this.network = new SimulatedNetwork({ scheduler, random: random.fork("network") });
    this.engine = new SimulatedEngine({ scheduler, random: random.fork("engine"), network: this.network, ...options });
  }

  connect(node: string, life = new NodeLife()): LogEngine {
    return this.engine.attach(node, life);
  }

  /** Runs the body, with virtual time passing. */
  run<T>(body: () => Promise<T>): Promise<T> {
    return this.scheduler.complete(body());
  }

  /** A new log with records 1 to `count`, led by `leader`. */
  async logOf(count: number, { leader = "e1", node = "n1" } = {}): Promise<EngineLog> {
    const log = await this.connect(node).create("log", { firstSequence: 1 });
    this.group.lead(leader);
    for (let sequence = 1; sequence <= count; sequence++) await log.append(sequence, record(sequence));
    return log;
  }

  get group() {
    return this.engine.existing("log")!;
  }

  count(kind: Parameters<SimulatedEngine["counts"]["get"]>[0]): number {
    return this.engine.counts.get(kind);
  }
}

export function record(of: string | number): Uint8Array {
  return encodeUtf8(`record ${of}`);
}

export function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString();
}
