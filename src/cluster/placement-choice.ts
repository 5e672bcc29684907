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
 * Undefined where nobody may own.
 */
export function chooseOwner(
  shard: ShardState,
  { loads, copies }: { readonly loads: Loads; readonly copies: ReadonlyMap<string, number> | undefined },
): string | undefined {
  const followers = shard.followers.filter((follower) => loads.mayOwn(follower));
  const candidates = followers.length === 0 ? loads.eligible : followers;
  const reach = (member: string): number => copies?.get(member) ?? 0;
  const farthest = Math.max(...candidates.map(reach));
  return lowest(candidates, (member) => [Math.max(0, farthest - reach(member) - nearRecordsMax), loads.of(member)]);
}

/**
 * The followers that the shard shall have: of the present ones those that may own, in their order, and new ones for the rest, in zones where
 * there is no copy yet, if there are such. Who may not own (it drains, or has other code than is deployed) stays as long as there is nobody
 * else, and is taken where there would be too few.
 */
export function chooseFollowers(shard: ShardState, state: SystemState, loads: Loads): readonly string[] {
  const count = state.cluster?.followerCount ?? 0;
  const followers = shard.followers.filter((follower) => loads.mayOwn(follower)).slice(0, count);
  while (followers.length < count) {
    const next = bestFollower(loads, loads.eligible, [shard.owner!, ...followers]);
    if (next === undefined) break;
    followers.push(next);
  }
  const leftOver = shard.followers.filter((follower) => !followers.includes(follower));
  followers.push(...leftOver.slice(0, count - followers.length));
  while (followers.length < count) {
    const next = bestFollower(loads, loads.able, [shard.owner!, ...followers]);
    if (next === undefined) break;
    followers.push(next);
  }
  return followers;
}

/** The same number of followers in one more zone, by the exchange of one; undefined where that is not possible. */
export function furtherApart(shard: ShardState, state: SystemState, loads: Loads): readonly string[] | undefined {
  const holders = [shard.owner!, ...shard.followers];
  const newcomer = bestFollower(loads, loads.eligible, holders);
  if (newcomer === undefined || state.cluster === undefined) return undefined;
  const zones = holders.map((holder) => loads.zoneOf(holder));
  if (zones.includes(loads.zoneOf(newcomer))) return undefined;
  // One that shares its zone with somebody who is preferred to it.
  const index = zones.findLastIndex((zone, at) => at > 0 && zones.indexOf(zone) < at);
  return index < 1 ? undefined : shard.followers.with(index - 1, newcomer);
}

/** Of these, in a zone where there is none of `holders`, if possible; then the one that follows least, then that owns least. */
function bestFollower(loads: Loads, of: readonly string[], holders: readonly string[]): string | undefined {
  const zones = new Set(holders.map((holder) => loads.zoneOf(holder)));
  const candidates = of.filter((member) => !holders.includes(member));
  return lowest(candidates, (member) => [
    zones.has(loads.zoneOf(member)) ? 1 : 0,
    loads.followedBy(member),
    loads.of(member),
  ]);
}
