/** What the mailroom keeps straight while much goes on at once. The single rules are in `messages.test.ts`. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { SeededRandom } from "../base/random.ts";
import { entity } from "./define.ts";
import { system } from "./define-system.ts";
import { entriesWithPrefix } from "./fold.ts";
import { tables } from "./keys.ts";
import { type Notebook, withNotebook } from "./notebook.fixture.ts";
import { outcomesOf, ShardRig } from "./shard.fixture.ts";

type Rig = Pick<ShardRig<Notebook["notebook"]>, "entries" | "store">;

const consumedCount = (rig: Rig) => rig.entries().filter(({ entry }) => entry.consumed !== null).length;
const letters = (rig: Rig) =>
  rig.entries().flatMap(({ entry }) => (entry.deadLetter === null ? [] : [entry.deadLetter]));
const outboxCount = (rig: Rig) => [...entriesWithPrefix(rig.store, String.fromCharCode(tables.outbox))].length;

describe("messages between slots", () => {
  test("arrive once and in order for every pair, thousands of them, over crashes and refused appends", () =>
    withNotebook(async ({ rig }) => {
      const random = new SeededRandom("pairs");
      const senders = ["s0", "s1", "s2", "s3"];
      const receivers = ["r0", "r1", "r2"];
      const acknowledged = new Map<string, string[]>();
      let round = 0;
      for (let life = 0; life < 6; life++) {
        const client = rig.client();
        for (let turn = 0; turn < 8; turn++) {
          for (let i = 0; i < 6; i++) rig.outcomes.push(random.chance(0.1) ? { kind: "full" } : undefined);
          const sending = senders.map(async (from) => {
            const to = random.pick(receivers);
            const lines = Array.from({ length: 12 }, () => `${from} ${round++}`);
            const [outcome] = await outcomesOf([client.note(from).mail({ to, lines })]);
            if (outcome === "disk-full") return;
            assert.equal(outcome, undefined);
            const key = `${from}>${to}`;
            acknowledged.set(key, [...(acknowledged.get(key) ?? []), ...lines]);
          });
          await Promise.all(sending);
        }
        await rig.sleep(random.next() * 6);
        await rig.restart({ loseStore: random.chance(0.3), commitUnfinished: random.chance(0.5) });
      }
      await rig.sleep(10_000);
      await rig.applied();
      for (const to of receivers) {
        const found = await rig.client().note(to).lines();
        for (const from of senders) {
          const fromThere = found.filter((line) => line.startsWith(`${from} `));
          assert.deepEqual(fromThere, acknowledged.get(`${from}>${to}`) ?? [], `${from}>${to}`);
        }
      }
      assert.ok([...acknowledged.values()].flat().length > 1500);
      assert.equal(outboxCount(rig), 0);
      assert.deepEqual(letters(rig), []);
    }));

  test("go on after a refused append dropped the batches that deliveries had entered", () =>
    withNotebook(async ({ rig, client }) => {
      const lines = Array.from({ length: 10 }, (_, i) => `${i}`);
      await client.note("a").mail({ to: "b", lines });
      // Another sender's deliveries enter the batch that waits for the one before the disk.
      rig.closeGate();
      rig.outcomes.push({ kind: "full" });
      const beside = client.note("c").mail({ to: "b", lines: ["lost"] });
      await rig.sleep(20);
      rig.openGate();
      assert.deepEqual(await outcomesOf([beside]), ["disk-full"]);
      await rig.until(() => consumedCount(rig) === 10);
      await client.note("a").mail({ to: "b", lines: ["later", "and later"] });
      await rig.until(() => consumedCount(rig) === 12);
      assert.deepEqual(await client.note("b").lines(), [...lines, "later", "and later"]);
      assert.deepEqual(rig.stops, []);
    }));

  test("to an entity that a transaction holds wait in order, while others are delivered", () =>
    withNotebook(async ({ rig, client, made }) => {
      let opened: () => void = () => undefined;
      const gate = new Promise<void>((resolve) => {
        opened = resolve;
      });
      made.hooks.body = async (tx) => {
        await tx(made.note, "held").write({ line: "tx" });
        await gate;
      };
      const open = client.script();
      await rig.sleep(5);
      for (let i = 0; i < 20; i++) {
        await client.note("a").mail({ to: "held", lines: [`${i}`] });
        await client.note("a").mail({ to: "free", lines: [`${i}`] });
      }
      await rig.until(() => consumedCount(rig) === 20);
      const expected = Array.from({ length: 20 }, (_, i) => `${i}`);
      assert.deepEqual(await client.note("free").lines(), expected);
      assert.deepEqual(await client.note("held").lines(), []);
      opened();
      await open;
      await rig.until(() => consumedCount(rig) === 40);
      assert.deepEqual(await client.note("held").lines(), ["tx", ...expected]);
    }));

  test("in cycles over three entities come to their ends though all send at once", () =>
    withNotebook(async ({ rig, client }) => {
      const to = ["x", "y", "z"];
      await Promise.all(to.flatMap((id) => [1, 2, 3].map(() => client.note(id).chain({ to, hops: 200 }))));
      await rig.until(() => consumedCount(rig) === 9 * 200);
      await rig.applied();
      assert.equal(outboxCount(rig), 0);
    }));
});

describe("a message that can't take hold", () => {
  test("is a dead letter with its code, whether it throws, loops, or no longer fits the command's input", async () => {
    const make = (input: z.ZodType<{ readonly count: number }>, run: (count: number) => void) => {
      const target = entity("target")
        .state(z.looseObject({ sum: z.number() }), () => ({ sum: 0 }))
        .command(
          "add",
          input as z.ZodType<{ readonly count: number }, { readonly count: number }>,
          (state, { count }) => {
            run(count);
            state.sum += count;
          },
        )
        .query("sum", (state) => state.sum as number);
      const source = entity("source")
        .state(z.looseObject({}), () => ({}))
        .command("send", z.array(z.number()), (_state, counts, context) => {
          for (const count of counts) context.send(target, "t", "add", { count });
        });
      return system("letters", { target, source });
    };
    const any = z.object({ count: z.number() });
    const rig = new ShardRig(make(any, () => undefined));
    await rig.run(async () => {
      await rig.open();
      await rig.client().source("s").send([1, 2, 3, 4, 5]);
      // The node dies before it delivers; the next one runs other code.
      const run = (count: number) => {
        if (count === 2) throw new Error("two");
        if (count === 3) rig.spend(Number.POSITIVE_INFINITY);
        if (count === 5) throw undefined;
      };
      await rig.restart({ system: make(z.object({ count: z.number().refine((count) => count !== 4) }), run) });
      await rig.until(() => rig.entries().filter(({ entry }) => entry.consumed !== null).length === 5);
      const found = letters(rig as never);
      assert.deepEqual(
        found.map(({ code }) => code),
        ["command-failed", "command-too-slow", "invalid-input", "command-failed"],
      );
      assert.ok(found.every(({ kind, id, command }) => kind === "target" && id === "t" && command === "add"));
      assert.equal(await rig.client().target("t").sum(), 1);
      await rig.restart({ loseStore: true });
      await rig.applied();
      assert.equal([...entriesWithPrefix(rig.store, String.fromCharCode(tables.deadLetter))].length, 4);
      assert.equal(await rig.client().target("t").sum(), 1);
    });
  });
});
