/**
 * Cycles in the graph of transactions, named by the edges that they are made of (Adya, "Weak consistency", 1999; the search as in
 * Kingsbury and Alvaro, "Elle: inferring isolation anomalies from experimental observations", VLDB 2020).
 *
 * CY1  A cycle is found if there is one. Each strongly connected component gives one finding: of the names that its cycles have, the
 *      first of this table, and of that name a short cycle.
 * CY2  The search inside a component is bounded, so that a large broken history is explained as soon as a small one. At the bound a
 *      cycle may be called by the name of a later row, never the other way round.
 *
 * | Name | made of | what it means |
 * |---|---|---|
 * | G0 | ww | two transactions overwrite each other |
 * | G1c | ww, wr | two transactions see each other |
 * | G-single | ww, wr, one rw | read skew, lost update: one saw the state before another, and after it as well |
 * | G2 | ww, wr, two rw or more | write skew |
 * | …-realtime | the same, and time | the order exists, but not in real time |
 */
import { assert } from "../../base/assert.ts";
import { type DependencyGraph, type Edge, type EdgeKind, edgeKinds } from "./dependency-graph.ts";
import type { Finding } from "./history.ts";
import { type AnyTransaction, describeTransaction } from "./transaction-steps.ts";

const { ww, wr, rw, time } = edgeKinds;
const everything = ww | wr | rw | time;

interface CycleClass {
  readonly name: string;
  /** The kinds that its cycles may be made of. */
  readonly kinds: number;
  /** A cycle has an edge of this kind, */
  readonly needed: EdgeKind;
  /** and the way back from it is made of these. */
  readonly back: number;
}

const classes: readonly CycleClass[] = [
  { name: "G0", kinds: ww, needed: "ww", back: ww },
  { name: "G1c", kinds: ww | wr, needed: "wr", back: ww | wr },
  { name: "G-single", kinds: ww | wr | rw, needed: "rw", back: ww | wr },
  { name: "G2", kinds: ww | wr | rw, needed: "rw", back: ww | wr | rw },
  { name: "G0-realtime", kinds: ww | time, needed: "ww", back: ww | time },
  { name: "G1c-realtime", kinds: ww | wr | time, needed: "wr", back: ww | wr | time },
  { name: "G-single-realtime", kinds: ww | wr | rw | time, needed: "rw", back: ww | wr | time },
  { name: "G2-realtime", kinds: everything, needed: "rw", back: everything },
];

/** Nodes that are visited for the cycles of one class in one component. */
const visitedMax = 2_000_000;
/** Among so many cycles the shortest is shown. */
const comparedMax = 16;

export function findCycles(graph: DependencyGraph, transactions: readonly AnyTransaction[]): readonly Finding[] {
  return graph.components(everything).map((component) => {
    for (const each of classes) {
      const cycle = cycleOf(graph, each, component);
      if (cycle !== undefined)
        return { anomaly: each.name, explanation: explainCycle(each.name, cycle, { graph, transactions }) };
    }
    // Time alone has no cycles, so every component has one with another edge; only the bound can hide it (CY1, CY2).
    return {
      anomaly: "undecided",
      explanation: `${component.length} transactions and moments stand in cycles too large to search.`,
    };
  });
}

function cycleOf(
  graph: DependencyGraph,
  { kinds, needed, back }: CycleClass,
  component: readonly number[],
): readonly Edge[] | undefined {
  const budget = { nodes: visitedMax };
  let [shortest, compared]: [readonly Edge[] | undefined, number] = [undefined, 0];
  for (const part of graph.components(kinds, component)) {
    const members = new Set(part);
    for (const node of part) {
      for (const first of graph.outgoing(node, edgeKinds[needed])) {
        if (!members.has(first.to)) continue;
        const way = graph.shortestPath({ from: first.to, to: node }, { kinds: back, members, budget });
        if (way === undefined) {
          if (budget.nodes < 0) return shortest;
          continue;
        }
        if (shortest === undefined || way.length + 1 < shortest.length) shortest = [first, ...way];
        compared++;
        if (shortest.length === 2 || compared >= comparedMax) return shortest;
      }
    }
  }
  return shortest;
}

interface Told {
  readonly graph: DependencyGraph;
  readonly transactions: readonly AnyTransaction[];
}

/** The transactions of the cycle and why each comes before the next. */
function explainCycle(name: string, cycle: readonly Edge[], { graph, transactions }: Told): string {
  const members: number[] = [];
  const reasons: string[] = [];
  for (const [at, { from, kind, why }] of cycle.entries()) {
    if (from >= graph.transactionCount) continue;
    let end = at;
    while (cycle[end]!.to >= graph.transactionCount) end++;
    const { to } = cycle[end]!;
    assert(why !== null, "an edge that leaves a transaction says why");
    members.push(from);
    reasons.push(`  T${from} comes before T${to} (${kind}): ${why(to)}.`);
  }
  return [
    `${name}: there is no order for these ${members.length} transactions.`,
    ...members.map((index) => `  ${describeTransaction(index, transactions[index]!)}`),
    ...reasons,
  ].join("\n");
}
