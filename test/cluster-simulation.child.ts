/** A process that simulates seeds of the cluster's drill, for `cluster-simulation.test.ts` and `scripts/sim-long.ts`. */
import { serveSeeds } from "../src/cli/sim/seed-child.ts";
import { simulateCluster } from "../src/sim/cluster/simulate-cluster.ts";
import { options } from "./cluster-simulation.fixture.ts";

serveSeeds(async () => async (seed) => simulateCluster({ seed, ...options }));
