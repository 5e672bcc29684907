/**
 * `onefold/sim`: what users test their own systems with. `testSystem` for plain tests in a time that stands still, `simulate` for
 * runs under simulated faults, from one seed.
 */
export type { SystemFault } from "./testing/node-faults.ts";
export { systemFaults } from "./testing/node-faults.ts";
export {
  type Invariant,
  SimulationFailure,
  type SimulationRandom,
  type SystemSimulationOptions,
  type SystemSimulationReport,
  simulate,
  type Workload,
} from "./testing/simulate-system.ts";
export { type TestSystem, type TestSystemOptions, testSystem } from "./testing/test-system.ts";
