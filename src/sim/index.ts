/**
 * `onefold/sim`: simulated time, disk and faults, from one seed. Small for now: what tests of this library use themselves.
 */
export { FaultCounts, type FaultKind } from "./faults.ts";
export { SimulatedHost, SimulatedNode, type SimulatedNodeOptions, simulatedHost } from "./host.ts";
export { Scheduler, type SchedulerOptions } from "./scheduler.ts";
export { type DamageReport, simulateDamage } from "./workload/damage.ts";
export type { FaultsPlan } from "./workload/faults-plan.ts";
export type { Program } from "./workload/program.ts";
export { simulate, type SimulationOptions, type SimulationReport } from "./workload/simulate.ts";
export { failureText, parsePlan, planText, SimulationSummary } from "./workload/summary.ts";
