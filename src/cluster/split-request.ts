/** What an operator may ask of a shard: that it be split. Pure, but for the proposal. */
import { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { hasRoomFor } from "./placement-fold.ts";
import type { SystemLog } from "./system-log.ts";
import type { SystemState } from "./system-state.ts";

const proposeMs = 5000;

/**
 * Resolves when the request stands in the system log. Throws `not-found` (retry never) for a shard that there is not, `conflict` where it
 * can't be asked (safe: not now; never: not at all), `unavailable` (safe).
 */
export async function askForSplit(log: SystemLog, shard: string, parts: number): Promise<void> {
  assertSplittable(log.state, shard, parts);
  const outcome = await log.propose(
    (state) => (isSplittable(state, shard, parts) ? [{ type: "split-asked", shard, parts }] : undefined),
    {
      deadlineMs: proposeMs,
    },
  );
  if (outcome.kind === "committed") return;
  if (outcome.kind === "unknown") {
    throw new OnefoldError(
      "unavailable",
      "The system log can't be written now. Look whether the split was asked for, and ask again.",
    );
  }
  // Something else came first.
  assertSplittable(log.state, shard, parts);
}

function isSplittable(state: SystemState, shard: string, parts: number): boolean {
  try {
    assertSplittable(state, shard, parts);
    return true;
  } catch (error) {
    if (error instanceof OnefoldError) return false;
    throw error;
  }
}

/** Throws as `askForSplit`. */
export function assertSplittable(state: SystemState, id: string, parts: number): void {
  const shard = state.shards.get(id);
  if (shard === undefined || shard.status === "retired") {
    throw new OnefoldError("not-found", `There is no shard ${id} now. GET /v1/cluster names those that there are.`);
  }
  const slotCount = shard.to - shard.from;
  const partsMax = Math.min(limits.splitPartsMax, slotCount);
  if (parts < 2 || parts > partsMax) {
    const message = `The shard ${id} has ${slotCount} slots: it can be split into 2 to ${partsMax}, not into ${parts}.`;
    throw new OnefoldError("conflict", message, { retry: "never" });
  }
  if (!hasRoomFor(state, parts)) {
    throw new OnefoldError("conflict", `A cluster has ${limits.shardsMax} shards at most.`, { retry: "never" });
  }
  if (shard.status !== "active" || shard.movingTo !== undefined) {
    const message = `The shard ${id} is ${shard.status === "active" ? "being moved" : shard.status} just now. Ask again later.`;
    throw new OnefoldError("conflict", message, { retryAfterMs: 1000 });
  }
}
