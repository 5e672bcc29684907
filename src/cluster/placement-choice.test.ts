/** Who is to have what, by table: members as `region/zone`, in the order of their names a, b, c, …. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Loads } from "./loads.ts";
import { chooseFollowers, chooseOwner, furtherApart } from "./placement-choice.ts";
import { founding, foundingRegions, joiningAt, stateAfter } from "./system.fixture.ts";
import { presentMembers, presentShards, regionOfShard, type ShardState, type SystemState } from "./system-state.ts";

interface Case {
  readonly members: string;
  /** The region that the shard is pinned to. */
  readonly pinned?: string;
  /** Owner and followers. */
  readonly has: string;
  readonly followerCount?: 1 | 2;
  /** What it is to have; `-` for nobody. */
  readonly gets: string;
  readonly why: string;
}

function stateOf({ members, followerCount = 1 }: Case): SystemState {
  const joined = members.split(" ").map((place, index) => {
    const [region, zone] = place.split("/") as [string, string];
    return joiningAt("abcdefgh"[index]!, [region, zone]);
  });
  return stateAfter([founding({ shardCount: 4, followerCount }), foundingRegions(["eu", "us"]), ...joined]);
}

/** The shard of the case, as it is; `-` for no owner. */
function shardOf(state: SystemState, { pinned, has }: Case): ShardState {
  const shard = presentShards(state).find((each) => regionOfShard(state, each) === pinned)!;
  const [owner, ...followers] = has;
  return { ...shard, owner: owner === "-" ? undefined : owner, followers };
}

function check(
  title: string,
  cases: readonly Case[],
  decide: (shard: ShardState, state: SystemState, loads: Loads) => string,
): void {
  describe(title, () => {
    for (const each of cases) {
      const where = each.pinned === undefined ? "pinned nowhere" : `pinned to ${each.pinned}`;
      test(`${each.has}, ${where}, among ${each.members}: ${each.gets}, ${each.why}`, () => {
        const state = stateOf(each);
        assert.equal(decide(shardOf(state, each), state, new Loads(state, presentMembers(state))), each.gets);
      });
    }
  });
}

check(
  "the owner of a shard without one",
  [
    { members: "eu/1 us/1", has: "-b", gets: "b", why: "who follows it" },
    { members: "eu/1 us/1", pinned: "us", has: "-", gets: "b", why: "the only one of the region" },
    { members: "eu/1 us/1", pinned: "us", has: "-a", gets: "b", why: "whatever follows it elsewhere" },
    { members: "eu/1 eu/2", pinned: "us", has: "-", gets: "-", why: "nobody rather than somebody elsewhere" },
    { members: "eu/1 eu/2", pinned: "us", has: "-a", gets: "-", why: "not even with a copy" },
  ],
  (shard, _state, loads) => chooseOwner(shard, { loads, copies: undefined }) ?? "-",
);

check(
  "the followers of a shard",
  [
    { members: "eu/1 eu/2 us/1", has: "a", gets: "c", why: "another region before another zone" },
    { members: "eu/1 eu/1 eu/2", has: "a", gets: "c", why: "another zone before the same" },
    { members: "eu/1 eu/1", has: "a", gets: "b", why: "the same zone before nobody" },
    { members: "eu/1 us/1 us/2 ap/1", has: "a", followerCount: 2, gets: "bd", why: "a copy in each region" },
    {
      members: "eu/1 us/1 us/2 eu/2",
      has: "a",
      followerCount: 2,
      gets: "bc",
      why: "the regions are used up: another zone",
    },
    {
      members: "us/1 us/1 us/2 eu/1",
      pinned: "us",
      has: "a",
      followerCount: 2,
      gets: "cb",
      why: "zones of the region alone",
    },
    { members: "us/1 eu/1 eu/2", pinned: "us", has: "a", gets: "", why: "nobody elsewhere" },
    { members: "us/1 eu/1 us/2", pinned: "us", has: "ab", gets: "c", why: "who is elsewhere does not stay" },
    { members: "us/1 eu/1", pinned: "us", has: "ab", gets: "", why: "not even for nobody" },
  ],
  (shard, state, loads) => chooseFollowers(shard, state, loads).join(""),
);

check(
  "followers that could be further apart",
  [
    { members: "eu/1 eu/2 us/1", has: "ab", gets: "c", why: "one more region" },
    { members: "eu/1 eu/1 eu/2", has: "ab", gets: "c", why: "one more zone" },
    { members: "eu/1 us/1 us/2", has: "ab", gets: "-", why: "as many already" },
    {
      members: "eu/1 us/1 us/2 ap/1",
      has: "abc",
      followerCount: 2,
      gets: "bd",
      why: "the last of two in one region goes",
    },
    { members: "us/1 us/2 eu/1", pinned: "us", has: "ab", gets: "-", why: "what is pinned stays" },
    { members: "us/1 us/1 us/2", pinned: "us", has: "ab", gets: "c", why: "within its region it spreads" },
  ],
  (shard, _state, loads) => furtherApart(shard, loads)?.join("") ?? "-",
);
