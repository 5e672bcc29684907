/** The bank, tested as its users would: plainly, over a crash, and simulated under faults. See docs/testing.md. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { simulate, testSystem } from "onefold/sim";
import { bank } from "./bank.ts";

describe("the bank", () => {
  test("moves money whole or not at all, and keeps it over a crash", async (context) => {
    const running = await testSystem(bank);
    context.after(() => running.close());
    const { client } = running;
    assert.equal(await client.account("alice").deposit({ cents: 500 }), 500);
    await client.transfer({ from: "alice", to: "bob", cents: 200 });
    await assert.rejects(client.transfer({ from: "alice", to: "bob", cents: 301 }), {
      code: "insufficient-funds",
      details: { balanceCents: 300 },
    });
    await running.crash();
    assert.equal(await client.account("alice").balance(), 300);
    assert.equal(await client.account("bob").balance(), 200);
  });

  test("neither makes nor loses a cent, whatever happens to the node and its clients", async () => {
    // Money goes one way only, from each purse to its box: so what is read later has less in the purse, and more in the box.
    const pairs = [0, 1, 2].map((index) => ({ purse: `purse-${index}`, box: `box-${index}` }));
    let faultCount = 0;
    for (let seed = 0; seed < 20; seed++) {
      const { faults } = await simulate(bank, {
        seed,
        workloads: pairs.length,
        workload: async ({ client, index, random, sleep }) => {
          const { purse, box } = pairs[index]!;
          await client.account(purse).deposit({ cents: 1000 });
          for (let count = 0; count < 10; count++) {
            await client.transfer({ from: purse, to: box, cents: random.between(1, 50) });
            await sleep(random.between(0, 40));
          }
        },
        invariants: {
          "no cent is lost": async (client) => {
            for (const { purse, box } of pairs) {
              const left = await client.account(purse).balance();
              if (left > 0) assert.ok(left + (await client.account(box).balance()) >= 1000);
            }
          },
          "no cent is made": async (client) => {
            for (const { purse, box } of pairs) {
              const saved = await client.account(box).balance();
              assert.ok(saved + (await client.account(purse).balance()) <= 1000);
            }
          },
        },
      });
      for (const count of Object.values(faults)) faultCount += count;
    }
    assert.ok(faultCount > 20, `${faultCount} faults`);
  });
});
