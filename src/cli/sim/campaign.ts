/**
 * Simulates seeds until one fails, and adds up what happened. Several are simulated at a time, in processes of their own, and what comes of
 * it is what would if they were simulated one after the other (`seed-pool.ts`): so a seed that fails does so alone in the same way.
 */
import type { SystemHandle } from "../../entity/definition.ts";
import { simulate } from "../../sim/testing/simulate-system.ts";
import { SimulationFailure, type SystemSimulationOptions } from "../../sim/testing/simulation.ts";
import { CommandFailure, exitCodes } from "../exit-code.ts";
import { runSeeds, SeedCrash } from "./seed-pool.ts";
import { runSeed, type SeedResult, type SystemTask } from "./system-seed.ts";

/** What the command line says of each run, besides its seed and what the module's own simulation says. */
export type SaidOptions = SystemTask["said"];

export interface Totals {
  /** Seeds that were simulated to their end. */
  seeds: number;
  virtualMs: number;
  events: number;
  operations: number;
  checks: number;
  lives: number;
  /** By kind. */
  readonly faults: Map<string, number>;
}

export interface CampaignReport {
  readonly totals: Totals;
  /** What the first seed that failed threw. */
  readonly failure: SimulationFailure | undefined;
  /** Of the last seed. */
  readonly traceHash: string | undefined;
  readonly transcript: readonly string[];
}

export interface Campaign {
  /** The system's module. */
  readonly path: string;
  readonly said: SaidOptions;
  /** Whether the transcript of the last seed is wanted though all have passed. */
  readonly keepsTranscript: boolean;
  readonly seeds: readonly string[];
  readonly jobs: number;
}

/** `options`: all of them, of the simulation and of the command line. */
export async function runCampaign(
  system: SystemHandle,
  options: Omit<SystemSimulationOptions<SystemHandle>, "seed">,
  campaign: Campaign,
  onDone: (progress: { readonly seed: string; readonly doneCount: number }) => void,
): Promise<CampaignReport> {
  const { seeds } = campaign;
  // A process of its own takes longer to start than one seed takes.
  if (seeds.length > 1) return reportOf(await resultsOf(campaign, onDone));
  const run = (seed: string) => runSeed(seed, () => simulate(system, { ...options, seed }));
  return reportOf(await Promise.all(seeds.map(run)));
}

async function resultsOf(
  { path, said, keepsTranscript, seeds, jobs }: Campaign,
  onDone: (progress: { readonly seed: string; readonly doneCount: number }) => void,
): Promise<readonly SeedResult[]> {
  const task: SystemTask = { path, said, keepsTranscript };
  const entry = new URL("./system-child", import.meta.url);
  const isLast = ({ kind }: SeedResult): boolean => kind === "failed";
  try {
    return await runSeeds<SeedResult>({ entry, task, seeds, jobs, isLast, onDone });
  } catch (error) {
    if (!(error instanceof SeedCrash)) throw error;
    const hint = `Run it alone to see more: --seed ${error.seed}.`;
    throw new CommandFailure(exitCodes.refused, `${error.message} ${hint}`, { cause: error });
  }
}

function reportOf(results: readonly SeedResult[]): CampaignReport {
  const totals: Totals = { seeds: 0, virtualMs: 0, events: 0, operations: 0, checks: 0, lives: 0, faults: new Map() };
  let traceHash: string | undefined;
  let transcript: readonly string[] = [];
  for (const result of results) {
    if (result.kind === "failed") {
      const failure = new SimulationFailure(result.finding, result.facts);
      return { totals, failure, traceHash: undefined, transcript: failure.transcript };
    }
    const { report } = result;
    totals.seeds++;
    for (const what of ["virtualMs", "events", "operations", "checks", "lives"] as const) totals[what] += report[what];
    for (const [kind, count] of Object.entries(report.faults)) {
      totals.faults.set(kind, (totals.faults.get(kind) ?? 0) + count);
    }
    ({ traceHash, transcript } = report);
  }
  return { totals, failure: undefined, traceHash, transcript };
}
