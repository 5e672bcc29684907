import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../../base/random.ts";
import { shrink } from "../shrink.ts";
import {
  type ClusterFault,
  type ClusterFaultEvent,
  clusterFaults,
  engineDamages,
  faultShapes,
  makeClusterFaultsPlan,
  parseClusterFaultsPlan,
  simplerFaults,
} from "./faults-plan.ts";

const nodes = ["n1", "n2", "n3", "n4", "n5"];
const servers = ["e1", "e2", "e3"];
const options = { nodes, servers, durationMs: 60_000 };
const plans = Array.from({ length: 200 }, (_, seed) => makeClusterFaultsPlan(new SeededRandom(seed), options));

describe("a plan of a cluster's faults", () => {
  test("has at least 25 kinds to choose from, each of which is in some seeds and not in others", () => {
    assert.ok(clusterFaults.length >= 25);
    for (const kind of clusterFaults) {
      const count = plans.filter(({ kinds }) => kinds.includes(kind)).length;
      assert.ok(count > 10 && count < 150, `${kind} in ${count}`);
    }
  });

  test("has events of its swarm's kinds alone, in order of time, within bounds, of hosts that exist", () => {
    const drawn = new Set<ClusterFault>();
    for (const { kinds, events } of plans) {
      let previousMs = 0;
      for (const { kind, atMs, durationMs, targets, amount } of events) {
        const shape = faultShapes[kind];
        drawn.add(kind);
        assert.ok(kinds.includes(kind));
        assert.ok(atMs >= previousMs && atMs <= options.durationMs);
        previousMs = atMs;
        assert.ok(durationMs >= shape.durationMs[0] && durationMs <= shape.durationMs[1]);
        assert.ok(amount >= shape.amount[0] && amount <= shape.amount[1]);
        assert.equal(new Set(targets).size, targets.length);
        for (const target of targets) assert.ok(nodes.includes(target) || servers.includes(target));
        assert.equal(targets.length > 0, shape.target !== "none");
        if (shape.target === "minority") assert.ok(targets.filter((name) => servers.includes(name)).length === 1);
        if (shape.target === "majority") assert.ok(targets.length >= 2);
      }
    }
    assert.equal(drawn.size, clusterFaults.length);
  });

  test("is the same for one seed, also after it was saved", () => {
    const again = makeClusterFaultsPlan(new SeededRandom(7), options);
    assert.deepEqual(again, plans[7]);
    assert.deepEqual(parseClusterFaultsPlan(JSON.stringify(again)), again);
    assert.throws(() => parseClusterFaultsPlan('{"kinds":["flood"],"events":[]}'), { name: "AssertionFailure" });
  });

  test("is of the kinds that it may choose from", () => {
    const kinds = clusterFaults.filter((kind) => !engineDamages.includes(kind));
    for (let seed = 0; seed < 50; seed++) {
      const plan = makeClusterFaultsPlan(new SeededRandom(seed), { ...options, kinds });
      assert.ok(plan.kinds.every((kind) => kinds.includes(kind)));
    }
    assert.deepEqual(makeClusterFaultsPlan(new SeededRandom(1), { ...options, kinds: [] }).events, []);
  });

  test("shrinks to the event that matters, as short, as small and of as few as shows it", async () => {
    const plan = plans.find(({ events }) => events.some(({ kind }) => kind === "cut") && events.length > 40)!;
    const matters = ({ kind, durationMs }: ClusterFaultEvent) => kind === "cut" && durationMs >= 120;
    const { events, isMinimal } = await shrink(plan.events, {
      fails: async (some) => some.some(matters),
      attemptsMax: 1000,
      simpler: simplerFaults,
    });
    assert.equal(isMinimal, true);
    assert.equal(events.length, 1);
    assert.equal(events[0]!.targets.length, 1);
    assert.ok(events[0]!.durationMs >= 120 && events[0]!.durationMs < 240);
  });

  test("becomes simpler in finitely many steps, and stays within its shape", () => {
    for (const event of plans.flatMap(({ events }) => events).slice(0, 500)) {
      let current = event;
      for (let step = 0; ; step++) {
        assert.ok(step < 100);
        const next = simplerFaults(current).at(-1);
        if (next === undefined) break;
        assert.ok(next.durationMs >= faultShapes[event.kind].durationMs[0]);
        assert.ok(next.targets.length >= Math.min(1, event.targets.length));
        current = next;
      }
    }
  });
});
