/** Who carries what, as it will be when the moves that are under way have ended; and who may be given more. */
import { compareUtf8 } from "../base/bytes.ts";
import { mayOwn } from "./eligibility.ts";
import {
  isInReach,
  type MemberState,
  presentShards,
  regionOfMember,
  type ShardState,
  type SystemState,
} from "./system-state.ts";

export class Loads {
  /** Members that may be given a shard to own, by their ids. */
  readonly eligible: readonly string[];
  /** Those that may follow one at least. */
  readonly able: readonly string[];
  readonly #owned = new Map<string, number>();
  readonly #followed = new Map<string, number>();
  readonly #members: ReadonlyMap<string, MemberState>;
  readonly #state: SystemState;

  /** `able`: the members that take part, and don't drain. */
  constructor(state: SystemState, able: readonly MemberState[]) {
    this.able = able.map(({ id }) => id).sort(compareUtf8);
    this.eligible = this.able.filter((member) => mayOwn(state, member));
    this.#state = state;
    this.#members = state.members;
    for (const shard of presentShards(state)) {
      const owner = shard.movingTo ?? shard.owner;
      if (owner !== undefined) this.#owned.set(owner, this.of(owner) + 1);
      for (const follower of shard.followers) this.#followed.set(follower, this.followedBy(follower) + 1);
    }
  }

  /** Those that may be given this shard to own: of the region that it is pinned to. */
  eligibleFor(shard: ShardState): readonly string[] {
    return this.eligible.filter((member) => this.mayHave(shard, member));
  }

  mayOwn(shard: ShardState, member: string): boolean {
    return this.eligible.includes(member) && this.mayHave(shard, member);
  }

  /** Whether a copy of the shard may be there at all. */
  mayHave(shard: ShardState, member: string): boolean {
    return isInReach(this.#state, shard, member);
  }

  /** Shards that the member owns or is to own. */
  of(member: string): number {
    return this.#owned.get(member) ?? 0;
  }

  followedBy(member: string): number {
    return this.#followed.get(member) ?? 0;
  }

  /** What fails together with the member: its label `zone` within its region, without one the member alone. */
  zoneOf(member: string): string {
    return JSON.stringify([this.regionOf(member), this.#members.get(member)?.labels.zone ?? member]);
  }

  /** Its label `region`; members without one count as of one region. */
  regionOf(member: string): string {
    const known = this.#members.get(member);
    return (known && regionOfMember(known)) ?? "";
  }

  /** Of those that may own the shard, the one that owns least. */
  leastFor(shard: ShardState): string | undefined {
    return lowest(this.eligibleFor(shard), (member) => [this.of(member)]);
  }

  /** Pairs of which one owns at least two shards more than the other: the most unequal first. */
  *unequal(): Iterable<{ readonly from: string; readonly to: string }> {
    const byLoad = [...this.eligible].sort((a, b) => this.of(a) - this.of(b));
    for (const from of [...this.eligible].sort((a, b) => this.of(b) - this.of(a))) {
      for (const to of byLoad) {
        if (this.of(from) - this.of(to) < 2) break;
        yield { from, to };
      }
    }
  }
}

/** The item whose numbers come first, compared one after the other; of equals the one that stands first. */
export function lowest<T>(items: readonly T[], numbersOf: (item: T) => readonly number[]): T | undefined {
  let best: { readonly item: T; readonly numbers: readonly number[] } | undefined;
  for (const item of items) {
    const numbers = numbersOf(item);
    const difference = best === undefined ? -1 : compareNumbers(numbers, best.numbers);
    if (difference < 0) best = { item, numbers };
  }
  return best?.item;
}

function compareNumbers(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < a.length; index++) {
    const difference = a[index]! - b[index]!;
    if (difference !== 0) return difference;
  }
  return 0;
}
