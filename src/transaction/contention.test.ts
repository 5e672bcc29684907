import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import { outcomesOf, ShardRig } from "../entity/shard.fixture.ts";
import { type Body, makeBank } from "./bank.fixture.ts";

function withBank(
  body: (parts: {
    readonly rig: ShardRig<ReturnType<typeof makeBank>["bank"]>;
    readonly client: ReturnType<ShardRig<ReturnType<typeof makeBank>["bank"]>["client"]>;
    readonly account: ReturnType<typeof makeBank>["account"];
    readonly run: (script: Body, deadlineMs?: number) => Promise<unknown>;
  }) => Promise<void>,
  options: ConstructorParameters<typeof ShardRig>[1] = {},
): Promise<void> {
  const made = makeBank();
  return ShardRig.run(
    made.bank,
    (rig, client) => {
      let count = 0;
      const run = async (script: Body, deadlineMs = 30_000) => {
        const name = `script-${++count}`;
        made.bodies.set(name, script);
        return (await rig.transaction("script", { name, input: null }, { deadlineMs })).output;
      };
      return body({ rig, client, account: made.account, run });
    },
    options,
  );
}

/** A promise and the function that resolves it. */
function gate(): { readonly passed: Promise<void>; readonly open: () => void } {
  let open: () => void = () => undefined;
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

describe("transactions that contend", () => {
  test("cross on two hot accounts by the hundred: none deadlocks, money is conserved, all end", () =>
    withBank(async ({ rig, client }) => {
      await client.account("a").deposit({ cents: 10_000 });
      await client.account("b").deposit({ cents: 10_000 });
      const transfers = Array.from({ length: 600 }, (_, i) =>
        client.transfer(i % 2 === 0 ? { from: "a", to: "b", cents: 3 } : { from: "b", to: "a", cents: 5 }),
      );
      const outcomes = await outcomesOf(transfers);
      const done = (remainder: number) => outcomes.filter((o, i) => o === undefined && i % 2 === remainder).length;
      assert.deepEqual(
        [...new Set(outcomes)].filter((o) => o !== undefined && o !== "conflict"),
        [],
      );
      assert.equal(await client.account("a").balance(), 10_000 - 3 * done(0) + 5 * done(1));
      assert.equal(await client.account("b").balance(), 10_000 + 3 * done(0) - 5 * done(1));
      assert.equal(done(0) + done(1), 600, "wound-wait serves everyone in the end");
      assert.ok(rig.scheduler.nowMs < 30_000);
    }));

  test("keep every sum over random accounts, among plain commands, sends and reads that show a consistent cut", () =>
    withBank(async ({ rig, client, account, run }) => {
      const ids = ["a", "b", "c", "d", "e"];
      for (const id of ids) await client.account(id).deposit({ cents: 1000 });
      const random = new SeededRandom("contention");
      const cuts: number[] = [];
      const works: Promise<unknown>[] = [];
      for (let i = 0; i < 400; i++) {
        const [from, to] = random.shuffle(ids) as [string, string];
        const kind = random.integer(4);
        if (kind <= 1) works.push(client.transfer({ from, to, cents: 1 + random.integer(20) }));
        else if (kind === 2) {
          works.push(
            run(async (tx) => {
              let sum = 0;
              for (const id of random.shuffle(ids)) sum += await tx(account, id).balance();
              cuts.push(sum);
              return sum;
            }).then((sum) => assert.equal(sum, 5000)),
          );
        } else {
          works.push(
            run(async (tx) => {
              const cents = await tx(account, from).balance();
              await rig.sleep(random.next() * 3);
              if (cents > 0) await tx(account, from).withdraw({ cents });
              if (cents > 0) await tx(account, to).deposit({ cents });
            }),
          );
        }
        if (i % 40 === 0) await rig.sleep(random.next() * 5);
      }
      const outcomes = await outcomesOf(works);
      assert.deepEqual(
        [...new Set(outcomes)].filter((o) => o !== undefined && o !== "insufficient-funds"),
        [],
      );
      const balances = await Promise.all(ids.map((id) => client.account(id).balance()));
      assert.equal(
        balances.reduce((sum, cents) => sum + cents, 0),
        5000,
      );
      assert.ok(cuts.length > 50);
    }));

  test("wound the younger holder of a lock, which starts again and succeeds after the older one", () =>
    withBank(async ({ rig, account, run }) => {
      const events: string[] = [];
      const older = gate();
      const younger = gate();
      const first = run(async (tx) => {
        events.push("older begins");
        await older.passed;
        await tx(account, "x").deposit({ cents: 1 });
        events.push("older has x");
      });
      await rig.sleep(5);
      let attempts = 0;
      const second = run(async (tx) => {
        attempts++;
        await tx(account, "x").deposit({ cents: 10 });
        events.push(`younger has x, attempt ${attempts}`);
        if (attempts === 1) await younger.passed;
        await tx(account, "y").deposit({ cents: 10 });
      });
      await rig.sleep(5);
      older.open();
      await first;
      younger.open();
      await second;
      assert.deepEqual(events, ["older begins", "younger has x, attempt 1", "older has x", "younger has x, attempt 2"]);
      assert.equal(await rig.client().account("x").balance(), 11);
      assert.equal(await rig.client().account("y").balance(), 10);
    }));

  test("never wound the older holder: the younger one waits", () =>
    withBank(async ({ rig, account, run }) => {
      const hold = gate();
      let attempts = 0;
      const older = run(async (tx) => {
        attempts++;
        await tx(account, "x").deposit({ cents: 1 });
        await hold.passed;
      });
      await rig.sleep(5);
      let isYoungerDone = false;
      const younger = run((tx) => tx(account, "x").deposit({ cents: 1 })).then((output) => {
        isYoungerDone = true;
        return output;
      });
      await rig.sleep(500);
      assert.equal(isYoungerDone, false);
      hold.open();
      await older;
      assert.equal(await younger, 2);
      assert.equal(attempts, 1);
    }));

  test("give up with 'conflict' after a bounded number of attempts, having changed nothing", () =>
    withBank(
      async ({ rig, account, run, client }) => {
        // Older transactions, begun before it, that take the lock away from it one after the other.
        const gates = Array.from({ length: 4 }, gate);
        const older = gates.map(({ passed }) =>
          run(async (tx) => {
            await passed;
            await tx(account, "x").deposit({ cents: 1 });
          }),
        );
        await rig.sleep(5);
        let attempts = 0;
        const loser = run(async (tx) => {
          await tx(account, "x").deposit({ cents: 1000 });
          attempts++;
          gates[attempts - 1]?.open();
          await rig.sleep(1000);
        });
        await assert.rejects(loser, { code: "conflict", retry: "safe" });
        assert.equal(attempts, 3);
        for (const { open } of gates) open();
        await Promise.all(older);
        assert.equal(await client.account("x").balance(), 4);
      },
      { limits: { transactionAttemptsMax: 3 } },
    ));

  test("may upgrade a shared lock: of two that read and then write, both succeed and neither update is lost", () =>
    withBank(async ({ rig, account, run, client }) => {
      await client.account("x").deposit({ cents: 1 });
      const double: Body = async (tx) => {
        const cents = await tx(account, "x").balance();
        await rig.sleep(5);
        await tx(account, "x").deposit({ cents });
      };
      await Promise.all([run(double), run(double), run(double)]);
      assert.equal(await client.account("x").balance(), 8);
    }));

  test("let plain commands through in their turn, and those see all of a transaction or nothing", () =>
    withBank(async ({ rig, account, run, client }) => {
      await client.account("a").deposit({ cents: 100 });
      const hold = gate();
      const open = run(async (tx) => {
        await tx(account, "a").withdraw({ cents: 40 });
        await hold.passed;
        await tx(account, "b").deposit({ cents: 40 });
      });
      await rig.sleep(5);
      const waiting = Array.from({ length: 20 }, () => client.account("a").deposit({ cents: 1 }));
      const reads = [await client.account("a").balance(), await client.account("b").balance()];
      assert.deepEqual(reads, [100, 0]);
      hold.open();
      await open;
      assert.deepEqual(
        await Promise.all(waiting),
        Array.from({ length: 20 }, (_, i) => 61 + i),
      );
    }));

  test("bound the requests that wait for one entity", () =>
    withBank(
      async ({ rig, account, run, client }) => {
        const hold = gate();
        const open = run(async (tx) => {
          await tx(account, "a").deposit({ cents: 1 });
          await hold.passed;
        });
        await rig.sleep(5);
        const waiting = Array.from({ length: 12 }, () => client.account("a").deposit({ cents: 1 }));
        waiting.push(run((tx) => tx(account, "a").deposit({ cents: 1 })) as Promise<number>);
        await rig.sleep(5);
        hold.open();
        await open;
        const outcomes = await outcomesOf(waiting);
        assert.equal(outcomes.filter((outcome) => outcome === "overloaded").length, 3);
        assert.equal(await client.account("a").balance(), 11);
      },
      { limits: { waitingPerEntityMax: 10 } },
    ));

  test("leave no lock behind when their bodies end in every possible way", () =>
    withBank(async ({ rig, account, run, client }) => {
      const bodies: Body[] = [
        async (tx) => tx(account, "x").deposit({ cents: 1 }),
        async (tx) => tx(account, "x").balance(),
        async (tx) => {
          await tx(account, "x").deposit({ cents: 1 });
          throw new Error("thrown");
        },
        async (tx) => {
          await tx(account, "x").deposit({ cents: 1 });
          await new Promise(() => undefined);
        },
        async (tx) => {
          void tx(account, "x")
            .deposit({ cents: 1 })
            .catch(() => undefined);
        },
        async (tx) => {
          await tx(account, "x").deposit({ cents: 1 });
          return Symbol("no value");
        },
      ];
      const random = new SeededRandom("bodies");
      for (let round = 0; round < 30; round++) {
        await outcomesOf(random.shuffle(bodies).map((body) => run(body, 50 + random.integer(100))));
        const [reached] = await outcomesOf([rig.command("account", "x", "deposit", { cents: 1 }, { deadlineMs: 50 })]);
        assert.notEqual(reached, "deadline-passed");
      }
      assert.equal(await client.account("y").deposit({ cents: 1 }), 1);
    }));
});
