/**
 * What a shard needs of the other shards of its system: to ask whichever of them holds a slot. Messages and transactions cross
 * shards this way and no other. A lone shard has no neighbours: all slots are its own.
 */
import type { Value } from "../base/value.ts";

/** What one shard asks another for; `type` says who answers it there (`mail.…`, `transaction.…`). */
export interface ShardRequest {
  readonly type: string;
  readonly body: Value;
}

export interface Neighbours {
  /** Whether the slot's log is this shard's own. Never changes while the shard lives: a split begins new ones. */
  isOwn(slot: number): boolean;
  /**
   * Asks the shard that holds `slot`, wherever its owner is. One attempt, which looks for the owner until the deadline,
   * `deadlineMs` from now, and is settled soon after it. Rejects with what the other shard threw, with `unavailable` or
   * `not-owner` (retry safe: surely not done), or with `outcome-unknown` (it may have been done, or be done later, also more
   * than once): every request must bear repetition.
   */
  ask(slot: number, request: ShardRequest, options: { readonly deadlineMs: number }): Promise<Value>;
}
