/**
 * Messages between shards under everything at once: requests lost, repeated, late; shards that crash, lose their stores, get other
 * owners beside the old ones, and are split. The logs say what was sent; each message must have taken hold once, in order.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { slotOf } from "../base/ids.ts";
import type { SeededRandom } from "../base/random.ts";
import { inProcessClient } from "../runtime/in-process-client.ts";
import type { MessageRecord } from "./batch.ts";
import { decodeValue } from "../base/value.ts";
import { entriesWithPrefix } from "./fold.ts";
import { tables } from "./keys.ts";
import { type Fate, type Member, Neighbourhood, prompt } from "./neighbourhood.fixture.ts";
import { makeNotebook, type Notebook } from "./notebook.fixture.ts";
import { tester } from "./shard.fixture.ts";

type Hood = Neighbourhood<Notebook["notebook"]>;

const seedCount = 60;
const limits = { mailRequestMs: 400, mailAnswerMs: 150, mailRetryMsMin: 5, mailRetryMsMax: 200 };
const notes = Array.from({ length: 12 }, (_, i) => `n${i}`);
const slotOfNote = (id: string) => slotOf("note", id, "default");

function clientOf(member: Member<Notebook["notebook"]>) {
  return inProcessClient(member.rig.system, member.rig.shard, tester);
}

/** Fates that lose, repeat and delay, so that what was asked later may be there before. */
function faultyFates(random: SeededRandom): () => Fate {
  const delayMs = () => (random.chance(0.1) ? random.integer(1500) : random.integer(20));
  return () => {
    const copies = random.chance(0.15) ? 0 : random.chance(0.2) ? 2 : 1;
    return {
      arrivalsMs: Array.from({ length: copies }, delayMs),
      answersMs: Array.from({ length: copies }, () => (random.chance(0.15) ? undefined : delayMs())),
    };
  };
}

interface Plan {
  readonly seed: string;
  readonly rounds: number;
  readonly linesMax: number;
}

interface Shown {
  readonly messages: number;
  readonly crossing: number;
  readonly events: ReadonlySet<string>;
  readonly trace: string;
}

const shortPlan = (i: number): Plan => ({ seed: `mail ${i}`, rounds: 6, linesMax: 4 });

async function endure({ seed, rounds, linesMax }: Plan): Promise<Shown> {
  const { notebook } = makeNotebook();
  const shown = { messages: 0, crossing: 0, events: new Set<string>(), trace: "" };
  await Neighbourhood.run(notebook, { seed, cuts: [1400, 2700], limits }, async (hood) => {
    const random = hood.random.fork("plan");
    hood.fateOf = faultyFates(hood.random.fork("fates"));
    hood.findsZombie = () => random.chance(0.3);
    let line = 0;
    for (let round = 0; round < rounds; round++) {
      for (let i = random.integer(4); i >= 0; i--) {
        const from = random.pick(notes);
        const member = hood.memberOf(slotOfNote(from));
        if (!member.isUp) continue;
        const lines = Array.from({ length: 1 + random.integer(linesMax) }, () => `${from} ${line++}`);
        const command = random.chance(0.05) ? "refuse" : "write";
        const note = clientOf(member).note(from);
        const calls = [note.mail({ to: random.pick(notes), lines, command })];
        if (random.chance(0.1)) calls.push(note.chain({ to: notes, hops: 20 }));
        // The logs say what came of them.
        void Promise.allSettled(calls);
      }
      await hood.scheduler.sleep(random.integer(40));
      shown.events.add(await disturb(hood, random));
    }
    hood.fateOf = () => prompt;
    hood.findsZombie = () => false;
    for (const member of hood.members) if (!member.isUp) await hood.open(member);
    await hood.members[0]!.rig.until(() => hood.members.every(({ rig }) => rig.shard.load.messages === 0));
    for (const { rig } of hood.members) await rig.applied();
    const { messages, crossing } = await check(hood);
    shown.messages = messages;
    shown.crossing = crossing;
    shown.trace = `${hood.scheduler.traceHash} ${hood.transcript.join()}`;
  });
  return shown;
}

async function disturb(hood: Hood, random: SeededRandom): Promise<string> {
  const member = random.pick(hood.members);
  if (!member.isUp) {
    await hood.open(member);
    return "opened";
  }
  const dice = random.next();
  if (dice < 0.15) {
    hood.crash(member, { loseStore: random.chance(0.3), commitUnfinished: random.chance(0.5) });
    return "crashed";
  }
  if (dice < 0.25) {
    await hood.depose(member);
    return "deposed";
  }
  if (dice < 0.3 && hood.members.length < 6) {
    const { firstSlot, lastSlot } = member.range;
    if (lastSlot - firstSlot < 2) return "nothing";
    await hood.split(member, firstSlot + 1 + random.integer(lastSlot - firstSlot - 1));
    return "split";
  }
  if (dice < 0.4) {
    member.rig.outcomes.push({ kind: "full" });
    return "full";
  }
  return "nothing";
}

/** Against the model: what the logs say was sent, taken by its receivers in order of the numbers. */
async function check(hood: Hood): Promise<{ readonly messages: number; readonly crossing: number }> {
  const entries = hood.entries();
  const sent = new Map<string, MessageRecord[]>();
  const consumed = new Map<string, number[]>();
  let crossing = 0;
  for (const entry of entries) {
    for (const message of entry.messages) push(sent, `${message.fromSlot}>${message.toSlot}`, message);
    if (entry.consumed === null) continue;
    push(consumed, `${entry.consumed.fromSlot}>${entry.consumed.toSlot}`, entry.consumed.number);
    if (hood.memberOf(entry.consumed.fromSlot) !== hood.memberOf(entry.consumed.toSlot)) crossing++;
  }
  assert.deepEqual([...sent.keys()].sort(), [...consumed.keys()].sort());
  const expected = new Map<string, string[]>();
  let messages = 0;
  for (const [pair, all] of sent) {
    const numbers = all.map((_, index) => index + 1);
    assert.deepEqual(
      all.map(({ number }) => number),
      numbers,
      `sent ${pair}`,
    );
    assert.deepEqual(consumed.get(pair), numbers, `consumed ${pair}`);
    messages += all.length;
    for (const { id, command, input } of all) {
      const { line } = decodeValue(input) as { readonly line: string };
      if (command === "write") push(expected, `${line.split(" ")[0]}>${id}`, line);
    }
  }
  const refused = [...sent.values()].flat().filter(({ command }) => command === "refuse");
  const letters = entries.flatMap(({ deadLetter }) => (deadLetter === null ? [] : [deadLetter]));
  assert.equal(letters.length, refused.length);
  for (const to of notes) {
    const found = await clientOf(hood.memberOf(slotOfNote(to)))
      .note(to)
      .lines();
    for (const from of notes) {
      const fromThere = found.filter((line) => line.startsWith(`${from} `));
      assert.deepEqual(fromThere, expected.get(`${from}>${to}`) ?? [], `${from}>${to}`);
    }
  }
  for (const { rig } of hood.members) {
    assert.deepEqual([...entriesWithPrefix(rig.store, String.fromCharCode(tables.outbox))], []);
    assert.deepEqual(rig.stops, []);
  }
  return { messages, crossing };
}

function push<T>(groups: Map<string, T[]>, key: string, value: T): void {
  const group = groups.get(key);
  if (group === undefined) groups.set(key, [value]);
  else group.push(value);
}

async function named<T>(seed: string, run: Promise<T>): Promise<T> {
  try {
    return await run;
  } catch (cause) {
    throw new Error(`seed ${seed} fails: ${String(cause)}`, { cause });
  }
}

describe("messages between shards", () => {
  test("take hold once and in order, and leave all outboxes, from many seeds", async () => {
    const events = new Set<string>();
    let messages = 0;
    let crossing = 0;
    for (let i = 0; i < seedCount; i++) {
      const shown = await named(`mail ${i}`, endure(shortPlan(i)));
      for (const event of shown.events) events.add(event);
      messages += shown.messages;
      crossing += shown.crossing;
    }
    assert.deepEqual([...events].sort(), ["crashed", "deposed", "full", "nothing", "opened", "split"]);
    assert.ok(crossing > 15 * seedCount, `${crossing} of ${messages}`);
  });

  test("go the same way again from the same seed", async () => {
    const [first, second] = [await endure(shortPlan(7)), await endure(shortPlan(7))];
    assert.equal(first.trace, second.trace);
  });

  test("take hold once and in order, thousands of them", async () => {
    const { crossing } = await named("many", endure({ seed: "many", rounds: 80, linesMax: 30 }));
    assert.ok(crossing > 2000, `${crossing}`);
  });
});
