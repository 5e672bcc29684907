/** States outlive the code that wrote them: newer code migrates them, older code keeps its hands off them (G11). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { Refused } from "../base/errors.ts";
import { touchThresholdBytes } from "./batch.ts";
import { entity } from "./define.ts";
import { system } from "./define-system.ts";
import { ShardRig, tester } from "./shard.fixture.ts";

const address = { kind: "person", id: "ann" };

/** One system at three times of its life. Version 2 counts visits, version 3 has parted the name. */
function makeVersion(version: 1 | 2 | 3) {
  const start = entity("person");
  const first = z.looseObject({ name: z.string() });
  const ofFirst = () => start.state(first, () => ({ name: "?" }));
  const commands = (person: ReturnType<typeof ofFirst>) =>
    person
      .collection("notes", z.object({ text: z.string() }))
      .command("set", z.record(z.string(), z.any()), (state, fields) => {
        Object.assign(state as object, fields);
      })
      .command("note", z.object({ key: z.string(), text: z.string() }), (_state, { key, text }, context) => {
        context.collections.notes.set(key, { text });
      })
      .command("refuse", (): number => {
        throw new Refused("not-now");
      })
      .command("touch", () => 7)
      .command(
        "remind",
        z.object({ delayMs: z.number(), command: z.enum(["refuse", "touch"]) }),
        (_state, { delayMs, command }, context) => context.after(delayMs, command),
      )
      .query("whole", (state) => state as never);
  const loose = z.looseObject;
  if (version === 1) return system("people", { person: commands(ofFirst()) });
  const toSecond = (state: { name: string }) => ({ ...state, visits: 0 });
  if (version === 2) {
    const state = loose({ name: z.string(), visits: z.number() });
    const made = start.state(state as never, () => ({ name: "?", visits: 0 }) as never, {
      version: 2,
      migrations: [toSecond as never],
    });
    return system("people", { person: commands(made as never) });
  }
  const toThird = (state: { name: string; first?: string; last?: string }) => {
    const [first, last] = state.name.split(" ");
    return { first: first!, last: last ?? "" };
  };
  const state = loose({ first: z.string(), last: z.string(), visits: z.number() });
  const made = start.state(state as never, () => ({ first: "?", last: "", visits: 0 }) as never, {
    version: 3,
    migrations: [toSecond as never, toThird as never],
  });
  return system("people", { person: commands(made as never) });
}

type Rig = ShardRig<ReturnType<typeof makeVersion>>;

async function startedAt(version: 1 | 2 | 3, body: (rig: Rig) => Promise<void>): Promise<void> {
  const rig: Rig = new ShardRig(makeVersion(version));
  await rig.run(async () => {
    await rig.open();
    await body(rig);
  });
}

const run = (rig: Rig, name: string, input?: unknown) => rig.command("person", "ann", name, input);
const state = (rig: Rig) => rig.shard.state(address, { principal: tester });
const whole = async (rig: Rig) => (await rig.shard.query(address, "whole", undefined, { principal: tester })).output;

describe("a state that older code wrote", () => {
  test("is migrated step by step for every reader, and written so by the next command; unknown fields stay", () =>
    startedAt(1, async (rig) => {
      await run(rig, "set", { name: "Ann Lee", plugin: { colour: "red", at: new Date(5), big: 2n ** 70n } });
      const rest = { plugin: { colour: "red", at: new Date(5), big: 2n ** 70n } };
      await rig.restart({ system: makeVersion(3) });
      const migrated = { first: "Ann", last: "Lee", visits: 0, ...rest };
      assert.deepEqual(await whole(rig), migrated);
      assert.deepEqual(
        { ...(await state(rig)), sequence: 0 },
        {
          state: migrated,
          generation: 1,
          version: 1,
          schemaVersion: 3,
          sequence: 0,
        },
      );
      // A command that changes nothing else writes the state in its new shape.
      assert.equal((await run(rig, "touch")).output, 7);
      assert.equal(rig.entries().at(-1)!.entry.effects[0]!.schemaVersion, 3);
      await rig.restart({ loseStore: true });
      assert.deepEqual(await whole(rig), migrated);
    }));

  for (const size of ["small", "large"] as const) {
    const bulk = size === "small" ? "x" : "x".repeat(2 * touchThresholdBytes);

    test(`is still taken for what it is (${size}) after a timer of newer code has failed on it`, () =>
      startedAt(1, async (rig) => {
        await run(rig, "set", { name: "Ann Lee", bulk });
        await run(rig, "remind", { delayMs: 500, command: "refuse" });
        await rig.restart({ system: makeVersion(3) });
        await rig.until(() => rig.entries().some(({ entry }) => entry.deadLetter !== null));
        assert.deepEqual(await whole(rig), { first: "Ann", last: "Lee", visits: 0, bulk });
        await rig.restart();
        assert.deepEqual(await whole(rig), { first: "Ann", last: "Lee", visits: 0, bulk });
      }));

    test(`is still taken for what it is (${size}) when the code was rolled back meanwhile`, () =>
      startedAt(2, async (rig) => {
        await run(rig, "set", { name: "Ann Lee", visits: 7, bulk });
        await run(rig, "remind", { delayMs: 500, command: "touch" });
        await rig.restart({ system: makeVersion(1) });
        const end = () => rig.shard.delete(address, { principal: tester });
        for (const attempt of [() => run(rig, "touch"), () => whole(rig), () => state(rig), end]) {
          await assert.rejects(attempt(), { code: "unsupported-version", retry: "never" });
        }
        // Its timer waits for the newer code, however long that takes.
        await rig.sleep(5000);
        await rig.restart();
        await rig.sleep(5000);
        assert.ok(!rig.entries().some(({ entry }) => entry.origin === "timer"));
        assert.ok(rig.traces.some(({ message }) => message.includes("they will fire when that is over")));
        await assert.rejects(run(rig, "touch"), { code: "unsupported-version" });
        await rig.restart({ system: makeVersion(2) });
        assert.deepEqual(await whole(rig), { name: "Ann Lee", visits: 7, bulk });
        await rig.until(() => rig.entries().some(({ entry }) => entry.origin === "timer" && entry.deadLetter === null));
      }));
  }
});
