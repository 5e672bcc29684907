/**
 * Real time as edges: what was answered before another was asked for comes before it.
 *
 * RT1  One moment for each completion, chained; a transaction leads to the moment of its completion, and the last moment before a
 *      transaction's invocation leads to it. So O(n) edges say what O(n²) pairs would (the sparse encoding of an interval order).
 * RT2  A transaction whose outcome is unknown completes never: others come before it, and it comes before none by time.
 */
import type { DependencyGraph } from "./dependency-graph.ts";
import { endOf } from "./history.ts";
import type { AnyTransaction } from "./transaction-steps.ts";

/** Adds the edges among the transactions with these indices. */
export function addRealTime(
  graph: DependencyGraph,
  transactions: readonly AnyTransaction[],
  included: readonly number[],
): void {
  const completing = included
    .filter((index) => Number.isFinite(endOf(transactions[index]!)))
    .sort((a, b) => endOf(transactions[a]!) - endOf(transactions[b]!));
  const invoked = [...included].sort((a, b) => transactions[a]!.invoked - transactions[b]!.invoked);
  let moment: number | undefined;
  let next = 0;
  for (const index of invoked) {
    for (; next < completing.length && endOf(transactions[completing[next]!]!) < transactions[index]!.invoked; next++) {
      const completed = completing[next]!;
      const junction = graph.junction();
      const why = (target: number): string =>
        `T${completed} was answered at ${endOf(transactions[completed]!)}, before T${target} was asked for at ${transactions[target]!.invoked}`;
      graph.add({ from: completed, to: junction, kind: "time", why });
      if (moment !== undefined) graph.add({ from: moment, to: junction, kind: "pass", why: null });
      moment = junction;
    }
    if (moment !== undefined) graph.add({ from: moment, to: index, kind: "pass", why: null });
  }
}
