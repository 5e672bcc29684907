/** Questions to the shard of a slot, wherever it is, again and again until one is answered. */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { Core } from "../entity/core.ts";

/** The first pause between two attempts; each is twice as long as the one before. */
const pauseMsMin = 10;
const pauseMsMax = 1000;

/** One attempt, which may have had its effect also where it rejects. */
export type Ask = (slot: number, type: string, body: Value) => Promise<Value>;

/** Asks other shards through `core.neighbours`, and this one through `own`. */
export function asking(core: Core, own: (type: string, body: Value) => Promise<Value>): Ask {
  return (slot, type, body) => {
    if (core.neighbours === undefined || core.isOwn(slot)) return own(type, body);
    return core.neighbours.ask(slot, { type, body }, { deadlineMs: core.limits.transactionAskMs });
  };
}

/**
 * Asks until there is an answer. Undefined once `isOver` says that nobody wants it any more. Rejects with an error by which no
 * repetition would be answered.
 */
export async function askUntil(
  core: Core,
  attempt: () => Promise<Value>,
  isOver: () => boolean,
): Promise<Value | undefined> {
  for (let pauseMs = pauseMsMin; !isOver(); pauseMs = Math.min(2 * pauseMs, pauseMsMax)) {
    try {
      const answer = await attempt();
      return isOver() ? undefined : answer;
    } catch (error) {
      if (!mayBeRepeated(error)) throw error;
    }
    await new Promise<void>((resolve) => core.host.timers.after(pauseMs * (0.5 + core.host.random.next()), resolve));
  }
  return undefined;
}

/** What other shards throw at a question; every question bears repetition. */
function mayBeRepeated(error: unknown): boolean {
  return error instanceof OnefoldError && error.retry !== "never";
}
