/**
 * Strict serializability of histories of list-append (after Kingsbury and Alvaro, "Elle", VLDB 2020), on small runs: what a list
 * holds in the end is the order of its writers, and what a transaction has read of it is a prefix. All orders that follow from that, and
 * from time (who has ended before another began), must fit together.
 */
import { assert } from "../base/assert.ts";

/** One transaction, command or query that has been answered, or has been found to have taken hold. */
export interface Happened {
  readonly name: string;
  readonly beganMs: number;
  /** Infinity where nobody knows. */
  readonly endedMs: number;
  /** Lists that it has appended its name to. */
  readonly appended: readonly string[];
  /** What it has read, before it appended anything itself. */
  readonly read: ReadonlyMap<string, readonly string[]>;
}

/** Throws with a cycle, where there is one, or with what is no prefix. `final`: what each list holds in the end. */
export function assertSerializable(history: readonly Happened[], final: ReadonlyMap<string, readonly string[]>): void {
  const indexes = new Map(history.map(({ name }, index) => [name, index]));
  const before = history.map(() => new Map<number, string>());
  const order = (first: string | undefined, then: string | undefined, why: string) => {
    const [a, b] = [indexes.get(first ?? ""), indexes.get(then ?? "")];
    if (a !== undefined && b !== undefined && a !== b) before[a]!.set(b, why);
  };
  for (const [list, names] of final) {
    for (let i = 1; i < names.length; i++) order(names[i - 1], names[i], `wrote ${list} before`);
  }
  for (const { name, read, appended } of history) {
    for (const list of appended) assert(final.get(list)!.includes(name), `${name} is missing in ${list}`);
    for (const [list, names] of read) {
      const whole = final.get(list)!;
      assert(
        names.every((each, i) => each === whole[i]),
        `${name} read of ${list} what is no prefix: ${names} of ${whole}`,
      );
      order(names.at(-1), name, `was read in ${list} by`);
      // Its own append comes next where it is in the same list.
      order(name, whole[names.length], `read ${list} before the write of`);
    }
  }
  for (const a of history) for (const b of history) if (a.endedMs < b.beganMs) order(a.name, b.name, "ended before");
  const cycle = cycleIn(before);
  const told = cycle?.map((at, i) => `${history[at]!.name} ${before[at]!.get(cycle[(i + 1) % cycle.length]!) ?? ""}`);
  assert(cycle === undefined, `not serializable: ${told?.join(" → ")}`);
}

function cycleIn(edges: readonly ReadonlyMap<number, string>[]): readonly number[] | undefined {
  const state = edges.map(() => "new" as "new" | "open" | "done");
  const path: number[] = [];
  const visit = (at: number): readonly number[] | undefined => {
    state[at] = "open";
    path.push(at);
    for (const next of edges[at]!.keys()) {
      if (state[next] === "open") return path.slice(path.indexOf(next));
      const found = state[next] === "new" ? visit(next) : undefined;
      if (found !== undefined) return found;
    }
    path.pop();
    state[at] = "done";
    return undefined;
  };
  for (let at = 0; at < edges.length; at++) {
    const found = state[at] === "new" ? visit(at) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}
