/**
 * The part of the system log's fold that is about regions. Its invariants are those of `system-fold.ts`, and:
 *
 * RF1 Regions are decided with the founding, before anybody has joined. What a kind is pinned to never changes.
 * RF2 A cluster that is founded with regions has no shard with slots of one and of others. A system that is moved to one is cut first of
 *     all (`nextCut`); until then its slots are where they were.
 */
import { limits } from "../base/limits.ts";
import { cutByRegions, type Region, regionOfRange, type SlotRange } from "../base/regions.ts";
import { newShard } from "./placement-fold.ts";
import { fitsRegions } from "./system-records.ts";
import type { RegionsState, ShardState, SystemState } from "./system-state.ts";

/** A region's slots are in so many shards, in a cluster that has as many. */
const regionShardCount = 4;

/** RF1. */
export function foundRegions(state: SystemState, regions: RegionsState): SystemState {
  const { cluster } = state;
  const isNew = cluster !== undefined && state.regions === undefined && state.members.size === 0;
  if (!isNew || !fitsRegions(regions) || cluster.shardCount >= limits.shardsMax) return state;
  // Of a system that moves here there are none yet.
  if (state.shards.size === 0) return { ...state, regions };
  const shards = new Map<string, ShardState>();
  for (const { from, to } of rangesOf(cluster.shardCount, regions.list)) {
    const id = String(shards.size);
    shards.set(id, { ...newShard, id, from, to, log: `shard-${id}` });
  }
  return { ...state, regions, shards };
}

export function declareKinds(state: SystemState, kinds: RegionsState["kinds"]): SystemState {
  if (state.regions === undefined || contradiction(state.regions, kinds) !== undefined) return state;
  const regions = { ...state.regions, kinds: { ...state.regions.kinds, ...kinds } };
  return fitsRegions(regions) ? { ...state, regions } : state;
}

/** The first kind, by name, that these say something else of than what stands, or whose region there is not; undefined where none does. */
export function contradiction(
  { list, kinds: known }: RegionsState,
  kinds: RegionsState["kinds"],
): { readonly kind: string; readonly known: string | undefined } | undefined {
  for (const [kind, region] of Object.entries(kinds).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const before = Object.hasOwn(known, kind) ? known[kind] : undefined;
    const hasRegion = region === "" || list.some(({ name }) => name === region);
    if ((before !== undefined && before !== region) || !hasRegion) return { kind, known: before };
  }
  return undefined;
}

/** Shards of one size, cut where regions begin and end, and each region's divided. */
function rangesOf(shardCount: number, regions: readonly Region[]): readonly SlotRange[] {
  const slots = limits.slotCount / shardCount;
  const even = Array.from({ length: shardCount }, (_, index) => ({ from: index * slots, to: (index + 1) * slots }));
  return even
    .flatMap((range) => cutByRegions(range, regions))
    .flatMap((range) => divided(range, partsOf(range, shardCount, regions)));
}

/** Into how many parts such a range is to be divided, so that its parts are about as large as others of its sort. */
export function partsOf(range: SlotRange, shardCount: number, regions: readonly Region[]): number {
  const region = regionOfRange(regions, range);
  const [slots, count] =
    region === undefined
      ? [limits.slotCount, shardCount]
      : [limits.regionSlotCount, Math.min(shardCount, regionShardCount)];
  return Math.max(1, Math.round(((range.to - range.from) * count) / slots));
}

export function divided({ from, to }: SlotRange, parts: number): readonly SlotRange[] {
  const boundary = (index: number): number => from + Math.floor((index * (to - from)) / parts);
  return Array.from({ length: parts }, (_, index) => ({ from: boundary(index), to: boundary(index + 1) }));
}

/** RF2: the parts of a shard with slots of a region and of others, at most as many as one split makes; undefined where it is whole. */
export function nextCut({ regions }: SystemState, shard: SlotRange): readonly SlotRange[] | undefined {
  const parts = regions === undefined ? [] : cutByRegions(shard, regions.list);
  if (parts.length < 2) return undefined;
  const first = parts.slice(0, limits.splitPartsMax - 1);
  const rest = parts.slice(first.length);
  return rest.length === 0 ? first : [...first, { from: rest[0]!.from, to: shard.to }];
}
