/** What an attempt's failure says about the call: whether it may be made again. */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { SystemState } from "./system-state.ts";

/**
 * `final`: the call's own answer. `not-begun`: nothing happened, and another attempt may do better. `in-doubt`: it may have
 * happened; only what bears repetition is sent again.
 */
export type FailureClass = "final" | "not-begun" | "in-doubt";

export function failureClass(error: unknown): FailureClass {
  if (!(error instanceof OnefoldError)) return "final";
  switch (error.code) {
    case "unavailable":
    case "not-owner":
    case "not-ready":
    case "overloaded":
    // The shard has stopped; the node, or another one, will serve it again.
    case "stopped":
      return error.retry === "safe" ? "not-begun" : error.retry === "unknown" ? "in-doubt" : "final";
    case "outcome-unknown":
      return "in-doubt";
    default:
      return "final";
  }
}

/** Where a node that does not own a shard sends who asked: the member that is to own it, as far as it knows. */
export interface OwnerHint {
  readonly shard: string;
  readonly member: string;
  /** Hints of a higher one are the later ones. */
  readonly assignment: number;
}

/** Who is to own a shard when what is under way has ended: the member that it moves to, else its owner; with the assignment that it has then. */
export function ownerToBe(state: SystemState, shardId: string): OwnerHint | undefined {
  const { owner, movingTo, assignment } = state.shards.get(shardId) ?? {};
  if (owner === undefined || assignment === undefined) return undefined;
  if (movingTo === undefined) return { shard: shardId, member: owner, assignment };
  return { shard: shardId, member: movingTo, assignment: assignment + 1 };
}

/** What the node at `address` says that does not own the shard. Where it has just given it up, that is whom it moves to. */
export function notOwner(state: SystemState, shardId: string, address: string): OnefoldError {
  const shard = state.shards.get(shardId);
  const isOwn = shard?.owner !== undefined && state.members.get(shard.owner)?.address === address;
  const hint = isOwn
    ? ownerToBe(state, shardId)
    : shard?.owner === undefined
      ? undefined
      : { shard: shardId, member: shard.owner, assignment: shard.assignment };
  const details = hint === undefined ? undefined : { ...hint };
  return new OnefoldError("not-owner", `This node does not own the shard ${shardId}.`, { details, retryAfterMs: 50 });
}

export function hintOf(error: unknown): OwnerHint | undefined {
  if (!(error instanceof OnefoldError) || error.code !== "not-owner") return undefined;
  const { shard, member, assignment } = (error.details ?? {}) as { readonly [name: string]: Value | undefined };
  const isHint = typeof shard === "string" && typeof member === "string" && typeof assignment === "number";
  return isHint ? { shard, member, assignment } : undefined;
}
