/** A process that simulates seeds of a user's system for `onefold sim` (`campaign.ts`). */
import { performance } from "node:perf_hooks";
import { LateNotice } from "../../sim/testing/call-limit.ts";
import { simulate, simulateUnder } from "../../sim/testing/simulate-system.ts";
import { enableTypeScript, isTypeScript, loadSystem } from "../system-module.ts";
import { serveSeeds } from "./seed-child.ts";
import { findSimulation } from "./simulation-module.ts";
import { runSeed, type SeedResult, type SystemTask } from "./system-seed.ts";

serveSeeds(async (task) => {
  const { path, said, keepsTranscript } = task as SystemTask;
  if (isTypeScript(path)) enableTypeScript();
  const module = await loadSystem(path);
  const { simulation } = await findSimulation(module);
  const { system } = module;
  return async (seed, { isGuarded }): Promise<SeedResult> => {
    const options = { ...simulation, ...said, seed };
    if (!isGuarded) {
      // A limit on each call costs a quarter of the whole run, and hardly any system needs it: this process is watched.
      const notice = new LateNotice(() => performance.now());
      const result = await runSeed(seed, () => simulateUnder(system, options, notice));
      if (!notice.isDue) return shortened(result);
    }
    return shortened(await runSeed(seed, () => simulate(system, options)));
  };

  function shortened(result: SeedResult): SeedResult {
    if (result.kind === "failed" || keepsTranscript) return result;
    return { kind: "passed", report: { ...result.report, transcript: [] } };
  }
});
