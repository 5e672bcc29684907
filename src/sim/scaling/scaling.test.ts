import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { measuredCosts } from "./costs.ts";
import { scalingWorkloads } from "./load.ts";
import { type ScalingReport, simulateScaling } from "./simulate-scaling.ts";

const small = { clientsPerNode: 32, warmMs: 30, measuredMs: 50, shards: 8 };

function run(nodes: number): Promise<readonly ScalingReport[]> {
  return simulateScaling({ nodes, workloads: scalingWorkloads, ...small });
}

describe("a cluster whose work is charged", () => {
  test("does more with three nodes than with one, where the load is spread, and what limits it is busy", async () => {
    const [one, three] = [await run(1), await run(3)];
    assert.deepEqual(
      [...one, ...three].map(({ nodes, workload }) => [nodes, workload]),
      [1, 3].flatMap((nodes) => scalingWorkloads.map((workload) => [nodes, workload])),
    );
    const counters = [one[0]!, three[0]!];
    assert.equal(counters[1]!.callsPerSecond > counters[0]!.callsPerSecond, true, JSON.stringify(counters));
    for (const { nodeLoad } of counters) assert.equal(nodeLoad.max > 0.9 && nodeLoad.max < 1.1, true);
    for (const report of one) assert.equal(report.forwardedShare, 0, "there is nobody to forward to");
    assert.equal(Math.abs(three[0]!.forwardedShare - 2 / 3) < 0.1, true, "each node owns a third");
    for (const report of [...one, ...three]) {
      assert.equal(report.refusedPerSecond, 0, report.workload);
      assert.equal(report.p50Ms > 0 && report.p50Ms <= report.p99Ms, true, report.workload);
      assert.equal(report.callsPerSecond > 100, true, report.workload);
    }
  });

  test("gives the same figures again", async () => {
    const again = () => simulateScaling({ nodes: 2, workloads: ["transfer"], ...small });
    assert.deepEqual(await again(), await again());
  });

  test("is slower where its work costs more", async () => {
    const { node } = measuredCosts;
    const dear = { ...measuredCosts, node: { ...node, appendUs: 3 * node.appendUs, commandUs: 3 * node.commandUs } };
    const [usual] = await simulateScaling({ nodes: 1, workloads: ["counter"], ...small });
    const [slow] = await simulateScaling({ nodes: 1, workloads: ["counter"], ...small, costs: dear });
    assert.equal(slow!.callsPerSecond < 0.7 * usual!.callsPerSecond, true, `${slow!.callsPerSecond}`);
  });
});
