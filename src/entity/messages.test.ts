import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { SeededRandom } from "../base/random.ts";
import { entity } from "./define.ts";
import { system } from "./define-system.ts";
import { withNotebook } from "./notebook.fixture.ts";
import { outcomesOf, ShardRig, tester } from "./shard.fixture.ts";

function deliveries(rig: { entries(): ReturnType<ShardRig<never>["entries"]> }): number {
  return rig.entries().filter(({ entry }) => entry.consumed !== null).length;
}

describe("a message", () => {
  test("arrives once, after its sender's batch is durable", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("b").write({ line: "before" });
      rig.closeGate();
      const sent = client.note("a").mail({ to: "b", lines: ["hello"] });
      await rig.sleep(1000);
      assert.equal(deliveries(rig), 0);
      rig.openGate();
      await sent;
      await rig.until(() => deliveries(rig) === 1);
      assert.deepEqual(await client.note("b").lines(), ["before", "hello"]);
    }));

  test("arrives after those that were sent before it from the same slot to the same slot", () =>
    withNotebook(async ({ rig, client }) => {
      const random = new SeededRandom("order");
      const sent: Promise<unknown>[] = [];
      for (let i = 0; i < 100; i++) {
        sent.push(client.note("a").mail({ to: "b", lines: [`${2 * i}`, `${2 * i + 1}`] }));
        if (random.chance(0.2)) await rig.sleep(random.next() * 4);
      }
      await Promise.all(sent);
      await rig.until(() => deliveries(rig) === 200);
      assert.deepEqual(
        await client.note("b").lines(),
        Array.from({ length: 200 }, (_, i) => `${i}`),
      );
    }));

  test("that is not delivered when the node crashes is delivered by the next one, and none twice", () =>
    withNotebook(async ({ rig }) => {
      const random = new SeededRandom("crashes");
      let sent = 0;
      for (let life = 0; life < 20; life++) {
        const lines = Array.from({ length: 5 }, () => `${sent++}`);
        const [outcome] = await outcomesOf([rig.client().note("a").mail({ to: "b", lines })]);
        assert.equal(outcome, undefined);
        await rig.sleep(random.next() * 8);
        await rig.restart({ loseStore: random.chance(0.3), commitUnfinished: random.chance(0.5) });
      }
      await rig.until(() => deliveries(rig) === sent);
      assert.deepEqual(
        await rig.client().note("b").lines(),
        Array.from({ length: sent }, (_, i) => `${i}`),
      );
    }));

  test("to its own sender arrives too", () =>
    withNotebook(async ({ rig, client }) => {
      await client.note("a").mail({ to: "a", lines: ["one", "two"] });
      await rig.until(() => deliveries(rig) === 2);
      assert.deepEqual(await client.note("a").lines(), ["mail to a", "one", "two"]);
    }));

  test("that runs in circles, over itself or others, ends when its senders end it, without a deadlock", () =>
    withNotebook(async ({ rig, client }) => {
      await Promise.all([
        client.note("a").chain({ to: ["a"], hops: 50 }),
        client.note("b").chain({ to: ["b", "c"], hops: 50 }),
        client.note("d").chain({ to: ["e", "f", "d"], hops: 50 }),
        client.note("f").chain({ to: ["d", "e"], hops: 50 }),
      ]);
      await rig.until(() => deliveries(rig) === 200);
      assert.equal((await client.note("a").lines()).length, 51);
    }));

  test("whose command is refused, fails or is gone becomes a dead letter, and the next one is delivered", () =>
    withNotebook(async ({ rig, client, made }) => {
      made.hooks.inCommand = (_state, context) => {
        const { send } = context as { send: (...message: unknown[]) => void };
        send.call(context, made.note, "b", "spoil");
        send.call(context, made.note, "b", "refuse", { line: "x" });
        send.call(context, made.note, "b", "write", { line: "still" });
      };
      await client.note("a").hook();
      await rig.until(() => deliveries(rig) === 3);
      assert.deepEqual(await client.note("b").lines(), ["still"]);
      const letters = rig.entries().flatMap(({ entry }) => (entry.deadLetter === null ? [] : [entry.deadLetter.code]));
      assert.deepEqual(letters, ["invalid-state", "not-now"]);
    }));

  test("to a kind or command that the system no longer has becomes a dead letter", async () => {
    const make = (isNew: boolean) => {
      const target = entity("target").state(z.object({}), () => ({}));
      const old = target.command("gone", () => undefined);
      const kept = isNew ? target.command("other", () => undefined) : old;
      const sender = entity("sender")
        .state(z.object({ count: z.number() }), () => ({ count: 0 }))
        .command("send", (state, _input, context) => {
          state.count++;
          if (!isNew) context.send(old, "t", "gone");
        });
      return system("mail", { sender, target: kept as typeof old });
    };
    const rig = new ShardRig(make(false));
    await rig.run(async () => {
      await rig.open();
      await rig.client().sender("s").send();
      // The node dies before the delivery.
      await rig.restart({ system: make(true), commitUnfinished: false });
      await rig.until(() => deliveries(rig) === 1);
      const letters = rig.entries().flatMap(({ entry }) => (entry.deadLetter === null ? [] : [entry.deadLetter.code]));
      assert.deepEqual(letters, ["unknown-command"]);
      await rig.restart({ system: make(true) });
      await rig.sleep(1000);
      assert.equal(deliveries(rig), 1);
    });
  });

  test("waits for a transaction that has locked its receiver", () =>
    withNotebook(async ({ rig, client, made }) => {
      let opened: () => void = () => undefined;
      const gate = new Promise<void>((resolve) => {
        opened = resolve;
      });
      made.hooks.body = async (tx) => {
        await tx(made.note, "b").write({ line: "tx" });
        await gate;
      };
      const open = client.script();
      await rig.sleep(5);
      await client.note("a").mail({ to: "b", lines: ["after"] });
      await rig.sleep(60_000 / 3);
      assert.equal(deliveries(rig), 0);
      opened();
      await open;
      await rig.until(() => deliveries(rig) === 1);
      assert.deepEqual(await client.note("b").lines(), ["tx", "after"]);
    }));
});

describe("undelivered messages", () => {
  test("above the soft limit, calls that send are refused; what is delivered may still send", () =>
    withNotebook(
      async ({ rig, client, made }) => {
        let opened: () => void = () => undefined;
        const gate = new Promise<void>((resolve) => {
          opened = resolve;
        });
        made.hooks.body = async (tx) => {
          await tx(made.note, "b").write({ line: "tx" });
          await gate;
        };
        const open = client.script();
        await rig.sleep(5);
        const lines = Array.from({ length: 6 }, (_, i) => `${i}`);
        await client.note("a").mail({ to: "b", lines });
        await assert.rejects(client.note("a").mail({ to: "b", lines }), { code: "overloaded", retry: "safe" });
        // Commands that send nothing are served.
        await client.note("c").write({ line: "x" });
        opened();
        await open;
        await rig.until(() => deliveries(rig) === 6);
        await client.note("a").mail({ to: "b", lines });
        await rig.until(() => deliveries(rig) === 12);
      },
      { limits: { outboxSoftMax: 10, outboxHardMax: 20 } },
    ));

  test("above the hard limit, a delivery that sends becomes a dead letter, so that loops end", () =>
    withNotebook(
      async ({ rig, client, made }) => {
        // Every delivery sends two more.
        made.hooks.inCommand = (state, context) => {
          const { send } = context as { send: (...message: unknown[]) => void };
          (state as { lines: string[] }).lines.length = 0;
          for (const id of ["a", "b"]) send.call(context, made.note, id, "hook");
        };
        await client.note("a").hook();
        const dead = () => rig.entries().filter(({ entry }) => entry.deadLetter !== null).length;
        await rig.until(() => rig.appendCount > 60);
        made.hooks.inCommand = () => undefined;
        await rig.sleep(2000);
        const letters = rig
          .entries()
          .flatMap(({ entry }) => (entry.deadLetter === null ? [] : [entry.deadLetter.code]));
        assert.ok(dead() > 0);
        assert.deepEqual(new Set(letters), new Set(["overloaded"]));
        const sent = rig.entries().reduce((sum, { entry }) => sum + entry.messages.length, 0);
        assert.equal(deliveries(rig), sent);
        assert.equal(await client.note("z").write({ line: "x" }), 1);
      },
      { limits: { outboxSoftMax: 10, outboxHardMax: 20 } },
    ));

  test("of one command are bounded, and their input is checked where they are sent", () =>
    withNotebook(
      async ({ client }) => {
        const lines = ["1", "2", "3", "4", "5"];
        await assert.rejects(client.note("a").mail({ to: "b", lines }), { code: "too-large" });
        await client.note("a").mail({ to: "b", lines: lines.slice(1) });
        await assert.rejects(client.note("a").mail({ to: "..", lines: ["1"] }), { code: "invalid-id" });
        await assert.rejects(client.note("a").mail({ to: "b", lines: ["1"], command: "nothing" }), {
          code: "unknown-command",
        });
        await assert.rejects(client.note("a").mail({ to: "b", lines: ["1"], command: "mail" }), {
          code: "invalid-input",
        });
        assert.equal((await client.note("a").lines()).length, 1);
      },
      { limits: { messagesPerCommandMax: 4 } },
    ));

  test("carry the tenant and the subject of whoever caused them", () =>
    withNotebook(async ({ rig }) => {
      const other = { tenant: "acme", subject: "carol", scopes: ["*"] };
      await rig
        .client(other)
        .note("a")
        .mail({ to: "b", lines: ["x"] });
      await rig.until(() => deliveries(rig) === 1);
      assert.deepEqual(await rig.client(other).note("b").lines(), ["x"]);
      assert.deepEqual(await rig.client().note("b").lines(), []);
      const history = await rig.shard.history({ kind: "note", id: "b" }, { principal: other });
      assert.deepEqual(
        history.items.map(({ by, subject }) => [by, subject]),
        [["message", "carol"]],
      );
      assert.deepEqual((await rig.shard.list("note", { principal: tester })).ids, []);
    }));
});
