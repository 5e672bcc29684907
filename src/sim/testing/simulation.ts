/** What a user says of a simulation, and what they are told: options, report, failure. How it is run is in other files. */
import type { Client } from "../../entity/client-types.ts";
import type { SystemHandle } from "../../entity/definition.ts";
import type { SystemFault } from "./node-faults.ts";
import { type ClusterSystemFault, eventText, type SimulationPlan } from "./simulation-plan.ts";

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

/** What `onefold sim` looks for, too: a module exports it as `simulation`. */
export interface Simulation<S extends SystemHandle> {
  /**
   * What may go wrong. On one node all of `systemFaults` by default, on several all of `clusterSystemFaults` that a healthy engine allows. Each
   * run has some of them, as its seed says. `[]` for nothing.
   */
  readonly faults?: readonly SimulatedFault[];
  /** How many run at once; default 3. */
  readonly workloads?: number;
  readonly workload: (context: Workload<S>) => Promise<void>;
  /** By name, for the report. */
  readonly invariants?: Readonly<Record<string, Invariant<S>>>;
  /** What need not hold in between: checked once the workloads have ended and `settleMs` have passed, and after the last crash. */
  readonly atRest?: Readonly<Record<string, Invariant<S>>>;
  /** Virtual time between the last answer and the last check, for messages and timers to come to rest; default 10 s. */
  readonly settleMs?: number;
}

export type SimulatedFault = SystemFault | ClusterSystemFault;

export interface SystemSimulationOptions<S extends SystemHandle> extends Simulation<S> {
  readonly seed: string | number;
  /** How many nodes there are: 1, the default, is the embedded system; from 2 on it is a cluster. At most `nodesMax`. */
  readonly nodes?: number;
  /** Of a cluster: how many shards there are at first, a power of 2; default 16. */
  readonly shards?: number;
  /** Of a cluster: what goes wrong, instead of what the seed and `faults` would give. As a failure or its shrunk twin has it. */
  readonly plan?: SimulationPlan;
  /** How many lines of the transcript are kept; default 1000. */
  readonly transcriptLines?: number;
}

export const nodesMax = 9;
export const shardsDefault = 16;
export const workloadsDefault = 3;
export const settleMsDefault = 10_000;
/** Virtual time in which everything must be answered once nothing is disturbed any more. */
export const answersWithinMs = 120_000;

export interface SystemSimulationReport {
  readonly seed: string;
  readonly nodes: number;
  /** Simulated time, ms. */
  readonly virtualMs: number;
  /** Steps of the simulation: timers, arrivals, what a disk has done. */
  readonly events: number;
  /** Of all nodes. */
  readonly lives: number;
  /** How many faults took effect, by kind. */
  readonly faults: Readonly<Record<string, number>>;
  /** Calls of workloads that were answered. */
  readonly operations: number;
  /** How often an invariant was checked, or, of a cluster, something that holds of every system. */
  readonly checks: number;
  /** Equal for equal runs (Y1). */
  readonly traceHash: string;
  /** What happened, oldest first: as many of the last lines as are kept. */
  readonly transcript: readonly string[];
}

export const transcriptLinesDefault = 1000;
/** Of the transcript, its end, and older lines that tell of faults, are shown. */
const linesShown = 60;

export interface FailureFacts {
  readonly seed: string;
  readonly transcript: readonly string[];
  readonly reason: string;
  readonly plan?: SimulationPlan | undefined;
  readonly cause: unknown;
}

/** What a run that went wrong throws. */
export class SimulationFailure extends Error {
  override readonly name = "SimulationFailure";
  readonly seed: string;
  /** What was wrong, without what differs from run to run: two failures with one reason have found the same. */
  readonly reason: string;
  /** What happened before it, oldest first: as many of the last lines as are kept. The message has the end of it. */
  readonly transcript: readonly string[];
  /** What was planned to go wrong; undefined on one node, where what goes wrong follows from the run itself. */
  readonly plan: SimulationPlan | undefined;
  /** What was wrong, alone. */
  readonly finding: string;

  constructor(finding: string, facts: FailureFacts) {
    super(
      `${finding}\n\nseed ${JSON.stringify(facts.seed)} gives this run again. Its faults, and its last lines:\n${shownTranscript(facts.transcript)}`,
      { cause: facts.cause },
    );
    this.finding = finding;
    this.seed = facts.seed;
    this.reason = facts.reason;
    this.transcript = facts.transcript;
    this.plan = facts.plan;
  }
}

/** A line of what hosts do with disks and network: too many to be read at first. */
const machineLine =
  /^[\d.]+ (\S+ > \S+ #\d+,|(read|write|writeDurable|append|sync|syncDirectory|truncate|size|close|open|list|makeDirectory|remove|rename|lock|unlock) ?\S*( \S+)?$|freeBytes$)/;

/** A transcript without what hosts do with their disks and their network. */
export function briefTranscript(transcript: readonly string[]): readonly string[] {
  return transcript.filter((line) => !machineLine.test(line));
}

/** The end of a transcript, and the faults before it, each with so many lines that lead to it. */
export function shownTranscript(transcript: readonly string[], { linesBefore = 0 } = {}): string {
  const older = transcript.slice(0, -linesShown);
  const isShown = new Set<number>();
  for (const [index, line] of older.entries()) {
    if (!line.includes("fault: ") && !line.endsWith(" crash")) continue;
    for (let shown = Math.max(0, index - linesBefore); shown <= index; shown++) isShown.add(shown);
  }
  const faults = older.filter((_, index) => isShown.has(index));
  return [...faults, ...(faults.length === 0 ? [] : ["…"]), ...transcript.slice(-linesShown)].join("\n");
}

/** A line for each event of a plan. */
export function planText({ events }: SimulationPlan): string {
  return events.length === 0 ? "no faults at all" : events.map(eventText).join("\n");
}

/** Something is wrong, and its message is all that its reader needs: where it was noticed is of no interest. */
export class BrokenPromise extends Error {
  override readonly name = "BrokenPromise";
  readonly reason: string;

  constructor(reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** What a run threw, as the failure that its user gets. */
export function failureOf(cause: unknown, facts: Omit<FailureFacts, "reason" | "cause">): SimulationFailure {
  return new SimulationFailure(findingOf(cause), { ...facts, reason: reasonOf(cause), cause });
}

function findingOf(cause: unknown): string {
  if (cause instanceof BrokenPromise) return cause.message;
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}

function reasonOf(cause: unknown): string {
  if (cause instanceof BrokenPromise) return cause.reason;
  if (!(cause instanceof Error)) return String(cause);
  return "code" in cause ? String(cause.code) : `${cause.name}: ${cause.message.split("\n", 1)[0]}`;
}
