/** Simulations of Onefold itself: random programs against a naive model, under every fault that one node can meet. */
export { type DamageReport, simulateDamage } from "./damage.ts";
export type { FaultsPlan } from "./faults-plan.ts";
export type { Program } from "./program.ts";
export { simulate, type SimulationOptions, type SimulationReport } from "./simulate.ts";
export { failureText, parsePlan, planText, SimulationSummary } from "./summary.ts";
