import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError, Refused } from "../base/errors.ts";
import { entriesWithPrefix } from "./fold.ts";
import { keys, type TableName, tables } from "./keys.ts";
import { type Notebook, withNotebook } from "./notebook.fixture.ts";
import { outcomesOf, type ShardRig, tester } from "./shard.fixture.ts";

type Rig = ShardRig<Notebook["notebook"]>;

const lifeMs = 120_000;

/** A session's requests, as a well-behaved client numbers them. */
function sessionOf(rig: Rig, token = rig.shard.mintSession(tester)) {
  return {
    token,
    write: (number: number, line: string, options: { readonly lowest?: number; readonly id?: string } = {}) =>
      rig.command("note", options.id ?? "a", "write", { line }, { session: request(token, number, options.lowest) }),
    call: (number: number, name: string, input?: unknown) =>
      rig.command("note", "a", name, input, { session: request(token, number) }),
  };
}

function request(token: string, number: number, lowest = 1) {
  return { token, number, lowest };
}

function keyed(rig: Rig, idempotencyKey: string, line = "x", id = "a") {
  return rig.command("note", id, "write", { line }, { idempotencyKey });
}

/** How many records the store holds in a table, or in the part of the expiry index that speaks of it. */
function countOf(rig: Rig, table: TableName): number {
  return [...entriesWithPrefix(rig.store, String.fromCharCode(tables[table]))].length;
}

function expiryCount(rig: Rig): number {
  return [...entriesWithPrefix(rig.store, keys.table("expiry"))].length;
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => assert.fail("it should have failed"),
    (error: unknown) => {
      if (error instanceof Refused) return { refused: error.code, details: error.details };
      assert.ok(error instanceof OnefoldError);
      return { code: error.code, message: error.message, retry: error.retry };
    },
  );
}

describe("a numbered request that is repeated", () => {
  test("gets the answer of the first one, sequence included, though the state has changed since", () =>
    withNotebook(async ({ rig }) => {
      const session = sessionOf(rig);
      const first = await session.write(1, "one");
      await session.write(2, "two");
      assert.deepEqual(await session.write(1, "one"), first);
      await rig.applied();
      assert.deepEqual(await session.write(1, "one"), first);
      for (const loseStore of [false, true]) {
        await rig.restart({ loseStore });
        assert.deepEqual(await sessionOf(rig, session.token).write(1, "one"), first);
      }
      assert.deepEqual(await rig.client().note("a").lines(), ["one", "two"]);
    }));

  test("while the first one is on its way to the disk waits for it, and runs once", () =>
    withNotebook(async ({ rig, client }) => {
      const session = sessionOf(rig);
      rig.closeGate();
      const answers: unknown[] = [];
      const calls = [1, 1, 1].map((number) => session.write(number, "x").then((answer) => answers.push(answer)));
      await rig.sleep(1000);
      assert.deepEqual(answers, []);
      rig.openGate();
      await Promise.all(calls);
      assert.deepEqual(answers[1], answers[0]);
      assert.deepEqual(answers[2], answers[0]);
      assert.deepEqual(await client.note("a").lines(), ["x"]);
    }));

  test("gets the same refusal or failure, and what failed is not run again", () =>
    withNotebook(async ({ rig, made }) => {
      const session = sessionOf(rig);
      let runs = 0;
      made.hooks.inCommand = () => {
        runs++;
        throw new Error("no");
      };
      const outcomes = async () => [
        await failureOf(session.call(1, "refuse", { line: "x" })),
        await failureOf(session.call(2, "hook")),
        await failureOf(session.call(3, "spoil")),
      ];
      const first = await outcomes();
      assert.deepEqual(first[0], { refused: "not-now", details: { line: "x" } });
      assert.deepEqual(await outcomes(), first);
      await rig.restart({ loseStore: true });
      assert.deepEqual(await failureOf(sessionOf(rig, session.token).call(2, "hook")), first[1]);
      assert.equal(runs, 1);
    }));

  test("was never run where its input was refused, so that it may be sent again", () =>
    withNotebook(async ({ rig }) => {
      const session = sessionOf(rig);
      await assert.rejects(session.call(1, "write", { line: 7 }), { code: "invalid-input" });
      assert.equal((await session.write(1, "x")).output, 1);
    }));

  test("keeps its answer apart from those of other entities and sessions", () =>
    withNotebook(async ({ rig }) => {
      const [one, two] = [sessionOf(rig), sessionOf(rig)];
      assert.equal((await one.write(1, "x")).output, 1);
      assert.equal((await two.write(1, "y")).output, 2);
      assert.equal((await one.write(2, "z", { id: "b" })).output, 1);
      assert.equal((await one.write(1, "x")).output, 1);
    }));

  test("of a deletion gets its answer again instead of ending the next life", () =>
    withNotebook(async ({ rig, client }) => {
      const session = sessionOf(rig);
      await client.note("a").write({ line: "first life" });
      const end = () =>
        rig.shard.delete({ kind: "note", id: "a" }, { principal: tester, session: request(session.token, 1) });
      const first = await end();
      await client.note("a").write({ line: "second life" });
      assert.deepEqual(await end(), first);
      assert.deepEqual(await client.note("a").lines(), ["second life"]);
    }));
});

describe("the lowest unanswered number", () => {
  test("lets go of the answers below it, and what is asked below it is refused, never run", () =>
    withNotebook(async ({ rig }) => {
      const session = sessionOf(rig);
      for (let number = 1; number <= 5; number++) await session.write(number, `${number}`);
      // Each new outcome takes the place of one that nobody may ask for any more.
      for (const number of [6, 7, 8]) await session.write(number, `${number}`, { lowest: 5 });
      await rig.applied();
      assert.equal(countOf(rig, "sessionResult"), 5);
      for (const number of [1, 4]) {
        await assert.rejects(session.write(number, "again"), { code: "request-forgotten", retry: "never" });
      }
      assert.equal((await session.write(5, "again", { lowest: 5 })).output, 5);
      await rig.restart({ loseStore: true });
      const later = sessionOf(rig, session.token);
      await assert.rejects(later.write(4, "again"), { code: "request-forgotten" });
      assert.deepEqual(await rig.client().note("a").lines(), ["1", "2", "3", "4", "5", "6", "7", "8"]);
    }));

  test("never goes back, when a request that was sent earlier arrives later", () =>
    withNotebook(async ({ rig }) => {
      const session = sessionOf(rig);
      await session.write(1, "1");
      await session.write(3, "3", { lowest: 3 });
      await session.write(4, "4", { lowest: 1 });
      await assert.rejects(session.write(1, "again"), { code: "request-forgotten" });
      await rig.restart();
      await assert.rejects(sessionOf(rig, session.token).write(1, "again"), { code: "request-forgotten" });
      await rig.applied();
      assert.equal(countOf(rig, "sessionResult"), 2);
    }));

  test("bounds how many answers are open, and must make sense", () =>
    withNotebook(
      async ({ rig }) => {
        const session = sessionOf(rig);
        await assert.rejects(session.write(9, "x"), { code: "overloaded", retry: "safe" });
        await session.write(8, "x");
        await session.write(9, "x", { lowest: 2 });
        for (const [number, lowest] of [
          [1, 2],
          [0, 0],
          [1, 0],
          [1.5, 1],
          [Number.NaN, 1],
          [2 ** 53, 2 ** 53],
          [5, -3],
        ] as const) {
          await assert.rejects(session.write(number, "x", { lowest }), { code: "malformed" }, `${number}, ${lowest}`);
        }
      },
      { limits: { sessionRequestsOpenMax: 8 } },
    ));
});

describe("a session", () => {
  test("ends by log time; its requests are refused then, those with a kept answer too", () =>
    withNotebook(
      async ({ rig, client }) => {
        const session = sessionOf(rig);
        await session.write(1, "x");
        await rig.sleep(lifeMs - 2000);
        assert.equal((await session.write(1, "x")).output, 1);
        await rig.sleep(3000);
        for (const number of [1, 2]) {
          await assert.rejects(session.write(number, "x"), { code: "session-expired", retry: "never" });
        }
        const read = { principal: tester, read: "session", sessionToken: session.token } as const;
        await assert.rejects(rig.shard.query({ kind: "note", id: "a" }, "lines", undefined, read), {
          code: "session-expired",
        });
        // The clock's way back is not the session's.
        await client.note("b").write({ line: "so that the log knows the time" });
        rig.node.jumpWall(-2 * lifeMs);
        await assert.rejects(session.write(2, "x"), { code: "session-expired" });
        await rig.restart();
        await assert.rejects(sessionOf(rig, session.token).write(2, "x"), { code: "session-expired" });
        assert.deepEqual(await rig.client().note("a").lines(), ["x"]);
      },
      { limits: { sessionMsDefault: lifeMs } },
    ));

  test("belongs to the principal to whom it was given", () =>
    withNotebook(async ({ rig }) => {
      const token = rig.shard.mintSession(tester);
      for (const other of [
        { ...tester, subject: "mallory" },
        { ...tester, tenant: "other" },
      ]) {
        const options = { principal: other, session: request(token, 1) };
        await assert.rejects(rig.command("note", "a", "write", { line: "x" }, options), { code: "forbidden" });
        await assert.rejects(
          rig.shard.query({ kind: "note", id: "a" }, "lines", undefined, { principal: other, sessionToken: token }),
          { code: "forbidden" },
        );
      }
    }));

  test("can't be made up, nor one be changed", () =>
    withNotebook(async ({ rig }) => {
      const bytes = Buffer.from(rig.shard.mintSession(tester), "base64url");
      const tokens = ["", "x", "not a token", "AAAA", Buffer.alloc(32).toString("base64url"), "a".repeat(100_000)];
      for (let at = 0; at < bytes.length; at += 7) {
        const changed = Buffer.from(bytes);
        changed[at]! ^= 1;
        tokens.push(changed.toString("base64url"));
      }
      tokens.push(bytes.subarray(0, -1).toString("base64url"));
      tokens.push(Buffer.concat([bytes, Buffer.of(0)]).toString("base64url"));
      for (const token of tokens) {
        const [outcome] = await outcomesOf([sessionOf(rig, token).write(1, "x")]);
        assert.equal(outcome, "malformed", token.slice(0, 80));
      }
    }));

  test("of another life of the log is none of this one's", async () => {
    let foreign = "";
    await withNotebook(async ({ rig }) => {
      foreign = rig.shard.mintSession(tester);
    });
    await withNotebook(
      async ({ rig }) => {
        await assert.rejects(sessionOf(rig, foreign).write(1, "x"), { code: "malformed" });
      },
      { seed: "another" },
    );
  });

  test("and an idempotency key can't be had at once", () =>
    withNotebook(async ({ rig }) => {
      const options = { session: request(rig.shard.mintSession(tester), 1), idempotencyKey: "k" };
      await assert.rejects(rig.command("note", "a", "write", { line: "x" }, options), { code: "malformed" });
    }));

  test("that has ended leaves nothing in the store, however many answers it kept", () =>
    withNotebook(
      async ({ rig }) => {
        const session = sessionOf(rig);
        await Promise.all(
          Array.from({ length: 300 }, (_, i) => session.write(i + 1, "x", { id: `n${i % 3}`, lowest: 1 })),
        );
        await rig.applied();
        assert.equal(countOf(rig, "sessionResult"), 300);
        assert.equal(expiryCount(rig), 3);
        await rig.sleep(lifeMs + 10_000);
        assert.deepEqual([countOf(rig, "sessionResult"), expiryCount(rig)], [0, 0]);
      },
      { limits: { sessionMsDefault: lifeMs } },
    ));

  test("that writes until its very end leaves nothing in the store either", () =>
    withNotebook(
      async ({ rig, client }) => {
        // The store is kept behind while the session ends, so the sweep doesn't find the last answers there.
        const session = sessionOf(rig);
        await session.write(1, "x");
        await rig.applied();
        await rig.sleep(lifeMs - 400);
        for (let number = 2; rig.scheduler.nowMs < lifeMs + 3000; number++) {
          rig.engine.failNextApply("full");
          await outcomesOf([session.write(number, "x")]);
          await client.note("b").write({ line: "x" });
          await rig.sleep(20);
        }
        await rig.sleep(20_000);
        assert.deepEqual([countOf(rig, "sessionResult"), expiryCount(rig)], [0, 0]);
      },
      { limits: { sessionMsDefault: lifeMs } },
    ));
});

describe("an idempotency key", () => {
  test("gives the first answer again, over restarts too, while its first request is under way too", () =>
    withNotebook(async ({ rig }) => {
      rig.closeGate();
      const both = [keyed(rig, "k"), keyed(rig, "k")];
      await rig.sleep(100);
      rig.openGate();
      const [first, second] = await Promise.all(both);
      assert.deepEqual(second, first);
      for (const loseStore of [false, true]) {
        await rig.restart({ loseStore });
        assert.deepEqual(await keyed(rig, "k"), first);
      }
      assert.deepEqual(await rig.client().note("a").lines(), ["x"]);
    }));

  test("that was used for another request is refused, but each entity, command and principal has its own", () =>
    withNotebook(async ({ rig }) => {
      await keyed(rig, "k", "x");
      await assert.rejects(keyed(rig, "k", "y"), { code: "idempotency-mismatch", retry: "never" });
      assert.equal((await keyed(rig, "k", "y", "b")).output, 1);
      const other = { principal: { ...tester, subject: "other" }, idempotencyKey: "k" };
      assert.equal((await rig.command("note", "a", "write", { line: "y" }, other)).output, 2);
      const transaction = await rig.transaction("atHome", { id: "a", line: "z" }, { idempotencyKey: "k" });
      assert.equal(transaction.output, 3);
      assert.equal((await keyed(rig, "k", "x")).output, 1);
    }));

  test("is 1 to 255 bytes long", () =>
    withNotebook(async ({ rig }) => {
      for (const key of ["", "x".repeat(256), "é".repeat(128)]) {
        await assert.rejects(keyed(rig, key), { code: "malformed" });
      }
      await keyed(rig, "é".repeat(127));
    }));

  test("may be used anew after its time, and the request runs anew", () =>
    withNotebook(
      async ({ rig, client }) => {
        await keyed(rig, "k", "first");
        await rig.sleep(lifeMs - 2000);
        assert.equal((await keyed(rig, "k", "first")).output, 1);
        await rig.sleep(2001);
        // Before the housekeeping has come by, and at the same time as it.
        assert.equal((await keyed(rig, "k", "second")).output, 2);
        await rig.sleep(10_000);
        await assert.rejects(keyed(rig, "k", "first"), { code: "idempotency-mismatch" });
        assert.equal((await keyed(rig, "k", "second")).output, 2);
        assert.deepEqual(await client.note("a").lines(), ["first", "second"]);
        assert.equal(countOf(rig, "idempotency"), 1);
        await rig.sleep(lifeMs);
        assert.deepEqual([countOf(rig, "idempotency"), expiryCount(rig)], [0, 0]);
      },
      { limits: { idempotencyMsDefault: lifeMs } },
    ));

  for (const wait of ["unapplied", "applied", "restarted"] as const) {
    test(`is refused where too many are remembered (${wait}), until their time is over`, () =>
      withNotebook(
        async ({ rig, client }) => {
          for (let i = 0; i < 10; i++) await keyed(rig, `k${i}`);
          if (wait === "applied") await rig.applied();
          if (wait === "restarted") await rig.restart({ loseStore: true });
          await assert.rejects(keyed(rig, "one more"), { code: "over-quota", retry: "safe" });
          // What is remembered is still answered, and what needs no memory served.
          assert.equal((await keyed(rig, "k3")).output, 4);
          assert.equal(await (wait === "restarted" ? rig.client() : client).note("a").write({ line: "x" }), 11);
          await rig.sleep(lifeMs + 5000);
          for (let i = 0; i < 10; i++) await keyed(rig, `later${i}`);
          await rig.applied();
          assert.equal(countOf(rig, "idempotency"), 10);
          await assert.rejects(keyed(rig, "one more"), { code: "over-quota" });
        },
        { limits: { idempotencyKeysMax: 10, idempotencyMsDefault: lifeMs } },
      ));
  }

  test("leaves nothing in the store after its time, though thousands end at once", () =>
    withNotebook(
      async ({ rig }) => {
        await Promise.all(Array.from({ length: 2000 }, (_, i) => keyed(rig, `k${i}`, "x", `n${i % 50}`)));
        await rig.applied();
        assert.equal(countOf(rig, "idempotency"), 2000);
        await rig.sleep(lifeMs + 60_000);
        assert.deepEqual([countOf(rig, "idempotency"), expiryCount(rig)], [0, 0]);
      },
      { limits: { idempotencyMsDefault: lifeMs } },
    ));
});
