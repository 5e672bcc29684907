/** Everything that docs/testing.md shows, typed in and run as it says. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { clusterSystemFaults, systemFaults } from "../src/sim/index.ts";
import { installOnefold } from "./installation.ts";
import { type Block, blocksOf, compile, shell, typeIn } from "./page.fixture.ts";

describe("docs/testing.md", { timeout: 240_000 }, () => {
  let folder = "";
  let blocks: readonly Block[] = [];
  let commands: readonly string[] = [];

  before(async () => {
    blocks = await blocksOf("docs/testing.md");
    commands = blocks.filter(({ language }) => language === "sh").map(({ text }) => text.trim());
    folder = await mkdtemp(join(tmpdir(), "onefold-testing-page-"));
    await installOnefold(folder, ["tsx", "typescript"]);
    await writeFile(join(folder, "package.json"), '{ "type": "module" }');
    const files = await typeIn(blocks, folder);
    assert.deepEqual(files, [
      "bank.ts",
      "bank.test.ts",
      "two-calls.test.ts",
      "one-transaction.test.ts",
      "cluster.test.ts",
      "simulation.ts",
    ]);
    assert.equal(blocks.filter(({ language }) => language === "ts").length, files.length, "a block without a file");
  });
  after(() => rm(folder, { recursive: true }));

  test("shows code that compiles", async () => {
    const { exitCode, output } = await compile("*.ts", folder);
    assert.equal(exitCode, 0, output);
  });

  test("shows plain tests that pass", async () => {
    const { exitCode, output } = await shell(commands[0]!, folder);
    assert.equal(exitCode, 0, output);
    assert.match(output, /pass 3\n/);
  });

  test("shows a bug that some seeds find, and a way to run one of them again that gives the same", async () => {
    const { exitCode, output } = await shell("node --import tsx --test two-calls.test.ts", folder);
    assert.equal(exitCode, 1, output);
    // As a reporter for programs or one for people prints them.
    const failed = [...output.matchAll(/^\s*(?:not ok \d+ -|✖) no money is lost, seed (\d+)/gm)].map(
      ([, seed]) => seed!,
    );
    const [seed] = failed;
    assert.ok(seed !== undefined && new Set(failed).size < 20, `failed: ${failed.join(" ")}`);
    assert.equal(commands[1], 'node --import tsx --test --test-name-pattern "seed 4$" two-calls.test.ts');
    const again = await shell(commands[1].replace("seed 4$", `seed ${seed}$`), folder);
    assert.equal(again.exitCode, 1, again.output);
    const transcriptOf = (text: string): string | undefined => {
      const start = text.indexOf(`seed "${seed}" gives this run again. Its faults, and its last lines:`);
      const [transcript] = /[\s\S]*? done\n/.exec(text.slice(start)) ?? [];
      return start < 0 ? undefined : transcript;
    };
    assert.ok(transcriptOf(output) !== undefined, output);
    assert.equal(transcriptOf(again.output), transcriptOf(output));
    const shown = blocks.find(({ language }) => language === "text")!.text;
    for (const part of [
      /The invariant 'no money is lost' does not hold\. AssertionError \[ERR_ASSERTION\]/,
      /\n *\d+ !== 3000\n/,
      /gives this run again\. Its faults, and its last lines:/,
      / workload \d: (ann|bob|cid) pays \d+ to (ann|bob|cid)\n/,
      / workload \d: \d+ account\/(ann|bob|cid) withdraw\n/,
      / writeDurable log\/0000000000000001\.segment\n/,
      / workload \d: \d+ done\n/,
      / workload \d: fault: its client died\n/,
    ]) {
      assert.match(shown, part);
      assert.match(output, part);
    }
  });

  test("shows a cure with which no seed finds anything", async () => {
    const { exitCode, output } = await shell("node --import tsx --test one-transaction.test.ts", folder);
    assert.equal(exitCode, 0, output);
  });

  test("shows the same on a cluster", async () => {
    const { exitCode, output } = await shell("node --import tsx --test cluster.test.ts", folder);
    assert.equal(exitCode, 0, output);
  });

  test("shows how the command line finds the bug, and what it needs", async () => {
    assert.equal(commands[2], "npx onefold sim bank.ts --seeds 50");
    const { exitCode, output } = await shell(commands[2], folder);
    assert.equal(exitCode, 1, output);
    const shown = blocks.filter(({ language }) => language === "text")[1]!.text;
    for (const part of [
      /Seed \d+ failed: The invariant 'no money is lost' does not hold\. AssertionError \[ERR_ASSERTION\]/,
      /What goes wrong in it\. It is what \d+ runs have left of \d+ events\.\n {2}client-crash: workload \d ends before its call \d+\n\n/,
      /\n {2}[\d.]+ workload \d: \d+ account\/(ann|bob|cid) withdraw\n/,
      /\n {2}[\d.]+ workload \d: fault: its client died\n/,
      /\n {2}npx onefold sim bank\.ts --nodes 3 --seed \d+ --transcript run\.txt\n/,
    ]) {
      assert.match(shown, part);
      assert.match(output, part);
    }
  });

  test("explains every fault, and no other", async () => {
    const page = await readFile(new URL("../docs/testing.md", import.meta.url), "utf8");
    const explainedBetween = (begin: string, end: string): readonly string[] =>
      [...page.slice(page.indexOf(begin), page.indexOf(end)).matchAll(/^\| (`.*?) \|/gm)].flatMap(([, names = ""]) =>
        [...names.matchAll(/`([\w-]+)`/g)].map(([, name]) => name!),
      );
    const [alone, cluster] = ["| Fault | |", "| Faults | |"];
    assert.deepEqual(explainedBetween(alone, cluster).toSorted(), [...systemFaults].toSorted());
    const onCluster = [...explainedBetween(cluster, "A workload's client is the ordinary one"), "client-crash"];
    assert.deepEqual(onCluster.toSorted(), [...clusterSystemFaults].toSorted());
  });
});
