/** What `simulate` promises to those who test their own systems with it: it finds what is wrong, and nothing else. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { entity } from "../../entity/define.ts";
import { system, transaction } from "../../entity/define-system.ts";
import type { SystemHandle } from "../../entity/definition.ts";
import { simulate } from "./simulate-system.ts";
import type { SimulationFailure, Workload } from "./simulation.ts";

const names = ["ann", "bob", "cid", "dee"];

/** A bank whose transfer is a transaction, or two calls of the client with a crash's room in between. */
function makeBank() {
  const account = entity("account")
    .state(z.object({ cents: z.number().int(), requests: z.array(z.string()) }), () => ({
      cents: 1000,
      requests: [] as string[],
    }))
    .command("add", z.object({ cents: z.number().int(), request: z.string() }), (state, { cents, request }) => {
      state.cents += cents;
      state.requests.push(request);
    })
    .command("remind", z.object({ request: z.string() }), (_state, { request }, { after, send }) => {
      after(200, "add", { cents: 1, request: `${request}-timer` });
      send(account, "reminded", "add", { cents: 1, request: `${request}-message` });
    })
    .query("cents", (state) => state.cents)
    .query("requests", (state) => state.requests);
  const transfer = transaction(
    "transfer",
    z.object({ from: z.string(), to: z.string(), cents: z.number().int(), request: z.string() }),
  ).run(async (tx, { from, to, cents, request }) => {
    await tx(account, from).add({ cents: -cents, request });
    await tx(account, to).add({ cents, request });
  });
  const sum = transaction("sum").run(async (tx) => {
    let cents = 0;
    for (const name of names) cents += await tx(account, name).cents();
    return cents;
  });
  return system("bank", { account, transfer, sum });
}

type Bank = ReturnType<typeof makeBank>;

const conserved = async (client: Workload<Bank>["client"]): Promise<void> => {
  assert.equal(await client.sum(), names.length * 1000);
};

const transferWhole = async ({ client, index, random, sleep }: Workload<Bank>): Promise<void> => {
  for (let number = 0; number < 15; number++) {
    const [from, to] = [random.pick(names), random.pick(names)];
    if (from !== to) {
      await client.transfer({ from, to, cents: random.integer(50), request: `${index}-${number}` });
    }
    await sleep(random.next() * 60);
  }
};

const seeds = (count: number): readonly number[] => Array.from({ length: count }, (_, seed) => seed);

async function failureOf<S extends SystemHandle>(run: Promise<S>): Promise<SimulationFailure> {
  return run.then(
    () => assert.fail("it should have failed"),
    (error: SimulationFailure) => error,
  );
}

describe("simulating a user's system", () => {
  test("finds nothing wrong with a transfer that is a transaction, whatever happens to the node (Y2, Y3)", async () => {
    let [lives, checks] = [0, 0];
    const kinds = new Set<string>();
    for (const seed of seeds(60)) {
      const report = await simulate(makeBank(), { seed, workload: transferWhole, invariants: { conserved } });
      lives += report.lives;
      checks += report.checks;
      for (const kind of Object.keys(report.faults)) kinds.add(kind);
    }
    assert(lives > 80, `${lives} lives`);
    assert(checks > 90, `${checks} checks`);
    for (const kind of ["crash", "lost-write", "full-disk", "failed-sync", "lost-file", "pause", "clock-jump"]) {
      assert(kinds.has(kind), kind);
    }
  });

  test("sees every call, message and timer take hold exactly once", async () => {
    for (const seed of seeds(15)) {
      await simulate(makeBank(), {
        seed,
        workload: async ({ client, index, sleep }) => {
          for (let number = 0; number < 8; number++) {
            await client.account(names[index]!).remind({ request: `${index}-${number}` });
            await sleep(20);
          }
        },
        settleMs: 70_000,
        invariants: {
          "nothing twice": async (client) => {
            for (const name of [...names, "reminded"]) {
              const requests = await client.account(name).requests();
              assert.equal(new Set(requests).size, requests.length);
            }
          },
        },
      });
    }
  });

  test("finds a transfer that is two calls, names the invariant, and gives the same run to the same seed (Y1)", async () => {
    const inHalves = async ({ client, index }: Workload<Bank>): Promise<void> => {
      const [from, to] = [names[index]!, names[index + 1]!];
      for (let number = 0; number < 10; number++) {
        const request = `${index}-${number}`;
        await client.account(from).add({ cents: -5, request });
        await client.account(to).add({ cents: 5, request });
      }
    };
    // Nothing but the death of a client between the two calls shows it: the sum is only looked at when all is at rest.
    const run = (seed: number) =>
      simulate(makeBank(), {
        seed,
        faults: ["client-crash", "clock-drift"],
        workload: inHalves,
        invariants: { conserved },
      });
    let found: SimulationFailure | undefined;
    let seed = -1;
    while (found === undefined && seed < 50) {
      seed++;
      found = await run(seed).then(
        () => undefined,
        (error: SimulationFailure) => error,
      );
    }
    assert(found !== undefined);
    assert.match(found.message, /The invariant 'conserved' does not hold/);
    assert.match(found.message, new RegExp(`seed "${seed}" gives this run again`));
    assert(found.transcript.some((line) => line.includes("its client died")));
    const again = await failureOf(run(seed) as never);
    assert.deepEqual(again.transcript, found.transcript);
  });

  test("leaves equal traces for equal seeds, and lets a workload's own failure through with the seed", async () => {
    const run = (seed: string) => simulate(makeBank(), { seed, workload: transferWhole });
    const [first, again, other] = [await run("a"), await run("a"), await run("b")];
    assert.equal(again.traceHash, first.traceHash);
    assert.notEqual(other.traceHash, first.traceHash);
    const failure = await failureOf(
      simulate(makeBank(), {
        seed: "own",
        faults: [],
        workload: async () => assert.equal(1, 2, "mine"),
      }) as never,
    );
    assert.match(failure.message, /mine/);
    assert.equal(failure.seed, "own");
  });

  test("counts the clients that died, at every kind of moment", async () => {
    const moments = new Set<string>();
    for (const seed of seeds(40)) {
      const died: string[] = [];
      const { faults } = await simulate(makeBank(), {
        seed,
        faults: ["client-crash"],
        workload: async ({ client, index, random }) => {
          for (let number = 0; number < 10; number++) {
            died[index] = "before or during";
            await client.account(random.pick(names)).add({ cents: 1, request: `${index}-${number}` });
            died[index] = "not";
          }
        },
        invariants: {
          "a call whose client died took hold once or never": async (client) => {
            for (const name of names) {
              const requests = await client.account(name).requests();
              assert.equal(new Set(requests).size, requests.length);
            }
            moments.add(String((await client.sum()) - names.length * 1000));
          },
        },
      });
      assert.equal(faults["client-crash"] ?? 0, died.filter((how) => how !== "not").length);
    }
    assert(moments.size > 3, [...moments].join());
  });

  test("refuses options that make no sense", async () => {
    const run = (options: object) =>
      simulate(makeBank(), { seed: 1, workload: async () => undefined, ...options } as never);
    for (const options of [{ faults: ["crahs"] }, { nodes: 0 }, { nodes: 10 }, { workloads: 0 }, { workloads: 1.5 }]) {
      await assert.rejects(run(options), { code: "invalid-configuration" });
    }
  });
});
