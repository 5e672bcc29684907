import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { SeededRandom } from "../../base/random.ts";
import { addFan, DependencyGraph, edgeKinds } from "./dependency-graph.ts";
import { list } from "./transactions.fixture.ts";
import { addRealTime } from "./real-time.ts";

const everything = edgeKinds.ww | edgeKinds.wr | edgeKinds.rw | edgeKinds.time;

/** All pairs of transactions that a single edge, or one edge and junctions, connect. */
function relations(graph: DependencyGraph): ReadonlySet<string> {
  const pairs = new Set<string>();
  for (let from = 0; from < graph.transactionCount; from++) {
    const reached = new Set<number>();
    const waiting = [...graph.outgoing(from, everything)].map(({ to }) => to);
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      if (reached.has(node)) continue;
      reached.add(node);
      if (node < graph.transactionCount) pairs.add(`${from} ${node}`);
      else waiting.push(...[...graph.outgoing(node, edgeKinds.pass)].map(({ to }) => to));
    }
  }
  return pairs;
}

/** A graph with as many nodes as given, and random edges of all kinds. */
function randomGraph(
  seed: number,
  { nodes, edges }: { readonly nodes: number; readonly edges: number },
): DependencyGraph {
  const random = new SeededRandom(seed);
  const graph = new DependencyGraph(nodes);
  for (let i = 0; i < edges; i++) {
    const kind = random.pick(["ww", "wr", "rw", "time"] as const);
    graph.add({ from: random.integer(nodes), to: random.integer(nodes), kind, why: () => "" });
  }
  return graph;
}

/** How many edges it takes from each node to each other, by Floyd and Warshall. */
function distances(graph: DependencyGraph, kinds: number): readonly (readonly number[])[] {
  const nodes = [...Array(graph.nodeCount).keys()];
  const known = nodes.map((a) => nodes.map((b) => (a === b ? 0 : Number.POSITIVE_INFINITY)));
  for (const node of nodes) for (const { to } of graph.outgoing(node, kinds)) known[node]![to] = 1;
  for (const over of nodes)
    for (const a of nodes)
      for (const b of nodes) known[a]![b] = Math.min(known[a]![b]!, known[a]![over]! + known[over]![b]!);
  return known;
}

describe("the dependency graph", () => {
  const seeds = fc.integer();

  test("a fan relates all of the one side to all of the other but themselves, in linear edges", () => {
    fc.assert(
      fc.property(
        seeds,
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 1, max: 30 }),
        (seed, fromCount, toCount) => {
          const random = new SeededRandom(seed);
          const nodes = random.shuffle([...Array(40).keys()]);
          const [from, to] = [nodes.slice(0, fromCount), random.shuffle(nodes).slice(0, toCount)];
          const graph = new DependencyGraph(40);
          addFan(graph, { kind: "rw", from, to, why: () => "" });
          const expected = from.flatMap((a) => to.filter((b) => a !== b).map((b) => `${a} ${b}`));
          assert.deepEqual(relations(graph), new Set(expected));
          assert.ok(graph.edges.length <= 64 + 2 * fromCount + 4 * toCount);
        },
      ),
    );
  });

  test("real time relates exactly what was answered before the other was asked for, in linear edges", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const random = new SeededRandom(seed);
        const transactions = Array.from({ length: 40 }, () => {
          const invoked = random.integer(60);
          return list("a", [invoked, invoked + random.integer(12)], "r x");
        });
        const graph = new DependencyGraph(40);
        addRealTime(graph, transactions, [...transactions.keys()]);
        const expected = new Set<string>();
        for (const [a, { completed }] of transactions.entries())
          for (const [b, { invoked }] of transactions.entries()) if (completed! < invoked) expected.add(`${a} ${b}`);
        assert.deepEqual(relations(graph), expected);
        assert.ok(graph.edges.length <= 3 * 40);
      }),
    );
  });

  test("components are the largest sets whose members reach one another", () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 15 }), (kindSeed, kinds) => {
        const graph = randomGraph(kindSeed, { nodes: 14, edges: 22 });
        const known = distances(graph, kinds);
        const found = graph.components(kinds).map((component) => new Set(component));
        for (let a = 0; a < 14; a++) {
          for (let b = 0; b < a; b++) {
            const isMutual = Number.isFinite(known[a]![b]!) && Number.isFinite(known[b]![a]!);
            assert.equal(
              found.some((component) => component.has(a) && component.has(b)),
              isMutual,
            );
          }
        }
      }),
    );
  });

  test("a shortest path is one, is made of the kinds it may be made of, and stays inside", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const graph = randomGraph(seed, { nodes: 12, edges: 24 });
        const kinds = edgeKinds.ww | edgeKinds.rw;
        const known = distances(graph, kinds);
        const members = new Set(Array(12).keys());
        for (let to = 1; to < 12; to++) {
          const path = graph.shortestPath({ from: 0, to }, { kinds, members, budget: { nodes: 1000 } });
          assert.equal(path?.length ?? Number.POSITIVE_INFINITY, known[0]![to]!);
          for (const { kind } of path ?? []) assert.ok(kind === "ww" || kind === "rw");
        }
        assert.equal(
          graph.shortestPath({ from: 0, to: 1 }, { kinds, members: new Set([0]), budget: { nodes: 9 } }),
          undefined,
        );
      }),
    );
  });
});
