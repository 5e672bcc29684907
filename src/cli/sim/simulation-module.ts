/**
 * What a user says about simulating a system: the export `simulation` of the system's module, or of a module `simulation` beside it.
 * Without one, a workload is made from the system's schemas.
 */
import { access } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import type { SystemHandle } from "../../entity/definition.ts";
import { generatedSimulation } from "../../sim/testing/generated-workload.ts";
import type { Simulation } from "../../sim/testing/simulation.ts";
import { CommandFailure, exitCodes } from "../exit-code.ts";
import { importModule, type SystemModule } from "../system-module.ts";
import { moduleExtensions } from "../system-path.ts";

export interface FoundSimulation {
  readonly simulation: Simulation<SystemHandle>;
  /** Where it is from, for a person. */
  readonly origin: string;
}

/** Throws `CommandFailure` (usage) for a `simulation` that is none. */
export async function findSimulation(module: SystemModule): Promise<FoundSimulation> {
  if (module.simulation !== undefined) return checked(module.simulation, module.path);
  for (const extension of moduleExtensions) {
    const path = join(dirname(module.path), `simulation${extension}`);
    if (!(await exists(path))) continue;
    const { simulation } = await importModule(path);
    return checked(simulation, path);
  }
  return {
    simulation: await generatedSimulation(module.system),
    origin: "a workload made from its schemas, as no simulation is exported",
  };
}

function checked(simulation: unknown, path: string): FoundSimulation {
  const shown = relative(process.cwd(), path);
  const has = (simulation ?? {}) as Partial<Record<keyof Simulation<SystemHandle>, unknown>>;
  if (typeof has.workload !== "function") {
    throw new CommandFailure(
      exitCodes.usage,
      `${shown} exports no simulation with a workload. Say: export const simulation = { workload: async ({ client }) => { … }, invariants: { … } }.`,
    );
  }
  return { simulation: simulation as Simulation<SystemHandle>, origin: `the simulation of ${shown}` };
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}
