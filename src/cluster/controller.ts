/**
 * The controller: what to do next about members and placement. Pure. Each decision is made on the state that those before it make, so that
 * none contradicts another; all of a round are appended as one record, right behind the state they were made on, or not at all.
 *
 * CT1 Nothing is decided that contradicts what is pending: a shard that moves, splits or is quarantined is left alone, unless it has no
 *     owner. Which log a quarantined shard goes on with is the nodes' to publish.
 * CT2 A shard without an owner gets one of its followers if one can own; one whose copy is near the one that is known to reach farthest.
 * CT3 Nothing new goes to a member that drains, is silent, or whose clock is not to be trusted; nor is anything given to own to one whose
 *     code is not what is deployed (`deployed-code.ts`).
 * CT4 A settled cluster decides nothing. From any state, decisions end: every shard owned, followed by as many members as there are, at most
 *     `followerCount`, the numbers of shards of any two members that may own differing by one at most, as far as regions allow.
 * CT5 A system that was moved here in one piece is cut where regions begin and end, and split until it has as many shards as the cluster is
 *     to have.
 * CT6 A round has at most `controllerDecisionsMax` decisions, and at most `movesMax` moves are under way.
 * CT7 While shards move off a member that drains, load is not evened out, and no shard that has followers enough, those that drain included,
 *     gets others: that takes the disks and processors that those moves wait for. Meanwhile who drains still has its copies.
 * CT8 A shard that is pinned to a region is given to nobody elsewhere, to own or to follow: it waits.
 */
import { limits } from "../base/limits.ts";
import { deployable } from "./deployed-code.ts";
import { Loads, lowest } from "./loads.ts";
import { chooseFollowers, chooseOwner, furtherApart, nearRecordsMax } from "./placement-choice.ts";
import { hasRoomFor } from "./placement-fold.ts";
import { partsOfMoved } from "./promotion-fold.ts";
import { divided, nextCut } from "./regions-fold.ts";
import { foldOne } from "./system-fold.ts";
import type { SystemRecord } from "./system-records.ts";
import { isPresent, presentMembers, presentShards, type ShardState, type SystemState } from "./system-state.ts";

export interface Observations {
  /** The member that decides: the controller. */
  readonly self: string;
  /** Members that are silent, with the sequence of their last renewal (`lease.ts`). */
  readonly silent: ReadonlyMap<string, number>;
  /** How far members' copies of shards reach, by shard, then member, as far as they have told. */
  readonly copies: ReadonlyMap<string, ReadonlyMap<string, number>>;
}

/** What the controller of `state` has to append now; nothing where `self` is not the controller. */
export function decide(state: SystemState, observations: Observations): readonly SystemRecord[] {
  const { controller } = state;
  if (controller?.member !== observations.self || !isPresent(state, controller.member)) return [];
  const round = new Round(state, observations, controller.term);
  round.expire();
  round.deploy();
  for (const shard of presentShards(round.state)) round.own(shard.id);
  for (const shard of presentShards(round.state)) round.follow(shard.id);
  for (const shard of presentShards(round.state)) round.split(shard.id);
  round.move();
  // Only what is at rest is improved: the better place of a follower may be another one when a move has ended.
  if (round.isIdle) for (const shard of presentShards(round.state)) round.spread(shard.id);
  return round.records;
}

class Round {
  state: SystemState;
  readonly records: SystemRecord[] = [];
  readonly #observations: Observations;
  readonly #term: number;
  /** A member that a shard is to move to has not caught up yet. */
  #isWaiting = false;
  /** Of the state that it was made for: most decisions look at the same one. */
  #known: { readonly state: SystemState; readonly loads: Loads } | undefined;

  constructor(state: SystemState, observations: Observations, term: number) {
    this.state = state;
    this.#observations = observations;
    this.#term = term;
  }

  get isFull(): boolean {
    return this.records.length >= limits.controllerDecisionsMax;
  }

  /** Nothing has been decided, and nothing is under way. */
  get isIdle(): boolean {
    const isStill = this.records.length === 0 && !this.#isWaiting;
    return isStill && presentShards(this.state).every((shard) => isAtRest(shard));
  }

  expire(): void {
    for (const [member, renewedAt] of this.#observations.silent) {
      if (member === this.#observations.self || !isPresent(this.state, member)) continue;
      this.#add({ type: "expired", term: this.#term, member, renewedAt });
    }
  }

  deploy(): void {
    const code = deployable(this.state);
    if (code !== undefined) this.#add({ type: "deployed", term: this.#term, code });
  }

  /** CT2. */
  own(id: string): void {
    const shard = this.state.shards.get(id)!;
    if (shard.owner !== undefined || shard.status === "quarantined") return;
    const copies = this.#observations.copies.get(id);
    const owner = chooseOwner(shard, { loads: this.#loads(), copies });
    if (owner === undefined) return;
    this.#assign(
      shard,
      owner,
      shard.followers.filter((follower) => follower !== owner),
    );
  }

  /** As many followers as there shall be, where there are members for it. */
  follow(id: string): void {
    const shard = this.state.shards.get(id)!;
    if (shard.owner === undefined || !isAtRest(shard)) return;
    // CT7.
    if (this.#isEmptying && shard.followers.length >= (this.state.cluster?.followerCount ?? 0)) return;
    const followers = chooseFollowers(shard, this.state, this.#loads());
    if (!equalLists(followers, shard.followers)) this.#assign(shard, shard.owner, followers);
  }

  /** A member that drains still owns what somebody else can take over. */
  get #isEmptying(): boolean {
    const loads = this.#loads();
    const { members } = this.state;
    return presentShards(this.state).some((shard) => {
      const { owner, status } = shard;
      const isDraining = owner !== undefined && members.get(owner)?.status === "draining";
      return isDraining && status === "active" && loads.leastFor(shard) !== undefined;
    });
  }

  split(id: string): void {
    const shard = this.state.shards.get(id)!;
    if (shard.owner === undefined || !isAtRest(shard)) return;
    const parts = shard.splitInto ?? partsOfMoved(this.state, shard);
    const ranges = nextCut(this.state, shard) ?? (parts === undefined ? [] : divided(shard, parts));
    if (ranges.length === 0 || !hasRoomFor(this.state, ranges.length)) return;
    const children = ranges.map((range, index) => ({ id: `${id}-${index}`, ...range }));
    this.#add({ type: "split-ordered", term: this.#term, shard: id, children });
  }

  /** Off members that drain, then from who has most to who has least. */
  move(): void {
    for (let attempt = 0; attempt < limits.movesMax && !this.isFull; attempt++) {
      const moving = presentShards(this.state).filter((shard) => shard.movingTo !== undefined);
      if (moving.length >= limits.movesMax || !this.#moveOne()) return;
    }
  }

  #moveOne(): boolean {
    const loads = this.#loads();
    const owned = presentShards(this.state).filter((shard) => shard.owner !== undefined);
    const atRest = owned.filter((shard) => isAtRest(shard));
    const unwanted = atRest.filter(
      (shard) => !loads.mayOwn(shard, shard.owner!) && loads.leastFor(shard) !== undefined,
    );
    if (unwanted.length > 0) return this.#moveAway(unwanted, loads);
    if (this.#isEmptying) return false;
    for (const { from, to } of loads.unequal()) {
      const movable = owned.filter((shard) => (shard.movingTo ?? shard.owner) === from && loads.mayHave(shard, to));
      // Where all that could go there are on their way somewhere, that is waited for.
      if (movable.length === 0) continue;
      return this.#moveTo(
        to,
        movable.filter((shard) => isAtRest(shard)),
      );
    }
    return false;
  }

  /** To the follower that owns least, where one can take over at once. */
  #moveAway(shards: readonly ShardState[], loads: Loads): boolean {
    for (const shard of shards) {
      const able = shard.followers.filter((follower) => loads.mayOwn(shard, follower) && this.#isNear(shard, follower));
      const to = lowest(able, (member) => [loads.of(member)]);
      if (to !== undefined) return this.#planMove(shard, to);
    }
    const to = loads.leastFor(shards[0]!)!;
    return this.#moveTo(
      to,
      shards.filter((shard) => loads.mayHave(shard, to)),
    );
  }

  /** One of the shards that `to` follows; where there is none, it follows one first. True if something was decided. */
  #moveTo(to: string, shards: readonly ShardState[]): boolean {
    const followerCount = this.state.cluster?.followerCount ?? 0;
    const followed = followerCount === 0 ? shards : shards.filter((shard) => shard.followers.includes(to));
    const near = followed.find((shard) => followerCount === 0 || this.#isNear(shard, to));
    if (near !== undefined) return this.#planMove(near, to);
    this.#isWaiting ||= followed.length > 0;
    const shard = shards[0];
    if (shard?.owner === undefined || this.#isWaiting) return false;
    return this.#assign(shard, shard.owner, [...shard.followers.slice(0, followerCount - 1), to]);
  }

  #planMove({ id, assignment }: ShardState, to: string): boolean {
    return this.#add({ type: "move-planned", term: this.#term, shard: id, to, assignment });
  }

  /** As far as is known: where the owner has told nothing, nobody is waited for. */
  #isNear(shard: ShardState, member: string): boolean {
    const copies = this.#observations.copies.get(shard.id);
    const owners = shard.owner === undefined ? undefined : copies?.get(shard.owner);
    return owners === undefined || owners - (copies?.get(member) ?? 0) <= nearRecordsMax;
  }

  /** Followers in more zones, one at a time. */
  spread(id: string): void {
    const shard = this.state.shards.get(id)!;
    if (shard.owner === undefined || !isAtRest(shard)) return;
    const followers = furtherApart(shard, this.#loads());
    if (followers !== undefined) this.#assign(shard, shard.owner, followers);
  }

  #assign(shard: ShardState, owner: string, followers: readonly string[]): boolean {
    const assignment = shard.assignment + (owner === shard.owner ? 0 : 1);
    return this.#add({ type: "assigned", term: this.#term, shard: shard.id, owner, followers, assignment });
  }

  #loads(): Loads {
    const { state } = this;
    if (this.#known?.state !== state) this.#known = { state, loads: this.#countLoads() };
    return this.#known.loads;
  }

  #countLoads(): Loads {
    const able = presentMembers(this.state).filter(({ id, status }) => {
      return status === "live" && !this.#observations.silent.has(id);
    });
    return new Loads(this.state, able);
  }

  /** CT6. False where the round is full. */
  #add(record: SystemRecord): boolean {
    if (this.isFull) return false;
    this.records.push(record);
    this.state = foldOne(this.state, record, this.state.sequence + 1);
    return true;
  }
}

function isAtRest(shard: ShardState): boolean {
  return shard.status === "active" && shard.movingTo === undefined;
}

function equalLists(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}
