/**
 * The graph of what must come before what (Adya's direct serialization graph: "Weak consistency", MIT, 1999), with the graph
 * algorithms that a search for cycles needs.
 *
 * DG1  Nodes below `transactionCount` are transactions, those above it junctions: many-to-many relations pass through them, so that
 *      edges stay linear in the transactions. The edge that enters a junction from a transaction carries the kind; the edges
 *      that go on are `pass` and can be followed whatever kinds are looked for.
 * DG2  A path through junctions from one transaction to another exists exactly if the relation holds between them, and no
 *      transaction is before itself by junctions alone.
 */
import { assert } from "../../base/assert.ts";

/** Bits, so that several kinds are one number. */
export const edgeKinds = { ww: 1, wr: 2, rw: 4, time: 8, pass: 16 } as const;
export type EdgeKind = keyof typeof edgeKinds;

export interface Edge {
  readonly from: number;
  readonly to: number;
  readonly kind: EdgeKind;
  /** Why, as a clause about the transaction that it leads to, through junctions or not. Null for an edge that only passes on. */
  readonly why: ((target: number) => string) | null;
}

export class DependencyGraph {
  readonly transactionCount: number;
  #nodeCount: number;
  readonly #edges: Edge[] = [];
  #starts: Int32Array | undefined;
  #sorted: Int32Array = new Int32Array(0);

  constructor(transactionCount: number) {
    this.transactionCount = transactionCount;
    this.#nodeCount = transactionCount;
  }

  get nodeCount(): number {
    return this.#nodeCount;
  }

  get edges(): readonly Edge[] {
    return this.#edges;
  }

  junction(): number {
    this.#starts = undefined;
    return this.#nodeCount++;
  }

  add(edge: Edge): void {
    if (edge.from === edge.to) return;
    this.#starts = undefined;
    this.#edges.push(edge);
  }

  /** Indices of the edges that leave a node, as a range of `outgoing`. */
  #index(): Int32Array {
    if (this.#starts !== undefined) return this.#starts;
    const starts = new Int32Array(this.#nodeCount + 1);
    for (const { from } of this.#edges) starts[from + 1]!++;
    for (let node = 0; node < this.#nodeCount; node++) starts[node + 1]! += starts[node]!;
    const next = starts.slice();
    this.#sorted = new Int32Array(this.#edges.length);
    for (const [index, { from }] of this.#edges.entries()) this.#sorted[next[from]!++] = index;
    this.#starts = starts;
    return starts;
  }

  /**
   * Strongly connected components of what `kinds` connect, among `among` (all nodes if absent), that hold two nodes or more
   * (Tarjan, "Depth-first search and linear graph algorithms", SIAM J. Comput. 1972; on a stack of its own).
   */
  components(kinds: number, among?: readonly number[]): readonly (readonly number[])[] {
    const starts = this.#index();
    const followed = kinds | edgeKinds.pass;
    const unseen = -1;
    const outside = -2;
    const order = new Int32Array(this.#nodeCount).fill(among === undefined ? unseen : outside);
    for (const node of among ?? []) order[node] = unseen;
    const low = new Int32Array(this.#nodeCount);
    const isOpen = new Uint8Array(this.#nodeCount);
    const cursor = new Int32Array(this.#nodeCount);
    const found: number[][] = [];
    const open: number[] = [];
    let count = 0;
    const path: number[] = [];
    const enter = (node: number): void => {
      order[node] = low[node] = count++;
      cursor[node] = starts[node]!;
      isOpen[node] = 1;
      open.push(node);
      path.push(node);
    };
    for (const root of among ?? Array(this.#nodeCount).keys()) {
      if (order[root] !== unseen) continue;
      enter(root);
      while (path.length > 0) {
        const node = path.at(-1)!;
        if (cursor[node]! < starts[node + 1]!) {
          const { to, kind } = this.#edges[this.#sorted[cursor[node]!++]!]!;
          if ((edgeKinds[kind] & followed) === 0) continue;
          if (order[to] === unseen) enter(to);
          else if (isOpen[to] === 1) low[node] = Math.min(low[node]!, order[to]!);
          continue;
        }
        path.pop();
        const parent = path.at(-1);
        if (parent !== undefined) low[parent] = Math.min(low[parent]!, low[node]!);
        if (low[node] !== order[node]) continue;
        const at = open.lastIndexOf(node);
        const component = open.splice(at);
        for (const member of component) isOpen[member] = 0;
        if (component.length > 1) found.push(component);
      }
    }
    return found;
  }

  /** Edges of some kinds that leave `node`. */
  *outgoing(node: number, kinds: number): Iterable<Edge> {
    const starts = this.#index();
    for (let at = starts[node]!; at < starts[node + 1]!; at++) {
      const edge = this.#edges[this.#sorted[at]!]!;
      if ((edgeKinds[edge.kind] & kinds) !== 0) yield edge;
    }
  }

  /**
   * A path from `from` to `to` over some kinds inside `members`, with the fewest transactions (breadth first; a step to a junction
   * costs nothing). `budget` is lowered by the nodes that were visited; at 0 there is no answer. Undefined where there is no path.
   */
  shortestPath(
    { from, to }: { readonly from: number; readonly to: number },
    { kinds, members, budget }: PathSearch,
  ): readonly Edge[] | undefined {
    const cameBy = new Map<number, Edge | null>([[from, null]]);
    let layer = [from];
    while (layer.length > 0) {
      const next: number[] = [];
      // It grows while it is walked: a junction belongs to the layer of the node that led to it.
      for (const node of layer) {
        if (--budget.nodes < 0) return undefined;
        for (const edge of this.outgoing(node, kinds | edgeKinds.pass)) {
          if (cameBy.has(edge.to) || !members.has(edge.to)) continue;
          cameBy.set(edge.to, edge);
          if (edge.to === to) return pathTo(to, cameBy);
          (edge.to < this.transactionCount ? next : layer).push(edge.to);
        }
      }
      layer = next;
    }
    return undefined;
  }
}

export interface PathSearch {
  readonly kinds: number;
  readonly members: ReadonlySet<number>;
  readonly budget: { nodes: number };
}

function pathTo(to: number, cameBy: ReadonlyMap<number, Edge | null>): readonly Edge[] {
  const path: Edge[] = [];
  for (let edge = cameBy.get(to); edge !== null; edge = cameBy.get(edge.from)) {
    assert(edge !== undefined, "every node of a path was come to");
    path.push(edge);
  }
  return path.reverse();
}

export interface Fan {
  readonly kind: EdgeKind;
  readonly from: readonly number[];
  readonly to: readonly number[];
  readonly why: (from: number, to: number) => string;
}

const directPairsMax = 64;

/**
 * Every one of `from` before every one of `to`, but none before itself, in O(from + to) edges. `to` must have no repetitions.
 * The junctions are two chains over `to`, one that leads to all after a place and one to all before it: a node that stands on both
 * sides enters them beside its own place.
 */
export function addFan(graph: DependencyGraph, { kind, from, to, why }: Fan): void {
  if (from.length * to.length <= directPairsMax) {
    for (const before of from)
      for (const after of to) graph.add({ from: before, to: after, kind, why: (target) => why(before, target) });
    return;
  }
  const rest = to.map(() => graph.junction());
  const firsts = to.map(() => graph.junction());
  for (const [place, target] of to.entries()) {
    for (const junction of [rest[place]!, firsts[place]!])
      graph.add({ from: junction, to: target, kind: "pass", why: null });
    if (place > 0) {
      graph.add({ from: rest[place - 1]!, to: rest[place]!, kind: "pass", why: null });
      graph.add({ from: firsts[place]!, to: firsts[place - 1]!, kind: "pass", why: null });
    }
  }
  const places = new Map(to.map((node, place) => [node, place]));
  const enter = (before: number, junction: number | undefined): void => {
    if (junction !== undefined) graph.add({ from: before, to: junction, kind, why: (target) => why(before, target) });
  };
  for (const before of from) {
    const own = places.get(before);
    enter(before, own === undefined ? rest[0] : rest[own + 1]);
    if (own !== undefined && own > 0) enter(before, firsts[own - 1]);
  }
}
