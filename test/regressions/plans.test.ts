import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { failureText, parsePlan, simulate } from "../../src/sim/workload/index.ts";

/** Simulations that once found a bug, kept as plans beside this file: `npm run sim:long -- --save FILE` writes one. */
const directory = new URL(".", import.meta.url);
const names = (await readdir(directory)).filter((name) => name.endsWith(".json")).sort();

describe("plans that once found a bug", () => {
  for (const name of names) {
    test(name.slice(0, -".json".length).replaceAll("-", " "), async () => {
      const plan = parsePlan(await readFile(new URL(name, directory), "utf8"));
      const report = await simulate(plan);
      if (report.wrongs.length > 0) assert.fail(`${plan.what}\n${failureText(report, `test/regressions/${name}`)}`);
    });
  }

  test("there are some", () => {
    assert.ok(names.length > 0);
  });
});
