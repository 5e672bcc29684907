/** Messages between two shards, one fault at a time: what is asked and answered, and what stands in both logs afterwards. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { slotOf } from "../base/ids.ts";
import { inProcessClient } from "../runtime/in-process-client.ts";
import type { Limits } from "../base/limits.ts";
import { decodeRecord } from "../log/record.ts";
import { entriesWithPrefix } from "./fold.ts";
import { keys } from "./keys.ts";
import { type Fate, Neighbourhood, type NeighbourhoodOptions, prompt } from "./neighbourhood.fixture.ts";
import { makeNotebook, type Notebook } from "./notebook.fixture.ts";
import { outcomesOf, tester } from "./shard.fixture.ts";

type Hood = Neighbourhood<Notebook["notebook"]>;

const cut = 2048;
/** A note of each half of the slots. */
const [inA, inB] = [idWhere((slot) => slot < cut), idWhere((slot) => slot >= cut)];
const lost: Fate = { arrivalsMs: [], answersMs: [] };
const unanswered: Fate = { arrivalsMs: [1], answersMs: [undefined] };
const requestMs = 1000;

function idWhere(isRight: (slot: number) => boolean): string {
  return idsWhere(1, isRight)[0]!;
}

/** Ids of notes in different slots. */
function idsWhere(count: number, isRight: (slot: number) => boolean): readonly string[] {
  const found = new Map<number, string>();
  for (let i = 0; found.size < count; i++) {
    const slot = slotOf("note", `n${i}`, "default");
    if (isRight(slot) && !found.has(slot)) found.set(slot, `n${i}`);
  }
  return [...found.values()];
}

function withTwo(body: (hood: Hood, made: Notebook) => Promise<void>, limits: Partial<Limits> = {}): Promise<void> {
  const made = makeNotebook();
  const options: NeighbourhoodOptions = {
    cuts: [cut],
    limits: { mailRequestMs: requestMs, mailAnswerMs: 300, ...limits },
  };
  return Neighbourhood.run(made.notebook, options, (hood) => body(hood, made));
}

function noteOf(hood: Hood, id: string) {
  const { rig } = hood.memberOf(slotOf("note", id, "default"));
  return inProcessClient(rig.system, rig.shard, tester).note(id);
}

/** The next requests meet these fates, and those after them none. */
function script(hood: Hood, fates: readonly Fate[]): void {
  const left = [...fates];
  hood.fateOf = () => left.shift() ?? prompt;
}

/** Until every shard's outbox is empty. */
async function settled(hood: Hood): Promise<void> {
  await hood.members[0]!.rig.until(() => hood.members.every(({ isUp, rig }) => isUp && rig.shard.load.messages === 0));
}

/** What was said, and what the logs say of it. */
function story(hood: Hood): readonly string[] {
  const entries = hood.entries();
  const consumed = entries.flatMap((entry) => (entry.consumed === null ? [] : [entry.consumed.number]));
  const removed = entries.flatMap(({ delivered }) => delivered.map(({ first, through }) => `${first}–${through}`));
  return [...hood.transcript, `consumed ${consumed.join(", ")}`, `removed ${removed.join(", ")}`];
}

describe("messages to another shard", () => {
  test("go there in one run, and leave the outbox by one entry", () =>
    withTwo(async (hood) => {
      await noteOf(hood, inA).mail({ to: inB, lines: ["x", "y", "z"] });
      await settled(hood);
      assert.deepEqual(story(hood), ["1–3 asked", "1–3 answered: through 3", "consumed 1, 2, 3", "removed 1–3"]);
      assert.deepEqual(await noteOf(hood, inB).lines(), ["x", "y", "z"]);
      const { rig } = hood.memberOf(0);
      await rig.applied();
      assert.deepEqual([...entriesWithPrefix(rig.store, keys.table("outbox"))], []);
    }));

  test("that don't come forward are sent again ever more rarely", () =>
    withTwo(
      async (hood) => {
        hood.memberOf(cut).rig.closeGate();
        await noteOf(hood, inA).mail({ to: inB, lines: ["x"] });
        await hood.scheduler.sleep(10_000);
        const count = hood.transcript.filter((line) => line === "1 asked").length;
        assert.ok(count >= 5 && count <= 12, `${count} requests`);
        hood.memberOf(cut).rig.openGate();
        await settled(hood);
        assert.deepEqual(await noteOf(hood, inB).lines(), ["x"]);
      },
      { mailAnswerMs: 1 },
    ));

  test("leave it by a batch that older readers refuse, which read all the others", () =>
    withTwo(async (hood) => {
      await noteOf(hood, inA).mail({ to: inB, lines: ["x"] });
      await settled(hood);
      const versions = hood.members.map(({ rig: { storage } }) =>
        Array.from({ length: storage.count }, (_, i) => decodeRecord(storage.get(i + 1)!).readerVersion),
      );
      assert.deepEqual(versions, [
        [1, 1, 3],
        [1, 1],
      ]);
    }));

  test("of many pairs leave it by one entry too", () =>
    withTwo(async (hood) => {
      for (const to of idsWhere(20, (slot) => slot >= cut)) await noteOf(hood, inA).mail({ to, lines: ["x"] });
      await settled(hood);
      const recorded = hood.entries().flatMap(({ delivered }) => (delivered.length === 0 ? [] : [delivered.length]));
      assert.equal(
        recorded.reduce((sum, count) => sum + count, 0),
        20,
      );
      assert.ok(recorded.length <= 2, `${recorded}`);
    }));

  test("do not leave before they are durable", () =>
    withTwo(async (hood) => {
      const { rig } = hood.memberOf(0);
      rig.closeGate();
      const sent = noteOf(hood, inA).mail({ to: inB, lines: ["x"] });
      await hood.scheduler.sleep(200);
      assert.deepEqual(hood.transcript, []);
      rig.openGate();
      await sent;
      await settled(hood);
      assert.deepEqual(story(hood), ["1 asked", "1 answered: through 1", "consumed 1", "removed 1–1"]);
    }));

  test("are not said to be consumed before that is durable", () =>
    withTwo(async (hood) => {
      const { rig } = hood.memberOf(cut);
      rig.closeGate();
      await noteOf(hood, inA).mail({ to: inB, lines: ["x"] });
      await hood.scheduler.sleep(200);
      assert.deepEqual(hood.transcript, ["1 asked"]);
      await hood.scheduler.sleep(200);
      assert.deepEqual(hood.transcript.slice(0, 2), ["1 asked", "1 answered: through 0"]);
      rig.openGate();
      await settled(hood);
      assert.deepEqual(story(hood).slice(-2), ["consumed 1", "removed 1–1"]);
    }));

  test("whose answer is lost are sent again, and not consumed again", () =>
    withTwo(async (hood) => {
      script(hood, [unanswered]);
      await noteOf(hood, inA).mail({ to: inB, lines: ["x", "y"] });
      await settled(hood);
      assert.deepEqual(story(hood), [
        "1–2 asked",
        "1–2 answered: through 2, and the answer is lost",
        "1–2 asked",
        "1–2 answered: through 2",
        "consumed 1, 2",
        "removed 1–2",
      ]);
    }));

  test("that arrive twice are consumed once, whether the second comes before or after the first is done", () =>
    withTwo(async (hood) => {
      script(hood, [{ arrivalsMs: [1, 1, 500], answersMs: [1, 1, 1] }]);
      await noteOf(hood, inA).mail({ to: inB, lines: ["x", "y"] });
      await hood.scheduler.sleep(600);
      await settled(hood);
      assert.deepEqual(story(hood), [
        "1–2 asked",
        "1–2 answered: through 2",
        "1–2 answered: through 2",
        "1–2 answered: through 2",
        "consumed 1, 2",
        "removed 1–2",
      ]);
      assert.deepEqual(await noteOf(hood, inB).lines(), ["x", "y"]);
    }));

  test("that were overtaken by later ones change nothing when they arrive", () =>
    withTwo(async (hood) => {
      script(hood, [{ arrivalsMs: [requestMs + 2000], answersMs: [1] }]);
      await noteOf(hood, inA).mail({ to: inB, lines: ["x"] });
      await hood.scheduler.sleep(1);
      await noteOf(hood, inA).mail({ to: inB, lines: ["y"] });
      await hood.scheduler.sleep(requestMs + 1000);
      await noteOf(hood, inA).mail({ to: inB, lines: ["z"] });
      await hood.scheduler.sleep(3000);
      assert.deepEqual(story(hood), [
        "1 asked",
        "1–2 asked",
        "1–2 answered: through 2",
        "3 asked",
        "3 answered: through 3",
        "1 answered: through 3",
        "consumed 1, 2, 3",
        "removed 1–2, 3–3",
      ]);
      assert.deepEqual(await noteOf(hood, inB).lines(), ["x", "y", "z"]);
    }));

  test("behind a gap are not taken: the answer says from where to send", () =>
    withTwo(async (hood) => {
      const asked: Parameters<Hood["fateOf"]>[0][] = [];
      hood.fateOf = (request) => {
        asked.push(request);
        return lost;
      };
      await noteOf(hood, inA).mail({ to: inB, lines: ["x", "y"] });
      const { type, body } = asked[0]!;
      const { messages, ...pair } = body as { readonly messages: readonly Uint8Array[] };
      const behindGap = { ...pair, messages: messages.slice(1) };
      assert.deepEqual(await hood.memberOf(cut).rig.shard.answer(type, behindGap), { through: 0 });
      hood.fateOf = () => prompt;
      await settled(hood);
      assert.deepEqual(await noteOf(hood, inB).lines(), ["x", "y"]);
    }));

  test("that their receiver refuses are dead letters at its shard, and hold up none behind them", () =>
    withTwo(async (hood) => {
      await noteOf(hood, inA).mail({ to: inB, lines: ["x", "y"], command: "refuse" });
      await noteOf(hood, inA).mail({ to: inB, lines: ["z"] });
      await settled(hood);
      assert.ok(story(hood).includes("consumed 1, 2, 3"));
      assert.deepEqual(await noteOf(hood, inB).lines(), ["z"]);
      const counts = hood.members.map(({ rig }) => rig.shard.deadLetterCounts.dead);
      assert.deepEqual(counts, [0, 2]);
    }));

  test("reach their receiver's next owner, and the one before gets nothing into the log", () =>
    withTwo(async (hood) => {
      const receiver = hood.memberOf(cut);
      receiver.rig.closeGate();
      await noteOf(hood, inA).mail({ to: inB, lines: ["x", "y"] });
      await hood.scheduler.sleep(100);
      receiver.rig.storage.crash({ commitUnfinished: false });
      await hood.depose(receiver);
      let findings = 1;
      hood.findsZombie = () => findings-- > 0;
      await settled(hood);
      assert.deepEqual(story(hood).slice(-2), ["consumed 1, 2", "removed 1–2"]);
      assert.deepEqual(await noteOf(hood, inB).lines(), ["x", "y"]);
    }));

  test("are sent by their sender's next owner from what the outbox holds", () =>
    withTwo(async (hood) => {
      script(hood, [unanswered]);
      const sender = hood.memberOf(0);
      await noteOf(hood, inA).mail({ to: inB, lines: ["x", "y"] });
      await hood.scheduler.sleep(100);
      hood.crash(sender, { loseStore: true });
      await hood.open(sender);
      await settled(hood);
      assert.deepEqual(story(hood), [
        "1–2 asked",
        "1–2 answered: through 2, and the answer is lost",
        "1–2 asked",
        "1–2 answered: through 2",
        "consumed 1, 2",
        "removed 1–2",
      ]);
    }));

  test("wait for a shard that is away, and meanwhile those to another are not held up", () => {
    const made = makeNotebook();
    const inC = idWhere((slot) => slot >= 3000);
    const inMiddle = idWhere((slot) => slot >= cut && slot < 3000);
    return Neighbourhood.run(
      made.notebook,
      { cuts: [cut, 3000], limits: { mailRequestMs: requestMs, mailAnswerMs: 300, mailRequestsOpenMax: 2 } },
      async (hood) => {
        const away = hood.memberOf(3000);
        hood.crash(away);
        hood.fateOf = ({ body }) => ((body as { toSlot: number }).toSlot >= 3000 && !away.isUp ? lost : prompt);
        for (const from of idsWhere(4, (slot) => slot < cut))
          await noteOf(hood, from).mail({ to: inC, lines: ["late"] });
        await hood.scheduler.sleep(3 * requestMs);
        for (let i = 0; i < 10; i++) {
          await noteOf(hood, inA).mail({ to: inMiddle, lines: [`${i}`] });
          await hood.scheduler.sleep(20);
        }
        assert.equal((await noteOf(hood, inMiddle).lines()).length, 10);
        await hood.open(away);
        await settled(hood);
        assert.deepEqual(await noteOf(hood, inC).lines(), ["late", "late", "late", "late"]);
      },
    );
  });

  test("are turned away by a receiver with as many as it takes, and come again", () =>
    withTwo(
      async (hood) => {
        const senders = idsWhere(10, (slot) => slot < cut);
        hood.memberOf(cut).rig.closeGate();
        for (const from of senders) await noteOf(hood, from).mail({ to: inB, lines: ["1", "2", "3", "4"] });
        await hood.scheduler.sleep(100);
        assert.ok(hood.transcript.some((line) => line.endsWith("refused: overloaded")));
        hood.memberOf(cut).rig.openGate();
        await settled(hood);
        assert.equal((await noteOf(hood, inB).lines()).length, 40);
      },
      { incomingMessagesMax: 9, mailRunMessagesMax: 4 },
    ));

  test("count in the sender's outbox until they have left it", () =>
    withTwo(
      async (hood) => {
        hood.fateOf = () => lost;
        await noteOf(hood, inA).mail({ to: inB, lines: ["1", "2", "3"] });
        assert.deepEqual(await outcomesOf([noteOf(hood, inA).mail({ to: inB, lines: ["4", "5"] })]), ["overloaded"]);
        hood.fateOf = () => prompt;
        await settled(hood);
        await noteOf(hood, inA).mail({ to: inB, lines: ["4", "5"] });
        await settled(hood);
        assert.deepEqual(await noteOf(hood, inB).lines(), ["1", "2", "3", "4", "5"]);
      },
      { outboxSoftMax: 4 },
    ));

  test("are recorded again where the entry that removes them was dropped", () =>
    withTwo(async (hood) => {
      await noteOf(hood, inA).mail({ to: inB, lines: ["x"] });
      hood.memberOf(0).rig.outcomes.push({ kind: "full" });
      await settled(hood);
      await noteOf(hood, inA).mail({ to: inB, lines: ["y"] });
      await settled(hood);
      assert.deepEqual(story(hood), [
        "1 asked",
        "1 answered: through 1",
        "2 asked",
        "2 answered: through 2",
        "consumed 1, 2",
        "removed 1–1, 2–2",
      ]);
    }));

  test("are refused by the shard that sent them, and by one whose slots they are not for", () =>
    withTwo(async (hood) => {
      const asked: Parameters<Hood["fateOf"]>[0][] = [];
      hood.fateOf = (request) => {
        asked.push(request);
        return prompt;
      };
      await noteOf(hood, inA).mail({ to: inB, lines: ["x"] });
      await settled(hood);
      const { type, body } = asked[0]!;
      const { shard } = hood.memberOf(0).rig;
      const found = await outcomesOf([
        shard.answer(type, body),
        shard.answer(type, { ...(body as object), messages: [] }),
        shard.answer(type, null),
        shard.answer("mail.unheard-of", body),
      ]);
      assert.deepEqual(found, ["not-owner", "malformed", "malformed", "malformed"]);
    }));
});

describe("messages within a shard that is split before they are delivered", () => {
  test("are delivered across, once and behind those that were delivered before", () => {
    const made = makeNotebook();
    return Neighbourhood.run(made.notebook, { cuts: [] }, async (hood) => {
      const parent = hood.members[0]!;
      await noteOf(hood, inA).mail({ to: inB, lines: ["w"] });
      await settled(hood);
      // While a transaction holds the receiver, what is sent to it waits.
      made.hooks.body = async (tx) => {
        await tx(made.note, inB).write({ line: "never" });
        await new Promise(() => undefined);
      };
      const { rig } = parent;
      void Promise.allSettled([inProcessClient(rig.system, rig.shard, tester).script()]);
      await hood.scheduler.sleep(5);
      await noteOf(hood, inA).mail({ to: inB, lines: ["x", "y"] });
      hood.crash(parent);
      await hood.open(parent);
      await hood.split(parent, cut);
      await settled(hood);
      await noteOf(hood, inA).mail({ to: inB, lines: ["z"] });
      await settled(hood);
      assert.deepEqual(story(hood), [
        "2–3 asked",
        "2–3 answered: through 3",
        "4 asked",
        "4 answered: through 4",
        "consumed 1, 2, 3, 4",
        "removed 2–3, 4–4",
      ]);
      assert.deepEqual(await noteOf(hood, inB).lines(), ["w", "x", "y", "z"]);
    });
  });
});
