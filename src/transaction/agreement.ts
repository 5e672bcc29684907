/** What the participants at other shards say to the end of a body: whether the transaction may end like that. */
import { OnefoldError, type Refused } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { Core } from "../entity/core.ts";
import type { Attempt, Verdict } from "./attempt.ts";

/** What a body came to. */
export type Ended = { readonly output: Value | undefined } | { readonly error: OnefoldError | Refused };

/**
 * `agreed`: all participants are prepared, or have confirmed what the body failed of. `lost`: it is to be tried again. `failed`: it
 * fails of something else than its body did, which they have confirmed as well.
 */
export async function agreement(core: Core, attempt: Attempt, ended: Ended): Promise<Verdict> {
  if ("error" in ended) return (await attempt.confirm()) ? { kind: "agreed" } : { kind: "lost" };
  if (core.working.transactions.decisionCount >= core.limits.decisionsMax) {
    const message = "Too many transactions wait for other shards to acknowledge them; nothing was changed.";
    // Of the shard's state, not of what the body has seen.
    return { kind: "failed", error: new OnefoldError("overloaded", message, { retryAfterMs: 1000 }) };
  }
  const verdict = await attempt.vote();
  if (verdict.kind !== "failed") return verdict;
  return (await attempt.confirm()) ? verdict : { kind: "lost" };
}
