/** A shard's own work: done in its turn between the calls, and nobody waits for it. */
import { OnefoldError } from "../base/errors.ts";
import type { Core } from "./core.ts";
import type { Work } from "./work.ts";

/** A work that runs no user code. Damage that it finds stops the shard. Without effect where the shard has stopped. */
export function ownWork(core: Core, execute: () => void): Work {
  let isSettled = false;
  return {
    deadlineMs: Number.POSITIVE_INFINITY,
    sizeBytes: 0,
    get isSettled() {
      return isSettled;
    },
    execute: () => {
      isSettled = true;
      try {
        execute();
      } catch (error) {
        if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
        core.onDamage(error);
      }
    },
    release: () => undefined,
    fail: () => undefined,
    stopped: () => undefined,
  };
}
