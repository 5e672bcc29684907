/**
 * A user's system under simulated faults: workloads of the user's own run against one node that crashes, loses what it had not
 * synced, finds its disk full or its store gone, and the user's own invariants are held against what is left.
 *
 * Y1  One seed gives one run: the same faults at the same moments, the same answers, the same `traceHash`.
 * Y2  A workload's client is the ordinary one: what it was not answered it sends again, so it sees business errors only.
 * Y3  Invariants are checked after every crash, while the workloads go on, and at the end, after another crash without faults.
 * Y4  After the faults everything must be answered within a bound of virtual time.
 */
import { OnefoldError } from "../../base/errors.ts";
import { SeededRandom } from "../../base/random.ts";
import type { Client } from "../../entity/client-types.ts";
import type { SystemHandle } from "../../entity/definition.ts";
import type { Principal } from "../../entity/service.ts";
import { inProcessClient } from "../../runtime/in-process-client.ts";
import { deferred } from "../deferred.ts";
import { FaultCounts } from "../faults.ts";
import type { TraceLine } from "../host.ts";
import { Scheduler } from "../scheduler.ts";
import { LoneNode } from "./lone-node.ts";
import { NodeFaults, type SystemFault, systemFaults } from "./node-faults.ts";
import { PatientService, type PatientServiceOptions } from "./patient-service.ts";

export interface Workload<S extends SystemHandle> {
  /** One client for this workload alone. */
  readonly client: Client<S>;
  /** 0 for the first workload, 1 for the next: to give each its own work. */
  readonly index: number;
  /** Seeded; the only randomness that keeps a run repeatable. */
  readonly random: SimulationRandom;
  /** Virtual time. */
  sleep(durationMs: number): Promise<void>;
  /** Adds a line to the transcript of a failure. */
  note(text: string): void;
}

export interface SimulationRandom {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform, 0 ≤ n < below. */
  integer(below: number): number;
  /** Uniform, from ≤ n ≤ to. */
  between(from: number, to: number): number;
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
}

/**
 * Throws, or returns false, where something is wrong. The workloads go on meanwhile: what belongs together must be read together,
 * by one query or one transaction.
 */
export type Invariant<S extends SystemHandle> = (client: Client<S>) => Promise<unknown> | unknown;

export interface SystemSimulationOptions<S extends SystemHandle> {
  readonly seed: string | number;
  /** How many nodes there are. One, today. */
  readonly nodes?: 1;
  /** What may go wrong: all of `systemFaults` by default; each run has some of them, as its seed says. `[]` for nothing. */
  readonly faults?: readonly SystemFault[];
  /** How many run at once; default 3. */
  readonly workloads?: number;
  readonly workload: (context: Workload<S>) => Promise<void>;
  /** By name, for the report. */
  readonly invariants?: Readonly<Record<string, Invariant<S>>>;
  /** Virtual time between the last answer and the last check, for messages and timers to come to rest; default 10 s. */
  readonly settleMs?: number;
}

export interface SystemSimulationReport {
  readonly seed: string;
  /** Simulated time, ms. */
  readonly virtualMs: number;
  readonly lives: number;
  /** How many faults took effect, by kind. */
  readonly faults: Readonly<Record<string, number>>;
  /** How often an invariant was checked. */
  readonly checks: number;
  /** Equal for equal runs (Y1). */
  readonly traceHash: string;
}

/** What a run that went wrong throws. */
export class SimulationFailure extends Error {
  override readonly name = "SimulationFailure";
  readonly seed: string;
  /** What happened before it, oldest first: the last thousand lines. The message has the end of it. */
  readonly transcript: readonly string[];

  constructor(
    message: string,
    facts: { readonly seed: string; readonly transcript: readonly string[]; cause: unknown },
  ) {
    super(
      `${message}\n\nseed ${JSON.stringify(facts.seed)} gives this run again. Its faults, and its last lines:\n${shown(facts.transcript)}`,
      {
        cause: facts.cause,
      },
    );
    this.seed = facts.seed;
    this.transcript = facts.transcript;
  }
}

const developer: Principal = { tenant: "default", subject: "simulation", scopes: ["*"] };
const settleMsDefault = 10_000;
/** Virtual time in which everything must be answered once nothing is disturbed any more. */
const answersWithinMs = 120_000;
/** Of the transcript; its end, and older lines that tell of faults, are shown. */
const linesKept = 1000;
const linesShown = 60;
const workloadsDefault = 3;

type Checked = Pick<SystemSimulationOptions<SystemHandle>, "nodes" | "faults" | "workloads">;

/**
 * Runs `system` once under faults. Throws `SimulationFailure`, with the seed and a transcript, where something is wrong, and
 * `invalid-configuration` (retry `never`) for options that make no sense.
 */
export async function simulate<S extends SystemHandle>(
  system: S,
  options: SystemSimulationOptions<S>,
): Promise<SystemSimulationReport> {
  assertOptions(options);
  const simulation = new SystemSimulation(system, options);
  return simulation.run();
}

class SystemSimulation<S extends SystemHandle> {
  readonly #system: S;
  readonly #options: SystemSimulationOptions<S>;
  readonly #seed: string;
  readonly #random: SeededRandom;
  readonly #scheduler = new Scheduler({ eventsMax: 5_000_000, notesKeptMax: linesKept });
  readonly #counts = new FaultCounts();
  readonly #node: LoneNode;
  readonly #faults: NodeFaults;
  #checks = 0;

  constructor(system: S, options: SystemSimulationOptions<S>) {
    this.#system = system;
    this.#options = options;
    this.#seed = String(options.seed);
    this.#random = new SeededRandom(this.#seed);
    const random = this.#random.fork("faults");
    const kinds = new Set((options.faults ?? systemFaults).filter(() => random.chance(0.6)));
    this.#node = new LoneNode({
      system,
      scheduler: this.#scheduler,
      random: this.#random.fork("node"),
      counts: this.#counts,
      ...(kinds.has("clock-drift") ? { driftPpm: random.between(-200, 200) } : {}),
      onTrace: (line) => this.#scheduler.note(textOf(line)),
      onStart: (life, host) => this.#faults.startsLife(life, host),
    });
    this.#faults = new NodeFaults({
      node: this.#node,
      scheduler: this.#scheduler,
      random,
      kinds,
      counts: this.#counts,
    });
  }

  async run(): Promise<SystemSimulationReport> {
    try {
      await this.#scheduler.complete(Promise.race([this.#drive(), this.#node.run().then(neverEnds)]));
    } catch (cause) {
      throw new SimulationFailure(messageOf(cause), { seed: this.#seed, transcript: this.#scheduler.notes, cause });
    }
    return {
      seed: this.#seed,
      virtualMs: this.#scheduler.nowMs,
      lives: this.#node.lifeCount,
      faults: Object.fromEntries(this.#counts.entries()),
      checks: this.#checks,
      traceHash: this.#scheduler.traceHash,
    };
  }

  async #drive(): Promise<void> {
    const faults = this.#faults.disturb(() => this.#check());
    const workloads = Promise.all(
      Array.from({ length: this.#options.workloads ?? workloadsDefault }, (_, index) => this.#workload(index)),
    );
    // Calm at last, when the work is done or when there has been enough of it.
    await Promise.race([workloads, faults, this.#sleep(this.#random.fork("calm").between(500, 10_000))]);
    this.#faults.end();
    await this.#within(answersWithinMs, workloads, "the workloads' last answers");
    await faults;
    await this.#sleep(this.#options.settleMs ?? settleMsDefault);
    await this.#within(answersWithinMs, this.#check(), "the answers that the invariants ask for");
    const { end } = await this.#node.serving();
    this.#node.crash();
    await end;
    await this.#within(answersWithinMs, this.#check(), "the answers that the invariants ask for, after a crash");
  }

  async #workload(index: number): Promise<void> {
    const note = (text: string): void => this.#scheduler.note(`workload ${index}: ${text}`);
    const { promise: died, resolve: die } = deferred();
    const onDeath = (): void => {
      this.#counts.add("client-crash");
      note("fault: its client died");
      die();
    };
    const work = this.#options.workload({
      client: this.#client({ note, death: this.#faults.clientDeath(), onDeath }),
      index,
      random: this.#random.fork(`workload ${index}`),
      sleep: (durationMs) => this.#sleep(durationMs),
      note,
    });
    await Promise.race([work, died]);
  }

  async #check(): Promise<void> {
    const client = this.#client({ note: () => undefined });
    for (const [name, invariant] of Object.entries(this.#options.invariants ?? {})) {
      this.#checks++;
      let isRight: unknown;
      try {
        isRight = await invariant(client);
      } catch (cause) {
        const what = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
        throw new BrokenInvariant(`The invariant '${name}' does not hold. ${what}`, { cause });
      }
      if (isRight === false) throw new BrokenInvariant(`The invariant '${name}' does not hold.`);
    }
  }

  #client(how: Pick<PatientServiceOptions, "note" | "death" | "onDeath">): Client<S> {
    const service = new PatientService({
      node: this.#node,
      principal: developer,
      sleep: (durationMs) => this.#sleep(durationMs),
      patienceMs: answersWithinMs,
      nowMs: () => this.#scheduler.nowMs,
      ...how,
    });
    return inProcessClient(this.#system, service, developer);
  }

  #sleep(durationMs: number): Promise<void> {
    return this.#scheduler.sleep(durationMs);
  }

  async #within<T>(limitMs: number, promise: Promise<T>, what: string): Promise<T> {
    const late = Symbol("late");
    const result = await Promise.race([promise, this.#sleep(limitMs).then((): typeof late => late)]);
    if (result === late)
      throw new OnefoldError(
        "deadline-passed",
        `${what} did not come within ${limitMs} ms of virtual time. (Workloads wait by their own sleep, in virtual time: what is ` +
          "waited for in real time may never come.)",
      );
    return result as T;
  }
}

/** Its message is all that its reader needs: where it was noticed is of no interest. */
class BrokenInvariant extends Error {
  override readonly name = "BrokenInvariant";
}

function messageOf(cause: unknown): string {
  if (cause instanceof BrokenInvariant) return cause.message;
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}

function assertOptions({ nodes = 1, faults = [], workloads = workloadsDefault }: Checked): void {
  const unknown = faults.find((name) => !systemFaults.includes(name));
  if (unknown !== undefined) {
    throw new OnefoldError(
      "invalid-configuration",
      `There is no fault '${unknown}'; there is ${systemFaults.join(", ")}.`,
    );
  }
  if (nodes !== 1) throw new OnefoldError("invalid-configuration", "One node can be simulated, not more.");
  if (!Number.isInteger(workloads) || workloads < 1) {
    throw new OnefoldError("invalid-configuration", "The number of workloads is a whole number from 1.");
  }
}

function shown(transcript: readonly string[]): string {
  const faults = transcript.slice(0, -linesShown).filter((line) => line.includes("fault: ") || line.endsWith(" crash"));
  return [...faults, ...(faults.length === 0 ? [] : ["…"]), ...transcript.slice(-linesShown)].join("\n");
}

function neverEnds(): never {
  throw new Error("the simulated node ended");
}

function textOf({ level, message, fields }: TraceLine): string {
  const facts = Object.entries(fields).map(
    ([name, value]) => ` ${name}=${value instanceof Error ? value.message : JSON.stringify(value)}`,
  );
  return `node ${level}: ${message}${facts.join("")}`;
}
