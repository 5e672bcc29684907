import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError, Refused } from "../base/errors.ts";
import { outcomesOf, ShardRig, tester } from "../entity/shard.fixture.ts";
import { type Body, makeBank } from "./bank.fixture.ts";

/** Runs `body` against a fresh bank; `run` runs a transaction's body once the bank is open. */
function withBank(
  body: (parts: ReturnType<typeof openParts>) => Promise<void>,
  options: ConstructorParameters<typeof ShardRig>[1] = {},
): Promise<void> {
  const made = makeBank();
  return ShardRig.run(made.bank, (rig, client) => body(openParts(made, rig, client)), options);
}

function openParts(
  made: ReturnType<typeof makeBank>,
  rig: ShardRig<ReturnType<typeof makeBank>["bank"]>,
  client: ReturnType<ShardRig<ReturnType<typeof makeBank>["bank"]>["client"]>,
) {
  let count = 0;
  const run = async (script: Body, options: Parameters<typeof rig.transaction>[2] = {}): Promise<unknown> => {
    const name = `script-${++count}`;
    made.bodies.set(name, script);
    return (await rig.transaction("script", { name, input: null }, options)).output;
  };
  const balances = (...ids: string[]) => Promise.all(ids.map((id) => client.account(id).balance()));
  return { ...made, rig, client, run, balances };
}

describe("a transaction", () => {
  test("goes from A to B and to A again, and sees its own changes on the way", () =>
    withBank(async ({ run, account, client, balances, rig }) => {
      await client.account("a").deposit({ cents: 100 });
      const before = rig.storage.count;
      const seen = await run(async (tx) => {
        const first = await tx(account, "a").withdraw({ cents: 60 });
        const second = await tx(account, "b").deposit({ cents: 60 });
        const third = await tx(account, "a").deposit({ cents: 5 });
        return [first, second, third, await tx(account, "a").balance()];
      });
      assert.deepEqual(seen, [40, 60, 45, 45]);
      assert.deepEqual(await balances("a", "b"), [45, 60]);
      assert.equal(rig.storage.count - before, 1, "one batch, no second phase");
    }));

  test("that throws after half of its writes leaves nothing", () =>
    withBank(async ({ run, account, client, balances, rig }) => {
      await client.account("a").deposit({ cents: 100 });
      const before = rig.storage.count;
      const failing = run(async (tx) => {
        await tx(account, "a").withdraw({ cents: 60 });
        await tx(account, "a").tell({ to: "r", cents: 1 });
        await tx(account, "a").remind({ delayMs: 1, key: "k" });
        throw new TypeError("half way");
      });
      await assert.rejects(failing, { code: "command-failed" });
      await rig.sleep(1000);
      assert.deepEqual(await balances("a", "b"), [100, 0]);
      assert.deepEqual(await client.receiver("r").received(), []);
      assert.equal(rig.storage.count, before);
    }));

  test("that lets a refusal through is refused as a whole, with its code and details", () =>
    withBank(async ({ client, balances }) => {
      await client.account("a").deposit({ cents: 10 });
      const refused = client.transfer({ from: "a", to: "b", cents: 11 });
      await assert.rejects(refused, (error) => {
        assert(error instanceof Refused);
        assert.deepEqual([error.code, error.details], ["insufficient-funds", { balanceCents: 10 }]);
        return true;
      });
      assert.deepEqual(await balances("a", "b"), [10, 0]);
    }));

  test("undoes a command whose refusal it catches, and that command alone", () =>
    withBank(async ({ run, account, client, balances }) => {
      await client.account("a").deposit({ cents: 10 });
      const output = await run(async (tx) => {
        await tx(account, "a").withdraw({ cents: 1 });
        try {
          await tx(account, "a").withdraw({ cents: 100 });
        } catch (error) {
          assert(error instanceof Refused);
          assert.deepEqual(error.details, { balanceCents: 9 });
        }
        await assert.rejects(tx(account, "b").spoil(), { code: "invalid-state" });
        await tx(account, "b").deposit({ cents: 1 });
        return tx(account, "a").balance();
      });
      assert.equal(output, 9);
      assert.deepEqual(await balances("a", "b"), [9, 1]);
    }));

  test("queries what it has changed itself: root, collections, and a deleted entity's next life", () =>
    withBank(async ({ run, account, client }) => {
      await client.account("a").deposit({ cents: 10 });
      await client.account("a").deposit({ cents: 20 });
      const seen = await run(async (tx) => {
        const keys: unknown[] = [await tx(account, "a").keys()];
        await tx(account, "a").deposit({ cents: 1 });
        keys.push(await tx(account, "a").keys());
        await tx(account, "a").close();
        keys.push(await tx(account, "a").keys(), await tx(account, "a").balance());
        await tx(account, "a").deposit({ cents: 7 });
        keys.push(await tx(account, "a").keys());
        return keys as string[];
      });
      const expected = [["in-10", "in-30"], ["in-10", "in-30", "in-31"], [], 0, ["in-7"]];
      assert.deepEqual(seen, expected);
      assert.deepEqual(await client.account("a").keys(), ["in-7"]);
      assert.equal(await client.account("a").balance(), 7);
    }));

  test("that ends an entity and begins it anew keeps the new life over a restart, also without a store", () =>
    withBank(async ({ run, account, client, rig }) => {
      await client.account("a").deposit({ cents: 10 });
      await client.account("a").remind({ delayMs: 500, key: "old" });
      await run(async (tx) => {
        await tx(account, "a").close();
        await tx(account, "a").deposit({ cents: 7 });
        await tx(account, "a").close();
        await tx(account, "a").deposit({ cents: 8 });
      });
      const check = async () => {
        const state = await rig.shard.state({ kind: "account", id: "a" }, { principal: tester });
        assert.deepEqual([state.state, state.generation, state.version], [{ balanceCents: 8 }, 3, 1]);
        assert.deepEqual(await rig.client().account("a").keys(), ["in-8"]);
      };
      await check();
      await rig.restart();
      await check();
      await rig.restart({ loseStore: true });
      await check();
      await rig.sleep(1000);
      await check();
    }));

  test("can end an entity it has made, so that nothing of it was ever there", () =>
    withBank(async ({ run, account, rig }) => {
      await run(async (tx) => {
        await tx(account, "a").deposit({ cents: 1 });
        await tx(account, "a").close();
      });
      const listed = await rig.shard.list("account", { principal: tester });
      assert.deepEqual(listed.ids, []);
      await assert.rejects(rig.shard.state({ kind: "account", id: "a" }, { principal: tester }), { code: "not-found" });
    }));

  test("sends its messages when it commits, in the order of its steps", () =>
    withBank(async ({ run, account, client, rig }) => {
      let opened: (() => void) | undefined;
      const gate = new Promise<void>((resolve) => {
        opened = resolve;
      });
      const sending = run(async (tx) => {
        for (const cents of [1, 2, 3]) await tx(account, "a").tell({ to: "r", cents });
        await gate;
      });
      await rig.sleep(1000);
      assert.deepEqual(await client.receiver("r").received(), []);
      opened!();
      await sending;
      await rig.until(() => rig.entries().filter(({ entry }) => entry.origin === "message").length === 3);
      assert.deepEqual(await client.receiver("r").received(), [1, 2, 3]);
    }));

  test("replaces and cancels timers under the due times that were there before it", () =>
    withBank(async ({ run, account, client, rig }) => {
      await client.account("a").remind({ delayMs: 5000, key: "k" });
      await rig.applied();
      await run(async (tx) => {
        await tx(account, "a").remind({ delayMs: 7000, key: "k" });
        await tx(account, "a").remind({ delayMs: 2000, key: "k" });
      });
      await rig.sleep(1000);
      await rig.restart();
      await rig.sleep(10_000);
      assert.equal(await rig.client().account("a").balance(), 1);
      assert.equal(rig.entries().filter(({ entry }) => entry.origin === "timer").length, 1);
    }));

  test("runs steps that are begun together, in the order in which they were begun", () =>
    withBank(async ({ run, account, balances }) => {
      const output = await run(async (tx) =>
        Promise.all([
          tx(account, "a").deposit({ cents: 5 }),
          tx(account, "b").deposit({ cents: 6 }),
          tx(account, "a").deposit({ cents: 7 }),
          tx(account, "a").balance(),
        ]),
      );
      assert.deepEqual(output, [5, 6, 12, 12]);
      assert.deepEqual(await balances("a", "b"), [12, 6]);
    }));

  test("that leaves a step unawaited is refused, and nothing of it stays", () =>
    withBank(async ({ run, account, balances, rig }) => {
      let late: Promise<unknown> | undefined;
      const unawaited = run(async (tx) => {
        await tx(account, "a").deposit({ cents: 5 });
        late = tx(account, "b").deposit({ cents: 6 });
        late.catch(() => undefined);
      });
      await assert.rejects(unawaited, { code: "command-failed" });
      await assert.rejects(late!);
      assert.deepEqual(await balances("a", "b"), [0, 0]);
      assert.equal(rig.storage.count, 1);
    }));

  test("refuses a step that is begun after its end", () =>
    withBank(async ({ run, account, balances, rig }) => {
      let late: (() => Promise<unknown>) | undefined;
      await run(async (tx) => {
        late = () => tx(account, "a").deposit({ cents: 6 });
      });
      await assert.rejects(late!(), { code: "command-failed" });
      await rig.sleep(100);
      assert.deepEqual(await balances("a"), [0]);
    }));

  test("touches as many entities as the limit allows, and one more is too large", () =>
    withBank(
      async ({ run, account, balances }) => {
        const touch = (count: number) =>
          run(async (tx) => {
            for (let i = 0; i < count; i++) await tx(account, `a${i}`).deposit({ cents: 1 });
          });
        await touch(4);
        await assert.rejects(touch(5), { code: "too-large" });
        assert.deepEqual(await balances("a0", "a3", "a4"), [1, 1, 0]);
      },
      { limits: { transactionParticipantsMax: 4 } },
    ));

  test("whose output is no value is refused, and nothing of it stays", () =>
    withBank(async ({ run, account, balances }) => {
      const bad = run(async (tx) => {
        await tx(account, "a").deposit({ cents: 5 });
        return () => 5;
      });
      await assert.rejects(bad, { code: "invalid-value" });
      assert.deepEqual(await balances("a"), [0]);
    }));

  test("whose effects are larger than one batch takes is too large", () =>
    withBank(
      async ({ run, account, balances }) => {
        const big = run(async (tx) => {
          for (let i = 0; i < 100; i++) await tx(account, `account-${i}`).deposit({ cents: 5 });
        });
        await assert.rejects(big, { code: "too-large" });
        assert.deepEqual(await balances("account-0"), [0]);
      },
      { limits: { effectsBytesMax: 16_384, stateBytesMax: 8192, itemBytesMax: 4096, outputBytesMax: 8192 } },
    ));

  test("survives a body that throws what is no error, or what can't even be looked at", () =>
    withBank(async ({ run, client }) => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      for (const thrown of [undefined, null, 7, "text", { code: 7 }, Symbol("s"), proxy]) {
        const failing = run(() => Promise.reject(thrown));
        await assert.rejects(failing, { code: "command-failed" });
      }
      assert.equal(await client.account("a").deposit({ cents: 1 }), 1);
    }));
});

describe("the ordinary client", () => {
  test("that is called from inside of a transaction is refused, since the transaction would wait for itself", () =>
    withBank(async ({ run, account, client, rig, balances }) => {
      await client.account("a").deposit({ cents: 10 });
      const inside = run(async (tx) => {
        await tx(account, "a").withdraw({ cents: 1 });
        await client.account("a").deposit({ cents: 1 });
      });
      await assert.rejects(inside, { code: "would-wait-for-itself" });
      const reading = run(async () => client.account("a").balance());
      await assert.rejects(reading, { code: "would-wait-for-itself" });
      const nested = run(async () => {
        await rig.sleep(5);
        await client.transfer({ from: "a", to: "b", cents: 1 });
      });
      await assert.rejects(nested, { code: "would-wait-for-itself" });
      assert.deepEqual(await balances("a", "b"), [10, 0]);
    }));

  test("is served while a transaction of somebody else is open", () =>
    withBank(async ({ run, account, client, rig }) => {
      let opened: (() => void) | undefined;
      const gate = new Promise<void>((resolve) => {
        opened = resolve;
      });
      const open = run(async (tx) => {
        await tx(account, "a").deposit({ cents: 1 });
        await gate;
      });
      await rig.sleep(10);
      assert.equal(await client.account("b").deposit({ cents: 2 }), 2);
      assert.equal(await client.account("a").balance(), 0);
      opened!();
      await open;
      assert.equal(await client.account("a").balance(), 1);
    }));
});

describe("what a transaction works on", () => {
  test("is the state that the last command left, and is left to the next one as the transaction committed it", () =>
    withBank(async ({ run, account, client, balances }) => {
      for (let round = 0; round < 3; round++) {
        await client.account("a").deposit({ cents: 100 });
        await run(async (tx) => {
          await tx(account, "a").withdraw({ cents: 30 });
          await tx(account, "a").withdraw({ cents: 30 });
          await tx(account, "b").deposit({ cents: 60 });
        });
        assert.equal(await client.account("a").withdraw({ cents: 10 }), 30 * (round + 1));
        assert.equal(await client.account("b").deposit({ cents: 1 }), 61 * (round + 1));
      }
      assert.deepEqual(await balances("a", "b"), [90, 183]);
    }));

  test("is nobody else's if the transaction ends in any other way than by committing", () =>
    withBank(async ({ run, account, client, rig }) => {
      const ends: readonly (() => Promise<unknown> | unknown)[] = [
        () => {
          throw new Error("thrown");
        },
        () => {
          throw new Refused("refused");
        },
        () => Symbol("no value"),
        () => rig.sleep(1000),
      ];
      for (const [index, end] of ends.entries()) {
        const id = `a${index}`;
        assert.equal(await client.account(id).deposit({ cents: 100 }), 100);
        const ending = run(
          async (tx) => {
            await tx(account, id).withdraw({ cents: 60 });
            return end();
          },
          { deadlineMs: 300 },
        );
        await assert.rejects(ending);
        assert.equal(await client.account(id).deposit({ cents: 1 }), 101);
        assert.equal(await run((tx) => tx(account, id).deposit({ cents: 1 })), 102);
      }
    }));

  test("is, after a refusal that it catches, what it was before the refused command", () =>
    withBank(async ({ run, account, client }) => {
      await client.account("a").deposit({ cents: 100 });
      await run(async (tx) => {
        await assert.rejects(tx(account, "a").spoil(), { code: "invalid-state" });
      });
      assert.equal(await client.account("a").deposit({ cents: 1 }), 101);
      const after = await run(async (tx) => {
        await tx(account, "a").withdraw({ cents: 1 });
        await assert.rejects(tx(account, "a").spoil(), { code: "invalid-state" });
        return tx(account, "a").deposit({ cents: 5 });
      });
      assert.equal(after, 105);
      assert.equal(await client.account("a").deposit({ cents: 1 }), 106);
    }));

  test("is the next life's where it ends an entity and begins it again", () =>
    withBank(async ({ run, account, client }) => {
      await client.account("a").deposit({ cents: 100 });
      await run(async (tx) => {
        await tx(account, "a").close();
        await tx(account, "a").deposit({ cents: 7 });
      });
      assert.equal(await client.account("a").deposit({ cents: 1 }), 8);
      await run((tx) => tx(account, "a").close());
      assert.equal(await client.account("a").deposit({ cents: 1 }), 1);
    }));
});

describe("a transaction's deadline", () => {
  test("frees the locks of one that hangs on a foreign promise, and says that nothing was changed", () =>
    withBank(async ({ run, account, client, rig, balances }) => {
      const hanging = run(
        async (tx) => {
          await tx(account, "a").deposit({ cents: 1 });
          await new Promise(() => undefined);
        },
        { deadlineMs: 500 },
      );
      await rig.sleep(50);
      const waiting = client.account("a").deposit({ cents: 5 });
      const [hung] = await outcomesOf([hanging]);
      assert.equal(hung, "deadline-passed");
      await assert.rejects(hanging, (error) => error instanceof OnefoldError && error.retry === "safe");
      assert.equal(await waiting, 5);
      assert.deepEqual(await balances("a"), [5]);
      assert.ok(rig.scheduler.nowMs < 1000, "it did not take longer than the deadline and a sweep");
    }));

  test("lets a plain command that waits behind its locks fail by the command's own deadline", () =>
    withBank(async ({ run, account, rig, balances }) => {
      const open = run(
        async (tx) => {
          await tx(account, "a").deposit({ cents: 1 });
          await rig.sleep(2000);
        },
        { deadlineMs: 10_000 },
      );
      await rig.sleep(50);
      const [waited] = await outcomesOf([rig.command("account", "a", "deposit", { cents: 5 }, { deadlineMs: 300 })]);
      assert.equal(waited, "deadline-passed");
      assert.ok(rig.scheduler.nowMs < 1000);
      await open;
      assert.deepEqual(await balances("a"), [1]);
      assert.equal((await rig.command("account", "a", "deposit", { cents: 5 })).output, 6);
    }));

  test("is 'unknown' once the transaction waits for its batch to become durable", () =>
    withBank(async ({ run, account, rig, balances }) => {
      await rig.command("account", "b", "deposit", { cents: 1 });
      rig.closeGate();
      const undurable = run(async (tx) => void (await tx(account, "a").deposit({ cents: 1 })), { deadlineMs: 300 });
      await assert.rejects(undurable, { code: "deadline-passed", retry: "unknown" });
      rig.openGate();
      await rig.sleep(10);
      assert.deepEqual(await balances("a"), [1]);
    }));
});

describe("the number of transactions", () => {
  test("that are open at once is bounded", () =>
    withBank(
      async ({ run, rig }) => {
        let opened: (() => void) | undefined;
        const gate = new Promise<void>((resolve) => {
          opened = resolve;
        });
        const open = [run(() => gate), run(() => gate)];
        await rig.sleep(1);
        await assert.rejects(
          run(() => gate),
          { code: "overloaded", retry: "safe" },
        );
        opened!();
        await Promise.all(open);
        await run(() => gate);
      },
      { limits: { transactionsOpenMax: 2 } },
    ));

  test("is not waited for without end where its shard is given up: what is not done was not begun", () =>
    withBank(async ({ run, account, client, rig }) => {
      await client.account("a").deposit({ cents: 10 });
      const hanging = run(
        async (tx) => {
          await tx(account, "a").withdraw({ cents: 5 });
          await new Promise(() => undefined);
        },
        { deadlineMs: 60_000 },
      );
      await rig.sleep(10);
      const behind = client.account("a").deposit({ cents: 1 });
      const outcomes = outcomesOf([hanging, behind]);
      await rig.sleep(10);
      const beganMs = rig.scheduler.nowMs;
      await rig.shard.close({ settleMs: 500 });
      const tookMs = rig.scheduler.nowMs - beganMs;
      assert.ok(tookMs >= 500 && tookMs < 1000, `${tookMs} ms`);
      assert.deepEqual(await outcomes, ["not-ready", "not-ready"]);
      for (const each of [hanging, behind]) await assert.rejects(each, { retry: "safe" });
      await rig.closeAndReopen();
      assert.equal(await rig.client().account("a").balance(), 10);
    }));

  test("that have entered a batch as the shard stops waiting for them are durable, and told so", () =>
    withBank(async ({ run, account, client, rig }) => {
      await client.account("a").deposit({ cents: 10 });
      let end: () => void = () => undefined;
      const gate = new Promise<void>((resolve) => {
        end = resolve;
      });
      const late = run(async (tx) => {
        await tx(account, "a").withdraw({ cents: 5 });
        await gate;
        return "late";
      });
      await rig.sleep(10);
      // The body ends in the very turn in which the shard stops to wait, just before: what it did is in a batch that no slice will see off.
      const { timers } = rig.host;
      const after = timers.after.bind(timers);
      timers.after = (delayMs, callback, ...rest) => {
        const endThenStop = async (): Promise<void> => {
          end();
          for (let i = 0; i < 20; i++) await undefined;
          callback();
        };
        return delayMs === 500 ? after(delayMs, () => void endThenStop(), ...rest) : after(delayMs, callback, ...rest);
      };
      const closing = rig.shard.close({ settleMs: 500 });
      assert.equal(await late, "late");
      await closing;
      await rig.closeAndReopen();
      assert.equal(await rig.client().account("a").balance(), 5);
    }));

  test("that run at once is bounded, and bodies that hang take no place once their deadline has passed", () =>
    withBank(
      async ({ run, account, rig }) => {
        const hanging = Array.from({ length: 12 }, () => run(() => new Promise(() => undefined), { deadlineMs: 200 }));
        const outcomes = await outcomesOf(hanging);
        assert.deepEqual(new Set(outcomes), new Set(["deadline-passed"]));
        const begunMs = rig.scheduler.nowMs;
        const rounds = 30;
        for (let i = 0; i < rounds; i++) {
          await Promise.all([1, 2, 3].map((n) => run((tx) => tx(account, `a${n}`).deposit({ cents: 1 }))));
        }
        const eachMs = (rig.scheduler.nowMs - begunMs) / rounds;
        assert.ok(eachMs < 6, `${eachMs} ms for three transactions`);
      },
      { limits: { transactionsRunningMax: 4 } },
    ));

  test("is not counted with those that wait for something foreign: they hold up nobody", () =>
    withBank(
      async ({ run, account, rig }) => {
        let opened: (() => void) | undefined;
        const gate = new Promise<void>((resolve) => {
          opened = resolve;
        });
        const begunMs = rig.scheduler.nowMs;
        const waiting = Array.from({ length: 40 }, (_, i) =>
          run(async (tx) => {
            await tx(account, `w${i}`).deposit({ cents: 1 });
            await gate;
            return tx(account, `w${i}`).deposit({ cents: 1 });
          }),
        );
        assert.equal(await run((tx) => tx(account, "a").deposit({ cents: 1 })), 1);
        const tookMs = rig.scheduler.nowMs - begunMs;
        assert.ok(tookMs < 20, `${tookMs} ms, behind 40 that wait`);
        opened!();
        assert.deepEqual(new Set(await Promise.all(waiting)), new Set([2]));
      },
      { limits: { transactionsRunningMax: 2 } },
    ));
});
