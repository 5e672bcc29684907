/** `onefold sim`, as its users run it: systems that are right pass, and one with a bug fails with what the bug needs. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { only, ProgramFolder } from "./command-line.fixture.ts";
import { installOnefold } from "./installation.ts";

const examples = fileURLToPath(new URL("../examples", import.meta.url));

/** The receipt is written by a second call: who ends between the two has paid without one. */
const shopText = `
import { entity, system } from "onefold";
import { z } from "zod";
const till = entity("till")
  .state(z.object({ payments: z.number(), receipts: z.number() }), () => ({ payments: 0, receipts: 0 }))
  .command("pay", (state) => { state.payments++; })
  .command("print", (state) => { state.receipts++; })
  .query("missing", (state) => state.payments - state.receipts);
export const shop = system("shop", { till });
export const simulation = {
  workload: async ({ client, index, sleep }) => {
    for (let count = 0; count < 8; count++) {
      await client.till("t" + index).pay();
      await client.till("t" + index).print();
      await sleep(100);
    }
  },
  atRest: {
    "every payment has its receipt": async (client) => {
      for (const id of ["t0", "t1", "t2"]) if ((await client.till(id).missing()) !== 0) return false;
    },
  },
  settleMs: 1000,
};
`;

interface Failed {
  readonly passed: boolean;
  readonly seed: string;
  readonly reason: string;
  readonly plan: { readonly events: readonly { readonly kind: string }[] };
  readonly transcript: readonly string[];
}

describe("onefold sim", { timeout: 180_000 }, () => {
  let folder: ProgramFolder;

  before(async () => {
    folder = await ProgramFolder.make();
    await installOnefold(folder.path);
    await writeFile(join(folder.path, "shop.ts"), shopText);
  });
  after(() => folder.remove());

  test("passes the bank on three nodes, and says how much that was", async () => {
    const { code, out, err } = await folder.onefold("sim", join(examples, "bank"), "--seeds", "2");
    assert.equal(code, 0, out + err);
    assert.match(err, /Simulating bank on 3 nodes: the simulation of .*simulation\.ts\./);
    for (const part of [
      /^seeds +2, [\d.]+ a second$/m,
      /^simulated +\d.* s \(\S+ years\), \S+ times as fast as real time$/m,
      /^operations +\d+$/m,
      /^lives of nodes +\d+$/m,
      /^checks +\d+$/m,
      /^faults +\d+: [a-z-]+ \d+/m,
      /^All 2 seeds passed\.$/m,
    ]) {
      assert.match(out, part);
    }
  });

  test("finds the same failure, and counts the same, with one process and with three", async () => {
    const ended = [];
    for (const jobs of ["1", "3"]) {
      ended.push(await folder.onefold("sim", "shop.ts", "--seeds", "30", "--jobs", jobs, "--no-shrink", "--json"));
    }
    const [alone, together] = ended.map(({ out }) => ({ ...(JSON.parse(out) as object), elapsedMs: 0 }));
    assert.deepEqual(together, alone);
    const { seed, transcript } = only(ended[0]!) as Failed;
    // In this process's own child, and in the program itself.
    const again = await folder.onefold("sim", "shop.ts", "--seed", seed, "--no-shrink", "--json");
    assert.deepEqual((only(again) as Failed).transcript, transcript);
  });

  test("says which seed it was where a process that simulates ends by itself", async () => {
    await writeFile(join(folder.path, "ends.ts"), shopText.replace("await sleep(100);", "process.exit(9);"));
    const { code, err } = await folder.onefold("sim", "ends.ts", "--seeds", "3", "--jobs", "2");
    assert.equal(code, 1, err);
    assert.match(err, /The process that simulated seed 0 has ended by itself, with the exit code 9: .*--seed 0/);
  });

  test("passes a system that says nothing of its simulation, with calls by its schemas", async () => {
    const ended = await folder.onefold("sim", join(examples, "order-book"), "--seeds", "2", "--nodes", "2", "--json");
    assert.equal(ended.code, 0, ended.out);
    const { passed, seeds, operations } = only(ended) as Record<string, unknown>;
    assert.deepEqual({ passed, seeds }, { passed: true, seeds: 2 });
    assert.ok((operations as number) > 50);
  });

  test("fails where a client's end between two calls shows a bug, shrinks the plan to it, and gives it again", async () => {
    const found = await folder.onefold("sim", "shop.ts", "--seeds", "30", "--json");
    assert.equal(found.code, 1, found.out + found.err);
    const failed = only(found) as Failed;
    assert.equal(failed.passed, false);
    assert.equal(failed.reason, "invariant every payment has its receipt");
    assert.deepEqual(
      failed.plan.events.map(({ kind }) => kind),
      ["client-crash"],
    );

    const again = await folder.onefold("sim", "shop.ts", "--seed", failed.seed, "--transcript", "run.txt");
    assert.equal(again.code, 1);
    assert.ok(
      again.out.includes(`Seed ${failed.seed} failed: The invariant 'every payment has its receipt' does not hold.`),
    );
    assert.match(
      again.out,
      /What goes wrong in it\. It is what \d+ runs have left of \d+ events\.\n {2}client-crash: /,
    );
    assert.ok(again.out.includes(`npx onefold sim shop.ts --nodes 3 --seed ${failed.seed} --transcript run.txt`));
    // What clients did is shown, not what disks and ways did.
    assert.match(again.out, /^ {2}[\d.]+ workload \d: fault: its client died$/m);
    // With every line, the same run has the same last ones.
    const lines = (await readFile(join(folder.path, "run.txt"), "utf8")).trimEnd().split("\n");
    assert.deepEqual(lines.slice(-failed.transcript.length), failed.transcript);

    await writeFile(join(folder.path, "plan.json"), found.out);
    const planned = await folder.onefold(
      "sim",
      "shop.ts",
      "--seed",
      failed.seed,
      "--plan",
      "plan.json",
      "--no-shrink",
      "--json",
    );
    assert.deepEqual((only(planned) as Failed).transcript, failed.transcript);
    await writeFile(join(folder.path, "nothing.json"), '{ "events": [] }');
    const calm = await folder.onefold("sim", "shop.ts", "--seed", failed.seed, "--plan", "nothing.json");
    assert.equal(calm.code, 0, calm.out);
  });

  test("says what is wrong with a command line, a plan or a simulation", async () => {
    await writeFile(
      join(folder.path, "bad.ts"),
      `${shopText.slice(0, shopText.indexOf("export const simulation"))}export const simulation = 7;`,
    );
    await writeFile(join(folder.path, "bad.json"), "{}");
    for (const [words, message] of [
      [["sim", "shop.ts", "--faults", "flood"], /There is no fault 'flood' on 3 nodes; there is node-crash, /],
      [["sim", "shop.ts", "--plan", "bad.json"], /bad\.json is no plan/],
      [["sim", "shop.ts", "--plan", "absent.json"], /The plan absent\.json can't be read/],
      [["sim", "shop.ts", "--nodes", "10"], /1 to 9/],
      [["sim", "shop.ts", "--shards", "3"], /power of two/],
      [["sim", "shop.ts", "--jobs", "0"], /1 to 256/],
      [["sim", "bad.ts"], /bad\.ts exports no simulation with a workload/],
    ] as const) {
      const { code, err } = await folder.onefold(...words);
      assert.equal(code, 2, err);
      assert.match(err, message);
    }
  });
});
