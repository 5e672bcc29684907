/**
 * The part of the system log's fold that is about an embedded system's move to the cluster (`docs/cluster.md`). Its invariants are those of
 * `system-fold.ts`, and:
 *
 *     (no cluster) ──begun──▶ copying ──activated──▶ activated: the cluster has the system, for good
 *                      ▲         └────abandoned────▶ abandoned: the embedded node has it
 *                      └──────────another attempt────────┘
 *
 * PF1 Of one attempt either the activation takes hold or the abandonment, whichever comes first; never both. That is what decides, for
 *     both sides, who of the two is alive.
 * PF2 An attempt that another has followed never takes hold.
 * PF3 Only a cluster that never had a shard is moved to.
 */
import { limits } from "../base/limits.ts";
import { newShard } from "./placement-fold.ts";
import { partsOf } from "./regions-fold.ts";
import { isShardCount, type SystemRecord } from "./system-records.ts";
import type { PromotionState, ShardState, SystemState } from "./system-state.ts";

type Saying<T extends SystemRecord["type"]> = Extract<SystemRecord, { readonly type: T }>;

/** The shard that a system is moved to. */
export const movedShard = "0";

/** PF2, PF3. */
export function begin(state: SystemState, { cluster, attempt, log }: Saying<"promotion-begun">): SystemState {
  if (!isShardCount(cluster.shardCount) || !mayBegin(state, cluster.id)) return state;
  return { ...state, cluster, promotion: { attempt, log, status: "copying", verified: undefined } };
}

/** Whether the system of this identity may move here: into nothing, or where an attempt of its own has not taken hold. */
export function mayBegin({ cluster, promotion }: SystemState, id: string): boolean {
  if (cluster === undefined) return true;
  return cluster.id === id && promotion !== undefined && promotion.status !== "activated";
}

/** PF1. */
export function activate(state: SystemState, record: Saying<"promotion-activated">): SystemState {
  const { log, incarnation, parent } = record;
  if (!isOpen(state, record.attempt) || log === parent.log || parent.log !== state.promotion?.log) return state;
  const id = movedShard;
  const shard: ShardState = { ...newShard, id, from: 0, to: limits.slotCount, log, incarnation, parent };
  return changed({ ...state, shards: new Map([[id, shard]]) }, { status: "activated" });
}

/** PF1. */
export function abandon(state: SystemState, { attempt }: Saying<"promotion-abandoned">): SystemState {
  return isOpen(state, attempt) ? changed(state, { status: "abandoned" }) : state;
}

/** The first that says so. */
export function verify(state: SystemState, { attempt, member, digest }: Saying<"promotion-verified">): SystemState {
  const { promotion } = state;
  const isDue = promotion?.status === "activated" && promotion.attempt === attempt && promotion.verified === undefined;
  return isDue ? changed(state, { verified: { member, digest } }) : state;
}

/** Whether the cluster waits for its system. */
export function awaitsSystem({ promotion }: SystemState): boolean {
  return promotion !== undefined && promotion.status !== "activated";
}

/** Into how many parts a shard of a system that was moved here is to be split next; undefined for one that stays as it is. */
export function partsOfMoved({ cluster, promotion, regions }: SystemState, shard: ShardState): number | undefined {
  if (cluster === undefined || promotion?.status !== "activated") return undefined;
  const parts = partsOf(shard, cluster.shardCount, regions?.list ?? []);
  return parts > 1 ? Math.min(parts, limits.splitPartsMax) : undefined;
}

function isOpen({ promotion }: SystemState, attempt: string): boolean {
  return promotion?.status === "copying" && promotion.attempt === attempt;
}

function changed(state: SystemState, change: Partial<PromotionState>): SystemState {
  return { ...state, promotion: { ...state.promotion!, ...change } };
}
