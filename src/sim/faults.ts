/**
 * What can go wrong, counted: a simulation that claims to have survived faults must be able to say how many of each. And
 * the choice of what goes wrong in one seed (swarm testing: Groce et al., ISSTA 2012): a run in which only some kinds of
 * fault occur reaches states that a run with all of them never does.
 */
import type { SeededRandom } from "../base/random.ts";

export const faultKinds = [
  "crash",
  "torn-write",
  "lost-write",
  "lost-entry",
  "failed-read",
  "failed-write",
  "failed-sync",
  "failed-name",
  "full-disk",
  "bit-flip",
  "truncated-file",
  "lost-file",
  "rollback",
  "clock-drift",
  "clock-jump",
  "guard-timeout",
  "ambiguous-append",
  "expired-session",
  "migration",
  "code-rollback",
  "pause",
  "client-crash",
  "lost-message",
  "delayed-message",
  "reordered-message",
  "duplicated-message",
  "cut-message",
  "clogged-message",
  "misdirected-write",
  "server-crash",
  "server-stop",
  "server-pause",
  "server-lag",
  "quorum-loss",
  "election",
  "cut-request",
  "late-append",
  "late-commit",
  "discarded-append",
  "false-refusal",
  "stale-read",
  "tail-skip",
  "tail-repeat",
  "tail-silence",
  "tail-end",
  "engine-hole",
  "engine-bit-flip",
  "engine-rollback",
  "misdirected-record",
  "vanished-log",
  "blob-refusal",
  "blob-damage",
] as const;

export type FaultKind = (typeof faultKinds)[number];

/** How many faults of each kind took effect. Mutable, and shared by the ports of one simulation. */
export class FaultCounts {
  readonly #counts = new Map<FaultKind, number>();

  add(kind: FaultKind, count = 1): void {
    this.#counts.set(kind, this.get(kind) + count);
  }

  get(kind: FaultKind): number {
    return this.#counts.get(kind) ?? 0;
  }

  get total(): number {
    let total = 0;
    for (const count of this.#counts.values()) total += count;
    return total;
  }

  /** Adds the counts of another simulation, for the summary of many seeds. */
  merge(other: FaultCounts): void {
    for (const [kind, count] of other.entries()) this.add(kind, count);
  }

  /** Kinds that occurred, in the order of `faultKinds`. */
  entries(): (readonly [FaultKind, number])[] {
    return faultKinds.filter((kind) => this.get(kind) > 0).map((kind) => [kind, this.get(kind)] as const);
  }

  /** For people: `crash 12, torn-write 7`, or `none`. */
  toString(): string {
    const parts = this.entries().map(([kind, count]) => `${kind} ${count}`);
    return parts.length === 0 ? "none" : parts.join(", ");
  }
}

/** The kinds that are on in this run: each of `kinds` with `probability` (default one half), in their order. */
export function chooseSwarm<Kind extends string>(
  random: SeededRandom,
  kinds: readonly Kind[],
  probability = 0.5,
): ReadonlySet<Kind> {
  return new Set(kinds.filter(() => random.chance(probability)));
}
