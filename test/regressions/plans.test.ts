import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { simulateCluster } from "../../src/sim/cluster/simulate-cluster.ts";
import { clusterFailureText, parseClusterPlan } from "../../src/sim/cluster/summary.ts";
import { failureText, parsePlan, simulate } from "../../src/sim/workload/index.ts";

/**
 * Simulations that once found a bug, kept as plans beside this file: `npm run sim:long -- --save FILE` writes one. Names of those of
 * clusters begin with `cluster-`.
 */
const directory = new URL(".", import.meta.url);
const names = (await readdir(directory)).filter((name) => name.endsWith(".json")).sort();

describe("plans that once found a bug", () => {
  for (const name of names) {
    test(name.slice(0, -".json".length).replaceAll("-", " "), async () => {
      const text = await readFile(new URL(name, directory), "utf8");
      const failure = await (name.startsWith("cluster-") ? replayCluster(text, name) : replay(text, name));
      if (failure !== undefined) assert.fail(failure);
    });
  }

  test("there are some", () => {
    assert.ok(names.length > 0);
  });
});

async function replay(text: string, name: string): Promise<string | undefined> {
  const plan = parsePlan(text);
  const report = await simulate(plan);
  if (report.wrongs.length === 0) return undefined;
  return `${plan.what}\n${failureText(report, `test/regressions/${name}`)}`;
}

async function replayCluster(text: string, name: string): Promise<string | undefined> {
  const plan = parseClusterPlan(text);
  const report = await simulateCluster(plan);
  if (report.findings.length === 0) return undefined;
  return `${plan.what}\n${clusterFailureText(report, `test/regressions/${name}`)}`;
}
