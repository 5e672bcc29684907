/** Who carries what, as it will be when the moves that are under way have ended; and who may be given more. */
import { compareUtf8 } from "../base/bytes.ts";
import { mayOwn } from "./eligibility.ts";
import { type MemberState, presentShards, type SystemState } from "./system-state.ts";

export class Loads {
  /** Members that may be given a shard to own, by their ids. */
  readonly eligible: readonly string[];
  /** Those that may follow one at least. */
  readonly able: readonly string[];
  readonly #owned = new Map<string, number>();
  readonly #followed = new Map<string, number>();
  readonly #zones: ReadonlyMap<string, string>;

  /** `able`: the members that take part, and don't drain. */
  constructor(state: SystemState, able: readonly MemberState[]) {
    this.able = able.map(({ id }) => id).sort(compareUtf8);
    this.eligible = this.able.filter((member) => mayOwn(state, member));
    this.#zones = new Map([...state.members.values()].map(({ id, labels }) => [id, labels.zone ?? id]));
    for (const shard of presentShards(state)) {
      const owner = shard.movingTo ?? shard.owner;
      if (owner !== undefined) this.#owned.set(owner, this.of(owner) + 1);
      for (const follower of shard.followers) this.#followed.set(follower, this.followedBy(follower) + 1);
    }
  }

  mayOwn(member: string): boolean {
    return this.eligible.includes(member);
  }

  /** Shards that the member owns or is to own. */
  of(member: string): number {
    return this.#owned.get(member) ?? 0;
  }

  followedBy(member: string): number {
    return this.#followed.get(member) ?? 0;
  }

  /** What fails together with the member: its label `zone`, without one the member alone. */
  zoneOf(member: string): string {
    return this.#zones.get(member) ?? member;
  }

  least(): string | undefined {
    return lowest(this.eligible, (member) => [this.of(member)]);
  }

  most(): string | undefined {
    return lowest(this.eligible, (member) => [-this.of(member)]);
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
