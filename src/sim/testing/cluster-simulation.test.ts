/** What `simulate` promises of a system on a simulated cluster: it finds what is wrong, makes it small, and finds nothing else. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { entity } from "../../entity/define.ts";
import { system, transaction } from "../../entity/define-system.ts";
import type { SystemHandle } from "../../entity/definition.ts";
import { generatedSimulation } from "./generated-workload.ts";
import { shrinkFailure } from "./shrink-failure.ts";
import { simulate } from "./simulate-system.ts";
import { SimulationFailure, type SystemSimulationOptions, type Workload } from "./simulation.ts";
import { clusterSystemFaultsDefault, type SimulationPlan } from "./simulation-plan.ts";

const names = ["ann", "bob", "cid", "dee"];
const cents = z.number().int();

function makeBank() {
  const account = entity("account")
    .state(z.object({ cents }), () => ({ cents: 1000 }))
    .command("add", z.object({ cents }), (state, input) => {
      state.cents += input.cents;
      return state.cents;
    })
    .command("crash", z.object({ why: z.enum(["this", "that"]) }), (_state, { why }) => {
      if (why === "that") throw new TypeError("planted");
    })
    .query("cents", (state) => state.cents);
  const transfer = transaction("transfer", z.object({ from: z.string(), to: z.string(), cents })).run(
    async (tx, input) => {
      await tx(account, input.from).add({ cents: -input.cents });
      await tx(account, input.to).add({ cents: input.cents });
    },
  );
  const sum = transaction("sum").run(async (tx) => {
    let total = 0;
    for (const name of names) total += await tx(account, name).cents();
    return total;
  });
  return system("bank", { account, transfer, sum });
}

type Bank = ReturnType<typeof makeBank>;
type Options = SystemSimulationOptions<Bank>;

const conserved = async (client: Workload<Bank>["client"]): Promise<void> => {
  assert.equal(await client.sum(), names.length * 1000);
};

const whole: Options["workload"] = async ({ client, random, sleep }) => {
  for (let count = 0; count < 10; count++) {
    const [from, to] = [random.pick(names), random.pick(names)];
    if (from !== to) await client.transfer({ from, to, cents: random.integer(50) });
    await sleep(random.next() * 200);
  }
};

const inHalves: Options["workload"] = async ({ client, index, sleep }) => {
  const [from, to] = [names[index]!, names[index + 1]!];
  for (let count = 0; count < 10; count++) {
    await client.account(from).add({ cents: -5 });
    await client.account(to).add({ cents: 5 });
    await sleep(50);
  }
};

async function failure<S extends SystemHandle>(bank: S, options: SystemSimulationOptions<S>) {
  try {
    await simulate(bank, options);
  } catch (error) {
    if (error instanceof SimulationFailure) return error;
    throw error;
  }
  return undefined;
}

describe("simulating a user's system on a cluster", { timeout: 120_000 }, () => {
  test("finds nothing wrong with a transfer that is a transaction, and says what happened (Y2, Y3, Y4)", async () => {
    const kinds = new Set<string>();
    for (let seed = 0; seed < 3; seed++) {
      const report = await simulate(makeBank(), { seed, nodes: 3, workload: whole, invariants: { conserved } });
      assert.equal(report.nodes, 3);
      assert.ok(report.operations > 0 && report.checks > 2, JSON.stringify(report));
      assert.ok(report.lives >= 6, "every node lived again after the last crash");
      for (const kind of Object.keys(report.faults)) kinds.add(kind);
    }
    assert.ok(kinds.size > 3, [...kinds].join());
    for (const kind of kinds) assert.ok(clusterSystemFaultsDefault.includes(kind as never), kind);
  });

  test("gives the same run to the same seed, and the same plan (Y1)", async () => {
    const options: Options = { seed: "same", nodes: 2, workload: whole, settleMs: 1000 };
    const [first, again] = [await simulate(makeBank(), options), await simulate(makeBank(), options)];
    assert.equal(again.traceHash, first.traceHash);
    const other = await simulate(makeBank(), { ...options, plan: { events: [] } });
    assert.notEqual(other.traceHash, first.traceHash);
    assert.deepEqual(other.faults, {});
  });

  test("finds a transfer in two halves, and shrinks what goes wrong to one client's end between them", async () => {
    const options = { nodes: 3, workload: inHalves, atRest: { conserved }, settleMs: 1000 };
    let found: SimulationFailure | undefined;
    let seed = 0;
    for (; found === undefined && seed < 20; seed++) found = await failure(makeBank(), { ...options, seed });
    assert.ok(found !== undefined);
    assert.equal(found.reason, "invariant conserved");
    const run = { ...options, seed: found.seed };
    const shrunk = await shrinkFailure(makeBank(), run, found, { attemptsMax: 40 });
    assert.equal(shrunk.isReproduced, true);
    assert.deepEqual(
      shrunk.failure.plan!.events.map(({ kind }) => kind),
      ["client-crash"],
    );
    assert.ok(shrunk.failure.transcript.some((line) => line.includes("its client died")));
    // A plan outlives the process as JSON, and gives the failure again.
    const plan = JSON.parse(JSON.stringify(shrunk.failure.plan)) as SimulationPlan;
    const again = await failure(makeBank(), { ...run, plan });
    assert.deepEqual(again!.transcript, shrunk.failure.transcript);
  });

  test("makes a workload from the schemas, which finds code that throws", async () => {
    const bank = makeBank();
    const generated = await generatedSimulation(bank);
    const found = await failure(bank, { ...generated, seed: 1, nodes: 2, faults: [] });
    assert.match(found!.message, /account\/\w+ crash with the input {"why":"that"} ended with command-failed/);
    assert.equal(found!.reason, "account crash command-failed");
  });

  test("refuses options that make no sense", async () => {
    const run = (options: object) =>
      simulate(makeBank(), { seed: 1, nodes: 3, workload: async () => undefined, ...options } as never);
    const strange = { events: [{ kind: "flood" }] };
    for (const options of [{ faults: ["lost-store"] }, { plan: strange }, { nodes: 1, plan: { events: [] } }]) {
      await assert.rejects(run(options), { code: "invalid-configuration" });
    }
  });
});
