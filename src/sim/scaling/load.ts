/**
 * The load of the simulation of scaling: clients in a closed loop, some at each node, each with one call under way; and the system that
 * they call, whose commands charge the processor of the node that runs them.
 */
import { z } from "zod";
import { OnefoldError } from "../../base/errors.ts";
import type { SeededRandom } from "../../base/random.ts";
import { entity } from "../../entity/define.ts";
import { system, transaction } from "../../entity/define-system.ts";
import type { SystemHandle } from "../../entity/definition.ts";
import type { Principal, Service } from "../../entity/service.ts";
import type { SimulatedHost } from "../host.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ScalingCosts } from "./costs.ts";
import type { Processor } from "./processor.ts";

export type ScalingWorkload = "counter" | "hot" | "transfer";

export const scalingWorkloads: readonly ScalingWorkload[] = ["counter", "hot", "transfer"];

/** The system as one node runs it. */
export function scalingSystem(node: string, onCommand: (node: string) => void): SystemHandle {
  const charge = (): void => onCommand(node);
  const counter = entity("counter")
    .state(z.object({ value: z.number().int() }), () => ({ value: 0 }))
    .command("increment", (state) => {
      charge();
      state.value += 1;
      return state.value;
    });
  const account = entity("account")
    .state(z.object({ cents: z.number().int() }), () => ({ cents: 0 }))
    .command("add", z.object({ cents: z.number().int() }), (state, { cents }) => {
      charge();
      state.cents += cents;
      return state.cents;
    });
  const transfer = transaction("transfer", z.object({ from: z.string(), to: z.string() }))
    .at(({ from }) => account(from))
    .run(async (tx, { from, to }) => {
      await tx(account, from).add({ cents: -1 });
      await tx(account, to).add({ cents: 1 });
    });
  return system("scaling", { counter, account, transfer });
}

const principal: Principal = { tenant: "default", subject: "load", scopes: ["*"] };
/** Before a call that was refused is sent again. */
const retryMs = 10;

export interface LoadNode {
  readonly host: SimulatedHost;
  readonly service: Service;
  readonly processor: Processor;
  /** Whether the entity's owner is another node, as the node knows it when the call comes. */
  readonly isElsewhere: (kind: string, id: string) => boolean;
}

/** What was measured of calls that were answered in a time. */
export interface LoadCounts {
  calls: number;
  forwarded: number;
  refused: number;
  readonly latenciesMs: number[];
}

export interface LoadParts {
  readonly workload: ScalingWorkload;
  readonly nodes: readonly LoadNode[];
  readonly clientsPerNode: number;
  /** Entities that the spread workloads go to. */
  readonly entityCount: number;
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly costs: ScalingCosts;
}

export class Load {
  readonly #parts: LoadParts;
  #counts: LoadCounts = noCounts();
  #isOver = false;

  constructor(parts: LoadParts) {
    this.#parts = parts;
  }

  /** Resolves when all clients have ended, after `stop`; rejects with what is no ordinary refusal. */
  async run(): Promise<void> {
    const { nodes, clientsPerNode, random } = this.#parts;
    const clients = nodes.flatMap((node, at) =>
      Array.from({ length: clientsPerNode }, (_, index) => this.#client(node, random.fork(`${at} ${index}`))),
    );
    await Promise.all(clients);
  }

  /** Counts anew from now on. */
  begin(): void {
    this.#counts = noCounts();
  }

  get counts(): LoadCounts {
    return this.#counts;
  }

  stop(): void {
    this.#isOver = true;
  }

  async #client(node: LoadNode, random: SeededRandom): Promise<void> {
    const { scheduler } = this.#parts;
    while (!this.#isOver) {
      const beganMs = scheduler.nowMs;
      const isForwarded = await this.#call(node, random);
      if (isForwarded === undefined) {
        this.#counts.refused++;
        await scheduler.sleep(retryMs);
        continue;
      }
      this.#counts.calls++;
      if (isForwarded) this.#counts.forwarded++;
      this.#counts.latenciesMs.push(scheduler.nowMs - beganMs);
    }
  }

  /** Whether it was forwarded; undefined where it was refused. */
  async #call(node: LoadNode, random: SeededRandom): Promise<boolean | undefined> {
    const { scheduler, costs } = this.#parts;
    const way = (): Promise<void> => {
      const [fromMs, toMs] = costs.wayMs;
      return scheduler.sleep(fromMs + random.next() * (toMs - fromMs));
    };
    await way();
    try {
      return await new Promise<boolean>((resolve, reject) => {
        node.host.life.whenAwake(() => {
          node.processor.charge(costs.node.entryUs);
          const { kind, id, answer } = this.#begin(node.service, random);
          const isForwarded = node.isElsewhere(kind, id);
          answer.then(() => resolve(isForwarded), reject);
        });
      });
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.retry === "never") throw error;
      return undefined;
    } finally {
      await way();
    }
  }

  #begin(
    service: Service,
    random: SeededRandom,
  ): { readonly kind: string; readonly id: string; readonly answer: Promise<unknown> } {
    const { workload, entityCount } = this.#parts;
    const options = { principal };
    if (workload === "transfer") {
      const from = random.integer(entityCount);
      const to = (from + 1 + random.integer(entityCount - 1)) % entityCount;
      const input = { from: `a${from}`, to: `a${to}` };
      return { kind: "account", id: input.from, answer: service.transaction("transfer", input, options) };
    }
    const id = workload === "hot" ? "hot" : `c${random.integer(entityCount)}`;
    return { kind: "counter", id, answer: service.command({ kind: "counter", id }, "increment", undefined, options) };
  }
}

function noCounts(): LoadCounts {
  return { calls: 0, forwarded: 0, refused: 0, latenciesMs: [] };
}
