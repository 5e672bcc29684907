/** One run on one node, that crashes, loses what it had not synced, finds its disk full or its store gone (Y1–Y4 of `simulate-system.ts`). */
import { SeededRandom } from "../../base/random.ts";
import type { SystemHandle } from "../../entity/definition.ts";
import { FaultCounts } from "../faults.ts";
import { Scheduler } from "../scheduler.ts";
import type { CallLimit } from "./call-limit.ts";
import { LoneNode } from "./lone-node.ts";
import { NodeFaults, type SystemFault, systemFaults } from "./node-faults.ts";
import {
  answersWithinMs,
  failureOf,
  settleMsDefault,
  type SystemSimulationOptions,
  type SystemSimulationReport,
  transcriptLinesDefault,
} from "./simulation.ts";
import { SystemWork, traceText } from "./system-work.ts";

export class LoneSimulation<S extends SystemHandle> {
  readonly #options: SystemSimulationOptions<S>;
  readonly #seed: string;
  readonly #random: SeededRandom;
  readonly #scheduler: Scheduler;
  readonly #counts = new FaultCounts();
  readonly #node: LoneNode;
  readonly #faults: NodeFaults;
  readonly #work: SystemWork<S>;

  constructor(system: S, options: SystemSimulationOptions<S>, limit: CallLimit) {
    this.#options = options;
    this.#seed = String(options.seed);
    const notesKeptMax = options.transcriptLines ?? transcriptLinesDefault;
    this.#scheduler = new Scheduler({ eventsMax: 5_000_000, notesKeptMax });
    this.#random = new SeededRandom(this.#seed);
    const random = this.#random.fork("faults");
    const choosable = (options.faults ?? systemFaults) as readonly SystemFault[];
    const kinds = new Set(choosable.filter(() => random.chance(0.6)));
    this.#node = new LoneNode({
      system,
      limit,
      scheduler: this.#scheduler,
      random: this.#random.fork("node"),
      counts: this.#counts,
      ...(kinds.has("clock-drift") ? { driftPpm: random.between(-200, 200) } : {}),
      onTrace: (line) => this.#scheduler.note(`node ${traceText(line)}`),
      onStart: (life, host) => this.#faults.startsLife(life, host),
    });
    this.#faults = new NodeFaults({
      node: this.#node,
      scheduler: this.#scheduler,
      random,
      kinds,
      counts: this.#counts,
    });
    this.#work = new SystemWork({
      system,
      simulation: options,
      scheduler: this.#scheduler,
      random: this.#random,
      counts: this.#counts,
      served: this.#node,
      death: () => this.#faults.clientDeath(),
    });
  }

  /** Throws `SimulationFailure`. */
  async run(): Promise<SystemSimulationReport> {
    try {
      await this.#scheduler.complete(Promise.race([this.#drive(), this.#node.run().then(neverEnds)]));
    } catch (cause) {
      throw failureOf(cause, { seed: this.#seed, transcript: this.#scheduler.notes });
    }
    return {
      seed: this.#seed,
      nodes: 1,
      virtualMs: this.#scheduler.nowMs,
      events: this.#scheduler.eventCount,
      lives: this.#node.lifeCount,
      faults: Object.fromEntries(this.#counts.entries()),
      operations: this.#work.operations,
      checks: this.#work.checks,
      traceHash: this.#scheduler.traceHash,
      transcript: this.#scheduler.notes,
    };
  }

  async #drive(): Promise<void> {
    const work = this.#work;
    const faults = this.#faults.disturb(() => work.check());
    const workloads = work.run();
    // Calm at last, when the work is done or when there has been enough of it.
    const calmMs = this.#random.fork("calm").between(500, 10_000);
    await Promise.race([workloads, faults, this.#scheduler.sleep(calmMs)]);
    this.#faults.end();
    await work.within(answersWithinMs, workloads, "the workloads' last answers");
    await faults;
    await this.#scheduler.sleep(this.#options.settleMs ?? settleMsDefault);
    await work.within(answersWithinMs, work.check({ isAtRest: true }), "the answers that the invariants ask for");
    const { end } = await this.#node.serving();
    this.#node.crash();
    await end;
    await work.within(
      answersWithinMs,
      work.check({ isAtRest: true }),
      "the answers that the invariants ask for, after a crash",
    );
  }
}

function neverEnds(): never {
  throw new Error("the simulated node ended");
}
