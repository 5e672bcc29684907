/**
 * Random programs over several shards, with every fault: clients that move money and read it while requests are lost, late and
 * repeated, appends fail, and owners die before and behind any of them. Then all is healed, and everything must come to rest.
 */
import { assert } from "../base/assert.ts";
import { z } from "zod";
import { OnefoldError, Refused } from "../base/errors.ts";
import { SeededRandom } from "../base/random.ts";
import type { Value } from "../base/value.ts";
import { entity } from "../entity/define.ts";
import { system, transaction } from "../entity/define-system.ts";
import { assertSerializable, type Happened } from "./append-history.fixture.ts";
import { ClusterRig, type Fate, type Member } from "./cluster.fixture.ts";

const startCents = 1000;

const state = z.object({ cents: z.number().int(), names: z.array(z.string()) });
const purse = entity("purse")
  .state(state, () => ({ cents: startCents, names: [] as string[] }))
  .command("add", z.object({ cents: z.number().int(), name: z.string() }), (purseState, { cents, name }) => {
    const before = [...purseState.names];
    purseState.cents += cents;
    if (purseState.cents < 0) throw new Refused("poor");
    purseState.names.push(name);
    return before;
  })
  .query("look", (purseState) => ({ cents: purseState.cents, names: [...purseState.names] }));

const ids = z.array(z.string());
const move = transaction("move", z.object({ ids, cents: z.number().int(), name: z.string() }))
  .at(({ ids: [first] }) => purse(first!))
  .run(async (tx, { ids: [from, ...to], cents, name }) => {
    const read: Record<string, string[]> = {};
    read[from!] = await tx(purse, from!).add({ cents: -cents * to.length, name });
    await Promise.all(
      to.map(async (id) => {
        read[id] = await tx(purse, id).add({ cents, name });
      }),
    );
    return read;
  });
const audit = transaction("audit", z.object({ ids, at: z.string() }))
  .at(({ at }) => purse(at))
  .run(async (tx, input) => {
    const seen: Record<string, { cents: number; names: string[] }> = {};
    for (const id of input.ids) seen[id] = await tx(purse, id).look();
    return seen;
  });
const bank = system("purses", { purse, move, audit });

export interface RunSummary {
  readonly moved: number;
  readonly audits: number;
  readonly crashes: number;
  readonly aborts: number;
  readonly commits: number;
  readonly traceHash: string;
}

/** One run, from its seed; throws where a promise is broken, with the seed. */
export async function runCrossing(seed: string): Promise<RunSummary> {
  const run = new CrossingRun(seed);
  try {
    return await run.run();
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
  }
}

class CrossingRun {
  readonly #random: SeededRandom;
  readonly #rig: ClusterRig;
  readonly #purses: readonly string[];
  readonly #history: Happened[] = [];
  /** Moves of which nobody knows whether they took hold. */
  readonly #inDoubt: Omit<Happened, "endedMs" | "read">[] = [];
  readonly #refused: string[] = [];
  #isHealed = false;
  #crashes = 0;
  #count = 0;
  #audits = 0;

  constructor(seed: string) {
    this.#random = new SeededRandom(seed);
    const shards = 2 + this.#random.integer(2);
    this.#rig = new ClusterRig(bank, {
      shards,
      seed,
      limits: {
        transactionInquiryMs: 100,
        transactionAskMs: 200,
        participationSilenceMs: 1500,
        transactionAttemptsMax: 12,
      },
    });
    const count = shards + this.#random.integer(3);
    this.#purses = Array.from({ length: count }, (_, i) => this.#rig.idAt("purse", i % shards, `p${i}-`));
    this.#rig.appendMs = this.#random.next() * 3;
    this.#rig.fate = () => this.#fate();
    for (const member of this.#rig.members) this.#trouble(member);
  }

  async run(): Promise<RunSummary> {
    await this.#rig.scheduler.complete(this.#all(), { untilMs: 10 * 60_000 });
    this.#rig.end();
    const parts = this.#rig.members.flatMap((member) => member.parts());
    return {
      moved: this.#history.length - this.#audits,
      audits: this.#audits,
      crashes: this.#crashes,
      aborts: parts.filter((part) => part === "abort").length,
      commits: parts.filter((part) => part === "commit").length,
      traceHash: this.#rig.scheduler.traceHash,
    };
  }

  async #all(): Promise<void> {
    for (const member of this.#rig.members) await member.open();
    const clients = Array.from({ length: 2 + this.#random.integer(3) }, () => this.#client());
    await Promise.all(clients);
    await this.#heal();
    await this.#rig.until(() => this.#rig.isAtRest, 30_000);
    await this.#rig.until(() => this.#purses.every((id) => this.#rig.isFree("purse", id)), 30_000);
    await this.#check();
  }

  async #heal(): Promise<void> {
    this.#isHealed = true;
    await this.#rig.until(() => this.#rig.members.every(({ isUp }) => isUp), 10_000);
  }

  // ------------------------------------------------------------------------------------------------------------- faults

  #fate(): Fate {
    const random = this.#random;
    const delay = () => random.next() * (random.next() < 0.05 ? 600 : 4);
    if (this.#isHealed) return { asked: [0.5], answered: 0.5 };
    const copies = random.next() < 0.06 ? 0 : random.next() < 0.15 ? 2 : 1;
    return { asked: Array.from({ length: copies }, delay), answered: random.next() < 0.05 ? "lost" : delay() };
  }

  /** An owner dies at some of its appends: before they take hold, or when they have and nobody has heard of it. */
  #trouble(member: Member): void {
    const random = this.#random.fork(`trouble-${member.index}`);
    const chance = random.next() * 0.04;
    member.beforeAppend = () => {
      if (this.#isHealed || !member.isUp) return;
      const dice = random.next();
      if (dice < chance) {
        // In an event of its own, at some moment of the append.
        this.#rig.scheduler.at(random.next() * this.#rig.appendMs, () => this.#kill(member, random));
      } else if (dice < 1.5 * chance) {
        member.outcomes.push({ kind: "full" });
      } else if (dice < 2 * chance) {
        member.outcomes.push({ kind: "unknown", fate: random.next() < 0.5 ? "committed" : "lost" });
      }
    };
    const killSometimes = () => {
      this.#rig.scheduler.at(20 + random.next() * 400, () => {
        if (this.#isHealed) return;
        if (random.next() < 0.15) this.#kill(member, random);
        killSometimes();
      });
    };
    killSometimes();
  }

  #kill(member: Member, random: SeededRandom): void {
    if (!member.isUp) return;
    this.#crashes++;
    member.crash({ commitUnfinished: random.next() < 0.5 });
    if (random.next() < 0.2) member.engine.lose();
    this.#rig.scheduler.at(random.next() * (random.next() < 0.1 ? 2000 : 40), () => void member.open());
  }

  // ------------------------------------------------------------------------------------------------------------ clients

  async #client(): Promise<void> {
    const steps = 2 + this.#random.integer(3);
    for (let i = 0; i < steps; i++) {
      await this.#rig.sleep(this.#random.next() * 20);
      const dice = this.#random.next();
      if (dice < 0.6) await this.#move();
      else if (dice < 0.85) await this.#audit();
      else await this.#look();
    }
  }

  async #move(): Promise<void> {
    const random = this.#random;
    const name = `m${++this.#count}`;
    const touched = random.shuffle(this.#purses).slice(0, 2 + random.integer(Math.min(2, this.#purses.length - 1)));
    const cents = random.next() < 0.1 ? 5000 : 1 + random.integer(20);
    const beganMs = this.#rig.scheduler.nowMs;
    const began = { name, beganMs, appended: touched };
    const answer = await this.#persist(() =>
      this.#rig.transaction("move", { ids: touched, cents, name }, { idempotencyKey: name, deadlineMs: 3000 }),
    );
    if (answer === "unknown") this.#inDoubt.push(began);
    else if (answer instanceof Refused) this.#refused.push(name);
    else {
      const output = answer.output as Record<string, readonly string[]>;
      const endedMs = this.#rig.scheduler.nowMs;
      this.#history.push({ ...began, endedMs, read: new Map(Object.entries(output)) });
    }
  }

  async #audit(): Promise<void> {
    const random = this.#random;
    const beganMs = this.#rig.scheduler.nowMs;
    const at = random.pick(this.#purses);
    const answer = await this.#persist(() =>
      this.#rig.transaction("audit", { ids: random.shuffle(this.#purses), at }, { deadlineMs: 3000 }),
    );
    if (answer === "unknown" || answer instanceof Refused) return;
    const seen = answer.output as Record<string, { cents: number; names: readonly string[] }>;
    const sum = Object.values(seen).reduce((total, { cents }) => total + cents, 0);
    assert(sum === startCents * this.#purses.length, `an audit found ${sum} cents`);
    this.#note(beganMs, new Map(Object.entries(seen).map(([id, { names }]) => [id, names])));
  }

  async #look(): Promise<void> {
    const id = this.#random.pick(this.#purses);
    const beganMs = this.#rig.scheduler.nowMs;
    const answer = await this.#persist(async () => ({ output: await this.#rig.query("purse", id, "look") }));
    if (answer === "unknown" || answer instanceof Refused) return;
    this.#note(beganMs, new Map([[id, (answer.output as { names: readonly string[] }).names]]));
  }

  #note(beganMs: number, read: Happened["read"]): void {
    this.#audits++;
    const endedMs = this.#rig.scheduler.nowMs;
    this.#history.push({ name: `read${++this.#count}`, beganMs, endedMs, appended: [], read });
  }

  /** Sends it again and again under its key, for a while. */
  async #persist(
    send: () => Promise<{ readonly output: Value | undefined }>,
  ): Promise<{ readonly output: Value | undefined } | Refused | "unknown"> {
    for (let attempt = 0; attempt < 12; attempt++) {
      try {
        return await send();
      } catch (error) {
        if (error instanceof Refused) return error;
        if (!(error instanceof OnefoldError) || error.retry === "never") throw error;
      }
      await this.#rig.sleep(this.#random.next() * 60);
    }
    return "unknown";
  }

  // -------------------------------------------------------------------------------------------------------------- checks

  async #check(): Promise<void> {
    assert(this.#rig.stops.length === 0, `a shard stopped: ${this.#rig.stops[0]?.message}`);
    const final = new Map<string, readonly string[]>();
    let sum = 0;
    for (const id of this.#purses) {
      const found = (await this.#rig.query("purse", id, "look")) as { cents: number; names: readonly string[] };
      sum += found.cents;
      final.set(id, found.names);
      assert(new Set(found.names).size === found.names.length, `a move took hold twice in ${id}`);
    }
    assert(sum === startCents * this.#purses.length, `in the end there are ${sum} cents`);
    const lists = [...final.values()];
    for (const name of this.#refused) assert(!lists.some((names) => names.includes(name)), `${name} was refused`);
    const known: Happened[] = [];
    for (const doubtful of this.#inDoubt) {
      const holds = doubtful.appended.filter((id) => final.get(id)!.includes(doubtful.name)).length;
      assert(holds === 0 || holds === doubtful.appended.length, `${doubtful.name} took hold in part`);
      if (holds > 0) known.push({ ...doubtful, endedMs: Number.POSITIVE_INFINITY, read: new Map() });
    }
    assertSerializable([...this.#history, ...known], final);
  }
}
