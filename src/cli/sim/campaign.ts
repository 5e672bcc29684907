/** Simulates one seed after the other until one fails, and adds up what happened. */
import type { SystemHandle } from "../../entity/definition.ts";
import { simulate } from "../../sim/testing/simulate-system.ts";
import { SimulationFailure, type SystemSimulationOptions } from "../../sim/testing/simulation.ts";

export interface Totals {
  /** Seeds that were simulated to their end. */
  seeds: number;
  virtualMs: number;
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

export async function runCampaign(
  system: SystemHandle,
  options: Omit<SystemSimulationOptions<SystemHandle>, "seed">,
  seeds: Iterable<string>,
  onSeed: (seed: string, totals: Totals) => void,
): Promise<CampaignReport> {
  const totals: Totals = { seeds: 0, virtualMs: 0, operations: 0, checks: 0, lives: 0, faults: new Map() };
  let traceHash: string | undefined;
  let transcript: readonly string[] = [];
  for (const seed of seeds) {
    onSeed(seed, totals);
    try {
      const report = await simulate(system, { ...options, seed });
      totals.seeds++;
      for (const what of ["virtualMs", "operations", "checks", "lives"] as const) totals[what] += report[what];
      for (const [kind, count] of Object.entries(report.faults)) {
        totals.faults.set(kind, (totals.faults.get(kind) ?? 0) + count);
      }
      ({ traceHash, transcript } = report);
    } catch (error) {
      if (!(error instanceof SimulationFailure)) throw error;
      return { totals, failure: error, traceHash: undefined, transcript: error.transcript };
    }
  }
  return { totals, failure: undefined, traceHash, transcript };
}
