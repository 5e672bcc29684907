/** What `testSystem` promises to those who test their own systems with it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { entity } from "../../entity/define.ts";
import { system, transaction } from "../../entity/define-system.ts";
import { testSystem } from "./test-system.ts";

const hourMs = 3_600_000;

const reminder = entity("reminder")
  .state(z.object({ sent: z.array(z.string()), at: z.array(z.number()) }), () => ({
    sent: [] as string[],
    at: [] as number[],
  }))
  .command("plan", z.object({ text: z.string(), inMs: z.number() }), (_state, { text, inMs }, { after }) => {
    after(inMs, "fire", { text });
  })
  .command("fire", z.object({ text: z.string() }), (state, { text }, { now }) => {
    state.sent.push(text);
    state.at.push(now);
  })
  .command("token", (_state, _input, { random }) => random())
  .command("caller", (_state, _input, { caller }) => caller.subject)
  .command("every", z.object({ everyMs: z.number() }), (state, { everyMs }, { after, now }) => {
    state.at.push(now);
    after(everyMs, "every", { everyMs });
  })
  .command("loop", (state) => {
    state.sent.push("never");
    for (;;);
  })
  .query("sent", (state) => state.sent)
  .query("at", (state) => state.at);

const both = transaction("both", z.object({ text: z.string() })).run(async (tx, { text }) => {
  await tx(reminder, "a").fire({ text });
  await new Promise((resolve) => setTimeout(resolve, 5));
  await tx(reminder, "b").fire({ text });
});

const reminders = system("reminders", { reminder, both });

describe("a test system", () => {
  test("keeps its timers until the test lets time pass, across a crash too (T1, T2)", async () => {
    await using reminders_ = await testSystem(reminders, { startAt: new Date("2030-05-01T12:00:00Z") });
    const { client } = reminders_;
    assert.equal(reminders_.now.toISOString().slice(0, 16), "2030-05-01T12:00");
    await client.reminder("a").plan({ text: "later", inMs: hourMs });
    assert.deepEqual(await client.reminder("a").sent(), []);
    await reminders_.advance(hourMs / 2);
    await reminders_.crash();
    assert.deepEqual(await client.reminder("a").sent(), []);
    await reminders_.advance(hourMs / 2 + 1000);
    assert.deepEqual(await client.reminder("a").sent(), ["later"]);
    const [at] = await client.reminder("a").at();
    assert.equal(new Date(at!).toISOString().slice(0, 16), "2030-05-01T13:00");
    await reminders_.restart();
    assert.deepEqual(await client.reminder("a").sent(), ["later"]);
  });

  test("runs many calls at once, and transactions whose bodies wait for the test's own world", async () => {
    await using sut = await testSystem(reminders);
    const { client } = sut;
    await Promise.all(Array.from({ length: 50 }, (_, i) => client.reminder(`r${i % 5}`).fire({ text: `${i}` })));
    assert.equal((await client.reminder("r0").sent()).length, 10);
    await client.both({ text: "both" });
    assert.deepEqual(await client.reminder("b").sent(), ["both"]);
    assert.deepEqual(
      (await sut.service.list("reminder", { principal: { tenant: "default", subject: "t", scopes: ["*"] } })).ids,
      ["a", "b", "r0", "r1", "r2", "r3", "r4"],
    );
  });

  test("answers the same to the same seed, and other random numbers to another (T3)", async () => {
    const tokens = async (seed: string): Promise<readonly number[]> => {
      await using sut = await testSystem(reminders, { seed });
      return [await sut.client.reminder("a").token(), await sut.client.reminder("b").token()];
    };
    const [first, again, other] = [await tokens("x"), await tokens("x"), await tokens("y")];
    assert.deepEqual(again, first);
    assert.notDeepEqual(other, first);
  });

  test("lets a year pass in no time, with every timer at its own moment (T1)", async () => {
    await using sut = await testSystem(reminders);
    const { client } = sut;
    const everyMs = 7 * 24 * hourMs;
    await client.reminder("a").every({ everyMs });
    await sut.advance(53 * everyMs);
    const at = await client.reminder("a").at();
    assert.equal(at.length, 53);
    for (const [index, moment] of at.slice(1).entries()) {
      const lateMs = moment - at[index]! - everyMs;
      assert(lateMs >= 0 && lateMs < 1000, `${lateMs} ms late`);
    }
  });

  test("stops a command that never ends, which changes nothing", async () => {
    await using sut = await testSystem(reminders);
    await assert.rejects(sut.client.reminder("a").loop(), { code: "command-too-slow" });
    assert.deepEqual(await sut.client.reminder("a").sent(), []);
  });

  test("refuses times that are none", async () => {
    await assert.rejects(testSystem(reminders, { startAt: new Date("never") }), { code: "invalid-value" });
    await using sut = await testSystem(reminders);
    for (const durationMs of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      await assert.rejects(sut.advance(durationMs), { code: "invalid-value" });
    }
  });

  test("calls as whom the test says", async () => {
    await using sut = await testSystem(reminders);
    const carol = sut.clientAs({ tenant: "default", subject: "carol", scopes: [] });
    assert.equal(await carol.reminder("a").caller(), "carol");
    assert.equal(await sut.client.reminder("a").caller(), "test");
  });

  test("says of a call that a crash cut off that its outcome is unknown, and refuses calls after its end", async () => {
    const sut = await testSystem(reminders);
    const cut = sut.client.reminder("a").fire({ text: "cut" });
    const [outcome] = await Promise.allSettled([cut, sut.crash()]);
    if (outcome.status === "rejected") assert.equal(outcome.reason.code, "outcome-unknown");
    await sut.client.reminder("a").fire({ text: "next" });
    await sut.close();
    await sut.close();
    await assert.rejects(sut.client.reminder("a").sent(), { code: "stopped" });
    await assert.rejects(sut.crash(), { code: "stopped" });
    await assert.rejects(sut.restart(), { code: "stopped" });
    await assert.rejects(sut.advance(1), { code: "stopped" });
  });
});
