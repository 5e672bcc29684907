/**
 * Makes the plan of a failed run small, by running parts of it again under the same seed.
 *
 * SF1  What is given back has failed for the same reason as the first run, and its plan gives it again.
 */
import type { SystemHandle } from "../../entity/definition.ts";
import { shrink } from "../shrink.ts";
import { simulate } from "./simulate-system.ts";
import { SimulationFailure, type SystemSimulationOptions } from "./simulation.ts";
import { type SimulatedEvent, type SimulationPlan, simplerEvents } from "./simulation-plan.ts";

export interface ShrinkFailureOptions {
  /** How often the simulation is run at most; default 60. */
  readonly attemptsMax?: number;
  /** Told before each run. */
  readonly onAttempt?: (attempt: { readonly number: number; readonly smallest: number }) => void;
}

export interface ShrunkFailure {
  /** The one with the smallest plan that was found. */
  readonly failure: SimulationFailure;
  readonly attemptCount: number;
  /** False if the first plan itself did not fail again: the system's code has other sources of chance than its context. */
  readonly isReproduced: boolean;
}

const attemptsMaxDefault = 60;

/** Shrinks `failure`, which a run with `options` has thrown. On one node there is no plan, and nothing is tried. */
export async function shrinkFailure<S extends SystemHandle>(
  system: S,
  options: SystemSimulationOptions<S>,
  failure: SimulationFailure,
  { attemptsMax = attemptsMaxDefault, onAttempt }: ShrinkFailureOptions = {},
): Promise<ShrunkFailure> {
  if (failure.plan === undefined) return { failure, attemptCount: 0, isReproduced: true };
  let smallest = failure;
  let number = 0;
  const fails = async (events: readonly SimulatedEvent[]): Promise<boolean> => {
    number++;
    onAttempt?.({ number, smallest: smallest.plan!.events.length });
    const found = await failureUnder(system, options, { events });
    if (found?.reason !== failure.reason) return false;
    smallest = found;
    return true;
  };
  const report = await shrink(failure.plan.events, { fails, attemptsMax, simpler: simplerEvents });
  return { failure: smallest, attemptCount: report.attemptCount, isReproduced: report.isReproduced };
}

async function failureUnder<S extends SystemHandle>(
  system: S,
  options: SystemSimulationOptions<S>,
  plan: SimulationPlan,
): Promise<SimulationFailure | undefined> {
  try {
    await simulate(system, { ...options, plan });
  } catch (error) {
    if (error instanceof SimulationFailure) return error;
    throw error;
  }
  return undefined;
}
