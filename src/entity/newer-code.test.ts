/** A rollback of the code: what is on its way to entities of the newer code waits, in order, and holds up nobody else (G6, G11). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import type { Limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import { entity } from "./define.ts";
import { system } from "./define-system.ts";
import { ShardRig, tester } from "./shard.fixture.ts";

/** `fresh` keeps its state as two versions of the code do; `plain` as both; all ids that begin alike share a slot. */
function makeVersion(version: 1 | 2, options: { readonly hasPoke?: boolean } = {}) {
  const affinity = (id: string): string => id[0]!;
  const first = z.looseObject({ lines: z.array(z.string()) });
  const initial = () => ({ lines: [] as string[] });
  const kindOf = <Name extends string>(name: Name, isNew: boolean) => {
    const start = entity(name);
    const ofFirst = () => start.state(first, initial);
    const ofSecond = () =>
      start.state(first as never, () => ({ lines: [], title: "" }) as never, {
        version: 2,
        migrations: [((state: { lines: string[] }) => ({ ...state, title: "" })) as never],
      });
    const stated = isNew ? (ofSecond() as unknown as ReturnType<typeof ofFirst>) : ofFirst();
    return stated
      .affinity(affinity)
      .command("write", z.string(), (state, line) => {
        state.lines.push(line);
      })
      .command("refuse", z.string(), () => {
        throw new Error("refused");
      })
      .command("idle", () => undefined)
      .query("lines", (state) => [...state.lines]);
  };
  const kept = kindOf("fresh", version === 2);
  const poked = kept.command("poke", (state) => {
    state.lines.push("poked");
  });
  const fresh = options.hasPoke === true ? (poked as unknown as typeof kept) : kept;
  const plain = kindOf("plain", false);
  const mail = z.array(
    z.object({ kind: z.string(), id: z.string(), command: z.string(), line: z.string().optional() }),
  );
  const sender = entity("sender")
    .state(z.looseObject({}), () => ({}))
    .command("send", mail, (_state, letters, context) => {
      for (const { kind, id, command, line } of letters) {
        context.send((kind === "fresh" ? fresh : plain) as never, id, command as never, line as never);
      }
    });
  return system("rolled", { fresh, plain, sender });
}

type Rig = ShardRig<ReturnType<typeof makeVersion>>;

async function started(body: (rig: Rig) => Promise<void>, limits: Partial<Limits> = {}): Promise<void> {
  const rig: Rig = new ShardRig(makeVersion(2, { hasPoke: true }), { limits });
  await rig.run(async () => {
    await rig.open();
    await body(rig);
    assert.deepEqual(rig.stops, []);
  });
}

const send = (
  rig: Rig,
  from: string,
  letters: readonly { kind: string; id: string; command: string; line?: string }[],
) => rig.command("sender", from, "send", letters as never);
const to = (kind: string, id: string, line: string) => ({ kind, id, command: "write", line });
const lines = async (rig: Rig, kind: "fresh" | "plain", id: string) => rig.client()[kind](id).lines();
const letters = async (rig: Rig) => (await rig.shard.deadLetters({ principal: tester, limit: 1000 })).items;
const waitingCount = (rig: Rig) => rig.shard.deadLetterCounts.waiting;

describe("after a rollback of the code, messages to entities of the newer code", () => {
  test("wait, in order, over restarts, and are delivered once when the newer code is back", () =>
    started(async (rig) => {
      await rig.client().fresh("a1").write("before");
      await rig.restart({ system: makeVersion(1) });
      for (let i = 0; i < 20; i++) {
        await send(rig, `s${i % 3}`, [to("fresh", "a1", `${i}`)]);
        if (i % 7 === 6) await rig.restart({ loseStore: i > 10, commitUnfinished: i < 10 });
      }
      await rig.until(() => waitingCount(rig) === 20);
      await assert.rejects(rig.client().fresh("a1").write("refused"), { code: "unsupported-version" });
      const shown = await letters(rig);
      assert.ok(shown.every(({ waits, code }) => waits && code === "unsupported-version"));
      await rig.restart({ system: makeVersion(2) });
      await rig.until(() => waitingCount(rig) === 0);
      const found = await lines(rig, "fresh", "a1");
      assert.equal(found[0], "before");
      assert.equal(new Set(found).size, 21);
      for (const sender of [0, 1, 2]) {
        const ofSender = found.slice(1).filter((line) => Number(line) % 3 === sender);
        assert.deepEqual(
          ofSender,
          [...ofSender].sort((a, b) => Number(a) - Number(b)),
          `from s${sender}`,
        );
      }
      await rig.restart({ loseStore: true });
      assert.deepEqual(await lines(rig, "fresh", "a1"), found);
      assert.deepEqual(await letters(rig), []);
    }));

  test("hold up no other receiver, not even one that shares the slot", () =>
    started(async (rig) => {
      await rig.client().fresh("a1").write("new");
      await rig.restart({ system: makeVersion(1) });
      // All of one pair of slots: the first one's entity can't take it, the others' can.
      await send(rig, "s", [
        to("fresh", "a1", "1"),
        to("plain", "a2", "2"),
        to("fresh", "a3", "3"),
        to("fresh", "b", "4"),
      ]);
      await rig.until(() => waitingCount(rig) === 1);
      await rig.until(() => rig.entries().filter(({ entry }) => entry.consumed !== null).length === 4);
      assert.deepEqual(await lines(rig, "plain", "a2"), ["2"]);
      assert.deepEqual(await lines(rig, "fresh", "a3"), ["3"]);
      assert.deepEqual(await lines(rig, "fresh", "b"), ["4"]);
    }));

  test("come before those that were sent after them, on their way or later, when the newer code is back", () =>
    started(async (rig) => {
      await rig.client().fresh("a1").write("new");
      await rig.restart({ system: makeVersion(1) });
      const numbered = (what: string) => Array.from({ length: 30 }, (_, i) => `${what} ${i}`);
      const [early, underWay, late] = [numbered("early"), numbered("under way"), numbered("late")];
      const sendAll = (sent: readonly string[]) =>
        send(
          rig,
          "s",
          sent.map((line) => to("fresh", "a1", line)),
        );
      await sendAll(early);
      await rig.until(() => waitingCount(rig) === 30);
      await sendAll(underWay);
      // The node dies before any of these is put aside: the next one has both, and must not begin with them.
      await rig.restart({ system: makeVersion(2) });
      assert.equal(waitingCount(rig), 30);
      for (const line of late) await sendAll([line]);
      await rig.sleep(1000);
      assert.equal(waitingCount(rig), 0);
      assert.deepEqual(await lines(rig, "fresh", "a1"), ["new", ...early, ...underWay, ...late]);
    }));

  test("that sent or refuse, change nothing, or are of a command that only the newer code has, end as they would have", () =>
    started(async (rig) => {
      await rig.client().fresh("a1").write("new");
      rig.closeGate();
      const sent = send(rig, "s", [
        { kind: "fresh", id: "a1", command: "poke" },
        { kind: "fresh", id: "a1", command: "refuse", line: "x" },
        { kind: "fresh", id: "a1", command: "idle" },
        to("fresh", "a1", "last"),
      ]);
      await rig.sleep(5);
      rig.openGate();
      await sent;
      // The node dies before it delivers.
      await rig.restart({ system: makeVersion(1) });
      await rig.until(() => waitingCount(rig) === 4);
      await rig.restart({ system: makeVersion(2, { hasPoke: true }) });
      await rig.until(() => waitingCount(rig) === 0);
      assert.deepEqual(await lines(rig, "fresh", "a1"), ["new", "poked", "last"]);
      assert.deepEqual(
        (await letters(rig)).map(({ command, code, waits }) => [command, code, waits]),
        [["refuse", "command-failed", false]],
      );
      await rig.restart({ loseStore: true });
      assert.deepEqual(await lines(rig, "fresh", "a1"), ["new", "poked", "last"]);
      assert.equal((await letters(rig)).length, 1);
    }));

  test("are delivered once each over crashes and refused appends at every moment of that", () =>
    started(async (rig) => {
      const random = new SeededRandom("redelivery");
      const ids = ["a1", "a2", "b1"];
      for (const id of ids) await rig.client().fresh(id).write("new");
      await rig.restart({ system: makeVersion(1) });
      for (let i = 0; i < 60; i++) await send(rig, "s", [to("fresh", ids[i % 3]!, `${i}`)]);
      await rig.until(() => waitingCount(rig) === 60);
      for (let life = 0; life < 12; life++) {
        await rig.restart({
          system: makeVersion(2),
          loseStore: random.chance(0.3),
          commitUnfinished: random.chance(0.5),
        });
        for (let i = 0; i < 20; i++) rig.outcomes.push(random.chance(0.3) ? { kind: "full" } : undefined);
        await rig.sleep(random.next() * 8);
      }
      await rig.until(() => waitingCount(rig) === 0);
      for (const [index, id] of ids.entries()) {
        const expected = Array.from({ length: 20 }, (_, i) => `${3 * i + index}`);
        assert.deepEqual(await lines(rig, "fresh", id), ["new", ...expected]);
      }
    }));

  test("are bounded: where too many wait, the next are dead letters, and senders go on", () =>
    started(
      async (rig) => {
        await rig.client().fresh("a1").write("new");
        await rig.restart({ system: makeVersion(1) });
        for (let i = 0; i < 8; i++) await send(rig, "s", [to("fresh", "a1", `${i}`), to("plain", "a2", `${i}`)]);
        await rig.until(() => rig.entries().filter(({ entry }) => entry.consumed !== null).length === 16);
        assert.equal(waitingCount(rig), 5);
        assert.deepEqual(
          (await letters(rig)).filter(({ waits }) => !waits).map(({ code }) => code),
          ["overloaded", "overloaded", "overloaded"],
        );
        assert.equal((await lines(rig, "plain", "a2")).length, 8);
        await rig.restart({ system: makeVersion(2) });
        await rig.until(() => waitingCount(rig) === 0);
        assert.deepEqual(await lines(rig, "fresh", "a1"), ["new", "0", "1", "2", "3", "4"]);
      },
      { waitingMessagesMax: 5 },
    ));
});
