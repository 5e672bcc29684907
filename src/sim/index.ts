/**
 * `onefold/sim`: what users test their own systems with. `testSystem` for plain tests in a time that stands still, `simulate` for
 * runs under simulated faults, from one seed.
 */
export { type SystemFault, systemFaults } from "./testing/node-faults.ts";
export { simulate } from "./testing/simulate-system.ts";
export {
  type Invariant,
  type Simulation,
  SimulationFailure,
  type SimulationRandom,
  type SimulatedFault,
  type SystemSimulationOptions,
  type SystemSimulationReport,
  type Workload,
} from "./testing/simulation.ts";
export {
  type ClientCrash,
  type ClusterSystemFault,
  clusterSystemFaults,
  type SimulatedEvent,
  type SimulationPlan,
} from "./testing/simulation-plan.ts";
export { type TestSystem, type TestSystemOptions, testSystem } from "./testing/test-system.ts";
