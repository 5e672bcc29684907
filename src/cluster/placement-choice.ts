/** Which member is to have what: the controller's preferences, pure. */
import { type Loads, lowest } from "./loads.ts";
import type { ShardState, SystemState } from "./system-state.ts";

/**
 * A copy that lacks more records than this is not near enough for its member to take the shard over without a wait: each is read and synced by
 * itself, which took up to 5 ms each on a busy machine.
 */
export const nearRecordsMax = 64;

/**
 * Who takes over a shard without an owner: of the followers that may own (where none of them may, of all members) one whose copy is near the
 * one that reaches farthest, else the nearest; then the one that owns least, so that nothing has to move again; then the preferred one.
 * Undefined where nobody may own. A shard that is pinned to a region has nobody rather than somebody elsewhere.
 */
export function chooseOwner(
  shard: ShardState,
  { loads, copies }: { readonly loads: Loads; readonly copies: ReadonlyMap<string, number> | undefined },
): string | undefined {
  const followers = shard.followers.filter((follower) => loads.mayOwn(shard, follower));
  const candidates = followers.length === 0 ? loads.eligibleFor(shard) : followers;
  const reach = (member: string): number => copies?.get(member) ?? 0;
  const farthest = Math.max(...candidates.map(reach));
  return lowest(candidates, (member) => [Math.max(0, farthest - reach(member) - nearRecordsMax), loads.of(member)]);
}

/**
 * The followers that the shard shall have: of the present ones those that may own, in their order, and new ones for the rest, in regions and
 * zones where there is no copy yet, if there are such. Who may not own (it drains, or has other code than is deployed) stays as long as
 * there is nobody else, and is taken where there would be too few; but never who is not in the region that the shard is pinned to.
 */
export function chooseFollowers(shard: ShardState, state: SystemState, loads: Loads): readonly string[] {
  const count = state.cluster?.followerCount ?? 0;
  const inReach = shard.followers.filter((follower) => loads.mayHave(shard, follower));
  const followers = inReach.filter((follower) => loads.mayOwn(shard, follower)).slice(0, count);
  const fill = (candidates: readonly string[]): void => {
    while (followers.length < count) {
      const next = bestFollower(loads, candidates, [shard.owner!, ...followers]);
      if (next === undefined) return;
      followers.push(next);
    }
  };
  fill(loads.eligibleFor(shard));
  const leftOver = inReach.filter((follower) => !followers.includes(follower));
  followers.push(...leftOver.slice(0, count - followers.length));
  fill(loads.able.filter((member) => loads.mayHave(shard, member)));
  return followers;
}

/** The same number of followers in one more region, or in as many and one more zone, by the exchange of one; undefined where none is. */
export function furtherApart(shard: ShardState, loads: Loads): readonly string[] | undefined {
  const holders = [shard.owner!, ...shard.followers];
  const newcomer = bestFollower(loads, loads.eligibleFor(shard), holders);
  if (newcomer === undefined) return undefined;
  const now = spreadOf(loads, holders);
  // The last one of them first: who stands before is preferred.
  for (let index = shard.followers.length - 1; index >= 0; index--) {
    const followers = shard.followers.with(index, newcomer);
    const then = spreadOf(loads, [shard.owner!, ...followers]);
    const isFurther = then.regions > now.regions || (then.regions === now.regions && then.zones > now.zones);
    if (isFurther) return followers;
  }
  return undefined;
}

function spreadOf(loads: Loads, holders: readonly string[]): { readonly regions: number; readonly zones: number } {
  const count = (of: (member: string) => string): number => new Set(holders.map(of)).size;
  return { regions: count((member) => loads.regionOf(member)), zones: count((member) => loads.zoneOf(member)) };
}

/** Of these, in a region, then a zone where there is none of `holders`, if possible; then the one that follows least, then that owns least. */
function bestFollower(loads: Loads, of: readonly string[], holders: readonly string[]): string | undefined {
  const regions = new Set(holders.map((holder) => loads.regionOf(holder)));
  const zones = new Set(holders.map((holder) => loads.zoneOf(holder)));
  const candidates = of.filter((member) => !holders.includes(member));
  return lowest(candidates, (member) => [
    regions.has(loads.regionOf(member)) ? 1 : 0,
    zones.has(loads.zoneOf(member)) ? 1 : 0,
    loads.followedBy(member),
    loads.of(member),
  ]);
}
