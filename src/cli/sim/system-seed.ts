/** One seed of a user's system: what is told of it from process to process. */
import type { SystemHandle } from "../../entity/definition.ts";
import {
  type FailureFacts,
  SimulationFailure,
  type SystemSimulationOptions,
  type SystemSimulationReport,
} from "../../sim/testing/simulation.ts";

export interface SystemTask {
  /** The system's module; its simulation is found as `findSimulation` does. */
  readonly path: string;
  readonly said: Pick<
    SystemSimulationOptions<SystemHandle>,
    "nodes" | "shards" | "faults" | "plan" | "transcriptLines"
  >;
  /** Whether anybody wants the transcript of a seed that passed. */
  readonly keepsTranscript: boolean;
}

export type SeedResult =
  | { readonly kind: "passed"; readonly report: SystemSimulationReport }
  /** Of what was thrown, all but its cause, which may be anything. */
  | { readonly kind: "failed"; readonly finding: string; readonly facts: FailureFacts };

/** Throws what is no failure of the simulation. */
export async function runSeed(seed: string, run: () => Promise<SystemSimulationReport>): Promise<SeedResult> {
  try {
    return { kind: "passed", report: await run() };
  } catch (error) {
    if (!(error instanceof SimulationFailure)) throw error;
    const { finding, transcript, reason, plan } = error;
    return { kind: "failed", finding, facts: { seed, transcript, reason, plan, cause: undefined } };
  }
}
