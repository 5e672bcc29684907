import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { OnefoldError, Refused } from "../base/errors.ts";
import { entity } from "../entity/define.ts";
import { system, transaction } from "../entity/define-system.ts";
import type { EntityCaller } from "../entity/definition-types.ts";
import { ClusterRig, type ClusterOptions, type Crossing, type Fate } from "./cluster.fixture.ts";

type Body = (tx: EntityCaller, input: unknown) => Promise<unknown>;

function makeBank() {
  const bodies = new Map<string, Body>();
  const cents = z.object({ cents: z.number().int() });
  const account = entity("account")
    .state(z.object({ cents: z.number().int().nonnegative() }), () => ({ cents: 0 }))
    .command("deposit", cents, (state, input) => {
      state.cents += input.cents;
      return state.cents;
    })
    .command("withdraw", cents, (state, input) => {
      if (state.cents < input.cents) throw new Refused("poor", { cents: state.cents });
      state.cents -= input.cents;
      return state.cents;
    })
    .command("tell", z.object({ to: z.string() }), (state, { to }, context) => {
      context.send(account, to, "deposit", { cents: 1 });
      return state.cents;
    })
    .query("balance", (state) => state.cents);
  const transfer = transaction("transfer", z.object({ from: z.string(), to: z.string(), cents: z.number().int() }))
    .at(({ from }) => account(from))
    .run(async (tx, input) => {
      await tx(account, input.from).withdraw({ cents: input.cents });
      return await tx(account, input.to).deposit({ cents: input.cents });
    });
  const script = transaction("script", z.object({ at: z.string(), name: z.string() }))
    .at(({ at }) => account(at))
    .run(async (tx, { name }) => (await bodies.get(name)!(tx, undefined)) as undefined);
  return { bank: system("bank", { account, transfer, script }), account, bodies };
}

interface Parts {
  readonly rig: ClusterRig;
  readonly account: ReturnType<typeof makeBank>["account"];
  /** An account at the first shard, where the home is, and one at the second. */
  readonly a: string;
  readonly b: string;
  readonly run: (at: string, body: Body, deadlineMs?: number) => Promise<unknown>;
  readonly balances: () => Promise<readonly unknown[]>;
}

async function withBank(body: (parts: Parts) => Promise<void>, options: ClusterOptions = {}): Promise<void> {
  const made = makeBank();
  await ClusterRig.run(
    made.bank,
    async (rig) => {
      const [a, b] = [rig.idAt("account", 0), rig.idAt("account", 1)];
      for (const id of [a, b]) await rig.command("account", id, "deposit", { cents: 100 });
      let count = 0;
      const run = async (at: string, script: Body, deadlineMs = 30_000) => {
        const name = `script-${++count}`;
        made.bodies.set(name, script);
        return (await rig.transaction("script", { at, name }, { deadlineMs })).output;
      };
      const balances = () => Promise.all([a, b].map((id) => rig.query("account", id, "balance")));
      await body({ rig, account: made.account, a, b, run, balances });
      assert.deepEqual(rig.stops, []);
    },
    options,
  );
}

const prompt: Fate = { asked: [0.5], answered: 0.5 };
const lost: Fate = { asked: [], answered: "lost" };

/** Loses the first `count` requests of a type, or all. */
function losing(type: string, count = Number.POSITIVE_INFINITY): (crossing: Crossing) => Fate {
  let left = count;
  return (crossing) => (crossing.type === type && left-- > 0 ? lost : prompt);
}

function code(expected: string) {
  return (error: unknown) => {
    assert.ok(error instanceof OnefoldError || error instanceof Refused);
    assert.equal(error.code, expected);
    return true;
  };
}

describe("a transaction over two shards", () => {
  test("prepares, decides, tells and forgets, in this order", () =>
    withBank(async ({ rig, a, b, balances }) => {
      assert.equal((await rig.transaction("transfer", { from: a, to: b, cents: 30 })).output, 130);
      assert.deepEqual(await balances(), [70, 130]);
      await rig.until(() => rig.isAtRest);
      assert.deepEqual(rig.members[0]!.parts(), ["decision", "forgotten"]);
      assert.deepEqual(rig.members[1]!.parts(), ["prepared", "commit"]);
      assert.ok(rig.isFree("account", a) && rig.isFree("account", b));
    }));

  test("is one entry without a second phase where all that it touches is at its home", () =>
    withBank(async ({ rig, a }) => {
      const other = rig.idAt("account", 0, "o");
      await rig.transaction("transfer", { from: a, to: other, cents: 30 });
      assert.deepEqual(rig.crossings, []);
      assert.deepEqual(rig.members[0]!.parts(), []);
    }));

  test("leaves nothing anywhere when it is refused, at home or elsewhere, and says why", () =>
    withBank(async ({ rig, a, b, run, account, balances }) => {
      await assert.rejects(rig.transaction("transfer", { from: a, to: b, cents: 500 }), code("poor"));
      const elsewhere = run(a, async (tx) => {
        await tx(account, a).deposit({ cents: 5 });
        await tx(account, b).withdraw({ cents: 500 });
      });
      await assert.rejects(elsewhere, (error) => {
        assert.deepEqual(error instanceof Refused && error.details, { cents: 100 });
        return true;
      });
      assert.deepEqual(await balances(), [100, 100]);
      await rig.until(() => rig.isFree("account", a) && rig.isFree("account", b), 10);
      assert.deepEqual(rig.members[1]!.parts(), []);
    }));

  test("goes on after a refusal that its body catches, which undoes that step alone", () =>
    withBank(async ({ a, b, run, account, balances }) => {
      await run(a, async (tx) => {
        await tx(account, b).deposit({ cents: 1 });
        await assert.rejects(tx(account, b).withdraw({ cents: 500 }));
        await tx(account, a).withdraw({ cents: 1 });
      });
      assert.deepEqual(await balances(), [99, 101]);
    }));

  test("shows its own changes to its later steps, and to nobody else", () =>
    withBank(async ({ rig, a, b, run, account }) => {
      const seen: unknown[] = [];
      await run(a, async (tx) => {
        await tx(account, b).deposit({ cents: 7 });
        seen.push(await tx(account, b).balance(), await rig.query("account", b, "balance"));
      });
      assert.deepEqual(seen, [107, 100]);
    }));

  test("sends its messages with the outcome, not before", () =>
    withBank(async ({ rig, a, b, run, account }) => {
      const third = rig.idAt("account", 1, "third");
      rig.fate = losing("transaction.outcome", 1);
      await run(a, async (tx) => {
        await tx(account, a).withdraw({ cents: 1 });
        await tx(account, b).tell({ to: third });
      });
      assert.equal(await rig.query("account", third, "balance"), 0);
      await rig.until(() => rig.isAtRest);
      await rig.sleep(10);
      assert.equal(await rig.query("account", third, "balance"), 1);
    }));
});

describe("steps", () => {
  test("that come twice, or whose answer is lost, run once", () =>
    withBank(async ({ rig, a, b, balances }) => {
      let count = 0;
      rig.fate = (crossing) => {
        if (crossing.type === "transaction.step" && count++ === 0) return { asked: [0.5, 3, 9], answered: "lost" };
        return { asked: [0.5, 2], answered: 0.5 };
      };
      await rig.transaction("transfer", { from: a, to: b, cents: 30 });
      assert.deepEqual(await balances(), [70, 130]);
      await rig.until(() => rig.isAtRest);
      assert.deepEqual(rig.members[1]!.parts(), ["prepared", "commit"]);
    }));

  test("of an attempt that is over, which come late, hold nothing for long", () =>
    withBank(async ({ rig, a, b }) => {
      // The copy arrives when all is over.
      rig.fate = (crossing) => (crossing.type === "transaction.step" ? { asked: [0.5, 500], answered: 0.5 } : prompt);
      await rig.transaction("transfer", { from: a, to: b, cents: 30 });
      await rig.sleep(600);
      assert.equal(rig.isFree("account", b), false, "it has begun anew");
      await rig.until(() => rig.isFree("account", b), 5_000);
      assert.equal(await rig.query("account", b, "balance"), 130);
      assert.deepEqual(rig.members[1]!.parts(), ["prepared", "commit"]);
    }));
});

describe("attempts of one transaction", () => {
  test("don't wait for each other: a later one ends what an earlier one has left", () =>
    withBank(async ({ rig, a, b, run, account }) => {
      const other = rig.idAt("account", 0, "other");
      let attempts = 0;
      // Whoever has lost is not told.
      rig.fate = (crossing) => (/outcome|decision/.test(crossing.type) && attempts < 2 ? lost : prompt);
      const deposit = run(a, async (tx) => {
        attempts++;
        await tx(account, b).deposit({ cents: 1 });
        await rig.sleep(20);
      });
      await rig.until(() => !rig.isFree("account", b));
      // What it saw at home is rolled back.
      rig.members[0]!.outcomes.push({ kind: "full" });
      await assert.rejects(rig.command("account", other, "deposit", { cents: 1 }), code("disk-full"));
      await deposit;
      assert.equal(attempts, 2);
      assert.ok(rig.scheduler.nowMs < 500, `it took until ${rig.scheduler.nowMs} ms`);
      assert.equal(await rig.query("account", b, "balance"), 101);
    }));
});

describe("votes", () => {
  test("of another epoch than that which granted the locks are no, so the transaction is tried again", () =>
    withBank(async ({ rig, a, b, run, account, balances }) => {
      let attempts = 0;
      await run(a, async (tx) => {
        await tx(account, a).withdraw({ cents: 5 });
        await tx(account, b).deposit({ cents: 5 });
        // Its owner dies behind the step, and the next one knows nothing of it.
        if (++attempts === 1) await rig.members[1]!.restart();
      });
      assert.equal(attempts, 2);
      assert.deepEqual(await balances(), [95, 105]);
    }));

  test("of those that only read are bound to their epoch as well", () =>
    withBank(async ({ rig, a, b, run, account, balances }) => {
      let attempts = 0;
      await run(a, async (tx) => {
        const cents = await tx(account, b).balance();
        if (++attempts === 1) {
          await rig.members[1]!.restart();
          await rig.command("account", b, "deposit", { cents: 11 });
        }
        await tx(account, a).deposit({ cents });
      });
      assert.equal(attempts, 2);
      assert.deepEqual(await balances(), [211, 111]);
    }));

  test("that are asked for after the abort are no, and hold nothing", () =>
    withBank(async ({ rig, a, b, account, run }) => {
      rig.fate = (crossing) => (crossing.type === "transaction.prepare" ? { asked: [300], answered: 0.5 } : prompt);
      const late = run(
        a,
        async (tx) => {
          await tx(account, b).deposit({ cents: 1 });
        },
        100,
      );
      await assert.rejects(late, code("deadline-passed"));
      await rig.sleep(1000);
      assert.deepEqual(rig.members[1]!.parts(), []);
      assert.ok(rig.isFree("account", b));
    }));
});

describe("the death of an owner", () => {
  test("of the home before the decision aborts: whoever is prepared asks the next owner, and lets go", () =>
    withBank(async ({ rig, a, b, balances }) => {
      const [home, other] = rig.members as [(typeof rig.members)[0], (typeof rig.members)[0]];
      rig.fate = (crossing) => (crossing.type === "transaction.prepare" ? { asked: [0.5], answered: "lost" } : prompt);
      const transfer = rig.transaction("transfer", { from: a, to: b, cents: 30 });
      const rejected = assert.rejects(transfer, code("outcome-unknown"));
      await rig.until(() => other!.parts().includes("prepared"));
      await home!.restart();
      await rejected;
      await rig.until(() => rig.isAtRest);
      assert.deepEqual(other!.parts(), ["prepared", "abort"]);
      assert.deepEqual(await balances(), [100, 100]);
    }));

  test("of the home behind the decision commits: the next owner tells it", () =>
    withBank(async ({ rig, a, b, balances }) => {
      const [home, other] = rig.members;
      rig.fate = losing("transaction.outcome");
      await rig.transaction("transfer", { from: a, to: b, cents: 30 });
      await home!.restart({ loseStore: true });
      rig.fate = () => prompt;
      assert.deepEqual(await balances(), [70, 130]);
      await rig.until(() => rig.isAtRest);
      assert.deepEqual(other!.parts(), ["prepared", "commit"]);
      assert.deepEqual(home!.parts(), ["decision", "forgotten"]);
    }));

  test("of a prepared participant changes nothing: the next one holds its locks, those of reads too", () =>
    withBank(async ({ rig, a, b, run, account, balances }) => {
      const [, other] = rig.members;
      const third = rig.idAt("account", 1, "third");
      rig.fate = losing("transaction.outcome");
      await run(a, async (tx) => {
        await tx(account, a).withdraw({ cents: 30 });
        await tx(account, b).deposit({ cents: 30 });
        await tx(account, third).balance();
      });
      rig.fate = losing("transaction.decision");
      rig.appendMs = 1;
      await other!.restart();
      rig.fate = (crossing) => (crossing.to === 0 || crossing.type === "transaction.outcome" ? lost : prompt);
      assert.equal(rig.isFree("account", b), false);
      assert.equal(rig.isFree("account", third), false, "a read lock outlives its owner");
      const events: string[] = [];
      const write = rig.command("account", third, "deposit", { cents: 1 }).then(() => events.push("write"));
      const read = rig.query("account", b, "balance").then((cents) => events.push(`read ${cents}`));
      await rig.sleep(500);
      assert.equal(events.length, 0);
      rig.fate = () => prompt;
      await Promise.all([write, read]);
      assert.ok(events.includes("read 130"));
      assert.deepEqual(await balances(), [70, 130]);
    }));
});

describe("what comes late", () => {
  test("of an earlier attempt's commit completes no other: its outcome names the attempt", () =>
    withBank(async ({ rig, a, b, balances }) => {
      // Outcomes come twice, the second time in the middle of later transfers.
      rig.fate = (crossing) =>
        crossing.type === "transaction.outcome" ? { asked: [0.5, 3, 7], answered: 0.5 } : prompt;
      for (let i = 0; i < 20; i++) await rig.transaction("transfer", { from: a, to: b, cents: 1 });
      assert.deepEqual(await balances(), [80, 120]);
      await rig.until(() => rig.isAtRest);
      await rig.sleep(50);
      const parts = rig.members[1]!.parts();
      assert.equal(parts.filter((part) => part === "prepared").length, 20);
      assert.equal(parts.filter((part) => part === "commit").length, 20);
    }));

  test("of a question that races with the decision: it is answered 'wait' until that is durable", () =>
    withBank(
      async ({ rig, a, b, balances }) => {
        const answers: unknown[] = [];
        rig.fate = losing("transaction.outcome");
        // The decision takes long to become durable, and is asked for meanwhile.
        const transfer = rig.transaction("transfer", { from: a, to: b, cents: 30 });
        await rig.until(() => rig.members[1]!.parts().includes("prepared"));
        rig.appendMs = 400;
        const { id } = [...rig.members[1]!.core.working.transactions.allPrepared()][0]!.part;
        for (let i = 0; i < 60; i++) {
          const body = { id: new Uint8Array(Buffer.from(id, "latin1")) };
          answers.push(await rig.members[0]!.shard!.answer("transaction.decision", body));
          await rig.sleep(10);
        }
        await transfer;
        assert.equal(answers[0], "wait");
        assert.equal(answers.at(-1), "commit");
        assert.ok(!answers.includes("abort"));
        rig.fate = () => prompt;
        assert.deepEqual(await balances(), [70, 130]);
      },
      { limits: { transactionInquiryMs: 20 } },
    ));

  test("of a home that is silent: what is not prepared lets go", () =>
    withBank(async ({ rig, a, b, run, account }) => {
      const doomed = run(a, async (tx) => {
        await tx(account, b).deposit({ cents: 1 });
        await rig.sleep(60_000);
      });
      const rejected = assert.rejects(doomed, code("outcome-unknown"));
      await rig.until(() => !rig.isFree("account", b));
      rig.members[0]!.crash({ commitUnfinished: false });
      await rejected;
      await rig.until(() => rig.isFree("account", b), 20_000);
      await rig.members[0]!.open();
    }));
});

describe("what a prepared transaction is going to change", () => {
  test("is read once its outcome is known, or not at all: a read gives up at its deadline and is forgotten", () =>
    withBank(async ({ rig, a, b }) => {
      rig.fate = (crossing) => (/outcome|decision/.test(crossing.type) ? lost : prompt);
      await rig.transaction("transfer", { from: a, to: b, cents: 30 });
      const { shard } = rig.members[1]!;
      const principal = { tenant: "default", subject: "tester", scopes: ["*"] };
      const options = { principal, deadlineMs: 300 };
      await assert.rejects(
        shard!.query({ kind: "account", id: b }, "balance", undefined, options),
        code("deadline-passed"),
      );
      const late = rig.query("account", b, "balance");
      rig.fate = () => prompt;
      assert.equal(await late, 130);
    }));

  test("is not reported missing to who deletes it: it may be there already", () =>
    withBank(async ({ rig, a, run, account }) => {
      const born = rig.idAt("account", 1, "born");
      rig.fate = losing("transaction.outcome");
      await run(a, async (tx) => {
        await tx(account, born).deposit({ cents: 1 });
      });
      const principal = { tenant: "default", subject: "tester", scopes: ["*"] };
      const deletion = rig.members[1]!.shard!.delete({ kind: "account", id: born }, { principal });
      await rig.sleep(50);
      rig.fate = () => prompt;
      await deletion;
      assert.equal(await rig.query("account", born, "balance"), 0);
    }));

  test("is held for a new owner's reads though the store was lost", () =>
    withBank(async ({ rig, a, b }) => {
      rig.fate = (crossing) => (/outcome|decision/.test(crossing.type) ? lost : prompt);
      await rig.transaction("transfer", { from: a, to: b, cents: 30 });
      await rig.members[1]!.restart({ loseStore: true });
      const read = rig.query("account", b, "balance");
      await rig.sleep(100);
      assert.equal(rig.isFree("account", b), false);
      rig.fate = () => prompt;
      assert.equal(await read, 130);
    }));
});

describe("bounds", () => {
  test("on what is prepared: a transaction that finds no room is tried again, and says so in the end", () =>
    withBank(
      async ({ rig, a, b, balances }) => {
        rig.fate = (crossing) => (/outcome|decision/.test(crossing.type) ? lost : prompt);
        await rig.transaction("transfer", { from: a, to: b, cents: 1 });
        const third = rig.idAt("account", 1, "third");
        await assert.rejects(rig.transaction("transfer", { from: a, to: third, cents: 1 }), code("conflict"));
        rig.fate = () => prompt;
        await rig.until(() => rig.isAtRest);
        await rig.transaction("transfer", { from: a, to: third, cents: 1 });
        assert.deepEqual(await balances(), [98, 101]);
      },
      { limits: { preparedMax: 1 } },
    ));

  test("on decisions that are not acknowledged: one more is refused before it is decided", () =>
    withBank(
      async ({ rig, a, b, balances }) => {
        rig.fate = losing("transaction.outcome");
        await rig.transaction("transfer", { from: a, to: b, cents: 1 });
        const third = rig.idAt("account", 1, "third");
        await assert.rejects(rig.transaction("transfer", { from: a, to: third, cents: 1 }), code("overloaded"));
        rig.fate = () => prompt;
        assert.deepEqual(await balances(), [99, 101]);
      },
      { limits: { decisionsMax: 1 } },
    ));

  test("on participants: whoever finds no room waits until its deadline", () =>
    withBank(
      async ({ rig, a, b, run, account }) => {
        let open: () => void = () => undefined;
        const first = run(a, async (tx) => {
          await tx(account, b).balance();
          await new Promise<void>((resolve) => {
            open = resolve;
          });
        });
        await rig.sleep(20);
        const third = rig.idAt("account", 1, "third");
        const other = rig.idAt("account", 0, "other");
        const second = run(other, async (tx) => await tx(account, third).deposit({ cents: 1 }), 200);
        await assert.rejects(second, code("deadline-passed"));
        open();
        await first;
        assert.equal(await run(other, async (tx) => await tx(account, third).deposit({ cents: 1 })), 1);
      },
      { limits: { participationsMax: 1 } },
    ));
});

describe("contention over shards", () => {
  test("crossing transfers end, all of them, and the sum stays", () =>
    withBank(async ({ rig, a, b, balances }) => {
      const transfers = Array.from({ length: 60 }, (_, i) =>
        rig.transaction("transfer", i % 2 === 0 ? { from: a, to: b, cents: 1 } : { from: b, to: a, cents: 1 }),
      );
      const outcomes = await Promise.allSettled(transfers);
      const failed = outcomes.filter((o) => o.status === "rejected").map((o) => (o.reason as OnefoldError).code);
      assert.deepEqual(
        failed.filter((c) => c !== "conflict"),
        [],
      );
      assert.deepEqual(
        (await balances()).reduce<number>((sum, cents) => sum + (cents as number), 0),
        200,
      );
      await rig.until(() => rig.isAtRest);
      assert.ok(rig.isFree("account", a) && rig.isFree("account", b));
    }));

  test("an older transaction wounds a younger one at another shard, which lets go at once and tells its home", () =>
    withBank(async ({ rig, a, b, run, account }) => {
      const events: string[] = [];
      let openOlder: () => void = () => undefined;
      const older = run(a, async (tx) => {
        await new Promise<void>((resolve) => {
          openOlder = resolve;
        });
        await tx(account, b).deposit({ cents: 1 });
        events.push("older has b");
      });
      await rig.sleep(5);
      const away = rig.idAt("account", 0, "away");
      let attempts = 0;
      const younger = run(away, async (tx) => {
        attempts++;
        await tx(account, b).deposit({ cents: 10 });
        if (attempts > 1) return;
        events.push("younger has b");
        openOlder();
        await rig.sleep(200);
        events.push("younger runs on in vain");
      });
      await older;
      await younger;
      assert.deepEqual(events.slice(0, 2), ["younger has b", "older has b"]);
      assert.equal(attempts, 2);
      assert.ok(rig.crossings.some(({ type }) => type === "transaction.wounded"));
      assert.equal(await rig.query("account", b, "balance"), 111);
    }));

  test("a prepared transaction is waited for, by older ones too", () =>
    withBank(async ({ rig, a, b, run, account }) => {
      let openOlder: () => void = () => undefined;
      const older = run(a, async (tx) => {
        await new Promise<void>((resolve) => {
          openOlder = resolve;
        });
        return await tx(account, b).deposit({ cents: 1 });
      });
      await rig.sleep(5);
      rig.fate = losing("transaction.outcome");
      const away = rig.idAt("account", 0, "away");
      await run(away, async (tx) => {
        await tx(account, b).deposit({ cents: 10 });
      });
      openOlder();
      await rig.sleep(300);
      rig.fate = () => prompt;
      assert.equal(await older, 111);
      assert.deepEqual(rig.members[1]!.parts().slice(0, 2), ["prepared", "commit"]);
    }));

  test("a repeated request waits for the first one, and its body runs once", () =>
    withBank(async ({ rig, a, b, balances }) => {
      const send = () => rig.transaction("transfer", { from: a, to: b, cents: 30 }, { idempotencyKey: "one" });
      const replies = await Promise.all([send(), send(), send()]);
      assert.deepEqual(replies[1], replies[0]);
      assert.deepEqual(replies[2], replies[0]);
      assert.deepEqual(await balances(), [70, 130]);
      assert.equal(rig.crossings.filter(({ type }) => type === "transaction.prepare").length <= 2, true);
    }));

  test("a reader of both accounts never sees half of a transfer", () =>
    withBank(async ({ rig, a, b, run, account }) => {
      const sums: number[] = [];
      const works: Promise<unknown>[] = [];
      for (let i = 0; i < 30; i++) {
        works.push(rig.transaction("transfer", { from: a, to: b, cents: 1 }));
        works.push(
          run(i % 2 === 0 ? a : b, async (tx) => {
            sums.push((await tx(account, a).balance()) + (await tx(account, b).balance()));
            return sums.at(-1);
          }).then((sum) => assert.equal(sum, 200)),
        );
        await rig.sleep(2);
      }
      const failed = (await Promise.allSettled(works)).filter(({ status }) => status === "rejected");
      assert.deepEqual(failed, []);
    }));
});

describe("a dropped batch", () => {
  test("takes a decision with it, which is an abort then", () =>
    withBank(async ({ rig, a, b, balances }) => {
      const [home, other] = rig.members;
      const transfer = rig.transaction("transfer", { from: a, to: b, cents: 30 });
      const rejected = assert.rejects(transfer, code("disk-full"));
      home!.outcomes.push({ kind: "full" });
      await rejected;
      await rig.until(() => rig.isAtRest);
      assert.deepEqual(other!.parts(), ["prepared", "abort"]);
      assert.deepEqual(await balances(), [100, 100]);
    }));

  test("leaves the locks of what is durably prepared", () =>
    withBank(async ({ rig, a, b }) => {
      const [, other] = rig.members;
      rig.fate = losing("transaction.outcome");
      await rig.transaction("transfer", { from: a, to: b, cents: 30 });
      const third = rig.idAt("account", 1, "third");
      other!.outcomes.push({ kind: "full" });
      await assert.rejects(rig.command("account", third, "deposit", { cents: 1 }), code("disk-full"));
      assert.equal(rig.isFree("account", b), false);
      rig.fate = () => prompt;
      await rig.until(() => rig.isAtRest);
      assert.equal(await rig.query("account", b, "balance"), 130);
    }));
});
