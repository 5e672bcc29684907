/**
 * Numbered requests at a few slots against a naive model, over everything that a shard's memory goes through: batches that
 * become durable late or never, a store that lags behind, sessions that are forgotten and loaded, crashes, expiry, and clients
 * whose requests overtake each other and come again long after they were answered.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { compareBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import type { RangeOptions, Store, Entry as StoreEntry, StoreReader } from "../store/store.ts";
import type { Entry } from "./batch.ts";
import { foldBatch, WriteSet } from "./fold.ts";
import { binaryOfBytes, keys } from "./keys.ts";
import { Requests } from "./requests.ts";
import { WorkingSet } from "./working-set.ts";

class NaiveStore implements StoreReader {
  readonly #entries = new Map<string, StoreEntry>();
  readonly position = null;

  get size(): number {
    return this.#entries.size;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#entries.get(binaryOfBytes(key))?.value;
  }

  *range({ from, to, limit = Number.POSITIVE_INFINITY }: RangeOptions): Iterable<StoreEntry> {
    const inRange = ({ key }: StoreEntry) => compareBytes(key, from) >= 0 && compareBytes(key, to) < 0;
    const found = [...this.#entries.values()].filter(inRange).sort((a, b) => compareBytes(a.key, b.key));
    yield* found.slice(0, limit);
  }

  apply(batches: readonly Batch[]): void {
    const writes = new WriteSet();
    for (const { entries, sequence } of batches) foldBatch(entries, sequence, writes);
    for (const { key, value } of writes) {
      if (value === null) this.#entries.delete(binaryOfBytes(key));
      else this.#entries.set(binaryOfBytes(key), { key, value });
    }
  }
}

interface Batch {
  readonly sequence: number;
  readonly entries: Entry[];
}

interface Sent {
  readonly number: number;
  readonly lowest: number;
  readonly slot: number;
}

interface Client {
  readonly id: string;
  readonly expiresMs: number;
  /** Numbers without an answer, and the slot that each goes to. */
  readonly open: Map<number, number>;
  readonly sent: Sent[];
  lastNumber: number;
}

/** What ran, and what was acknowledged with it. */
interface Run extends Sent {
  readonly client: Client;
  readonly outcome: string;
  readonly sequence: number;
}

const endless = 1e9;

/** A shard's memory of requests, without the shard. */
class Slots {
  readonly #random: SeededRandom;
  readonly #requests = new Requests({ secret: new Uint8Array(32), incarnation: new Uint8Array(16), limits });
  readonly #store = new NaiveStore();
  #working = this.#newWorkingSet();
  readonly #clients: readonly Client[];
  readonly #slotCount: number;
  readonly #openMax: number;
  #nowMs = 1000;
  #open: Entry[] = [];
  #inFlight: Batch | undefined;
  #unapplied: Batch[] = [];
  #durable = 0;
  #runs: Run[] = [];

  constructor(seed: string) {
    this.#random = new SeededRandom(seed);
    const random = this.#random;
    this.#openMax = random.between(1, 10);
    this.#slotCount = random.between(1, 3);
    this.#clients = Array.from({ length: random.between(1, 3) }, (_, index) => ({
      id: String(index).repeat(16),
      expiresMs: random.chance(0.3) ? this.#nowMs + random.between(50, 400) : endless,
      open: new Map(),
      sent: [],
      lastNumber: 0,
    }));
  }

  #newWorkingSet(): WorkingSet {
    return new WorkingSet(this.#store as unknown as Store, 1e6);
  }

  get #openSequence(): number {
    return this.#durable + (this.#inFlight === undefined ? 1 : 2);
  }

  step(): void {
    const random = this.#random;
    const dice = random.next();
    if (dice < 0.62) this.#send(random.pick(this.#clients));
    else if (dice < 0.74) this.#append();
    else if (dice < 0.84) this.#apply(random.between(1, 3));
    else if (dice < 0.87) this.#evict();
    else if (dice < 0.91) this.#drop();
    else if (dice < 0.93) this.#crash();
    else if (dice < 0.97) this.#nowMs += random.between(1, 60);
    else this.#expire(random.between(1, 6));
  }

  #send(client: Client): void {
    const { number, lowest, slot } = this.#choose(client);
    const request = { type: "session", session: client.id, expiresMs: client.expiresMs, number, lowest } as const;
    const ran = this.#runs.find((run) => run.client === client && run.number === number);
    let found: ReturnType<Requests["find"]>;
    try {
      found = this.#requests.find(request, slot, this.#working, this.#nowMs);
    } catch (error) {
      return this.#assertRightlyRefused(error, client, { number, lowest, slot });
    }
    if (found !== undefined) {
      assert(found.outcome instanceof Uint8Array);
      assert.equal(Buffer.from(found.outcome).toString(), ran?.outcome, "it is answered with its own outcome");
      assert(found.sequence === ran?.sequence || (found.sequence === 0 && ran!.sequence <= this.#durable));
    } else {
      assert.equal(ran, undefined, `${number} of ${client.id} would run again`);
      const key = this.#requests.resultKey(request, slot, this.#working, this.#nowMs);
      assert(key.type === "session");
      const outcome = `${client.id}.${number}.${this.#random.next()}`;
      const sequence = this.#takeIn({ result: { key, outcome: Buffer.from(outcome) } });
      this.#runs.push({ client, number, slot, outcome, sequence, lowest });
    }
    this.#answer();
  }

  /** Another request, in any order, or one that was sent before, as it was sent then. */
  #choose(client: Client): Sent {
    const random = this.#random;
    if (client.sent.length > 0 && random.chance(0.3)) return random.pick(client.sent.slice(-30));
    while (client.open.size < this.#openMax) client.open.set(++client.lastNumber, random.between(1, this.#slotCount));
    const number = random.pick([...client.open.keys()]);
    const sent = { number, lowest: Math.min(...client.open.keys()), slot: client.open.get(number)! };
    client.sent.push(sent);
    return sent;
  }

  #assertRightlyRefused(error: unknown, client: Client, { number, slot }: Sent): void {
    if (!(error instanceof OnefoldError)) throw error;
    if (error.code === "session-expired") return assert(client.expiresMs <= this.#nowMs);
    if (error.code !== "request-forgotten") throw error;
    const told = this.#runs.filter((run) => run.client === client && run.slot === slot).map(({ lowest }) => lowest);
    assert(number < Math.max(0, ...told), `${number} of ${client.id} has not been acknowledged`);
  }

  /** Some clients hear of what has become durable. */
  #answer(): void {
    for (const { client, number, sequence } of this.#runs) {
      if (sequence <= this.#durable && this.#random.chance(0.5)) client.open.delete(number);
    }
  }

  #takeIn(part: Partial<Entry>): number {
    const entry: Entry = {
      origin: "call",
      command: "write",
      subject: "tester",
      effects: [],
      messages: [],
      consumed: null,
      deadLetter: null,
      result: null,
      expired: [],
      delivered: [],
      transaction: null,
      ...part,
    };
    this.#open.push(entry);
    this.#working.absorb(entry, this.#openSequence, () => undefined);
    return this.#openSequence;
  }

  #append(): void {
    if (this.#inFlight === undefined && this.#open.length > 0) {
      this.#inFlight = { sequence: this.#openSequence, entries: this.#open };
      this.#open = [];
    }
    if (this.#random.chance(0.6)) this.#becomeDurable();
    this.#answer();
  }

  #becomeDurable(): void {
    if (this.#inFlight === undefined) return;
    this.#unapplied.push(this.#inFlight);
    this.#durable = this.#inFlight.sequence;
    this.#inFlight = undefined;
  }

  #apply(countMax: number): void {
    const batches = this.#unapplied.splice(0, countMax);
    if (batches.length === 0) return;
    this.#store.apply(batches);
    const entries = batches.flatMap((batch) => batch.entries);
    const results = entries.flatMap(({ result }) => (result === null ? [] : [result.key]));
    this.#working.applied({ entries, results }, batches.at(-1)!.sequence);
  }

  /** D3, without waiting for the bound. */
  #evict(): void {
    const { sessions, appliedSequence } = this.#working;
    for (const { id } of this.#clients) {
      for (let slot = 1; slot <= this.#slotCount; slot++) {
        const at = keys.session(slot, id);
        if (this.#random.chance(0.7) && !sessions.hasUnapplied(at, appliedSequence)) sessions.remove(at);
      }
    }
  }

  #forgetSpeculation(): void {
    this.#open = [];
    this.#inFlight = undefined;
    this.#runs = this.#runs.filter(({ sequence }) => sequence <= this.#durable);
  }

  /** The append has failed, and nothing is lost but what depended on it. */
  #drop(): void {
    this.#forgetSpeculation();
    this.#working.clear();
    for (const { entries, sequence } of this.#unapplied) {
      for (const entry of entries) this.#working.absorb(entry, sequence, () => undefined);
    }
  }

  #crash(): void {
    if (this.#random.chance(0.5)) this.#becomeDurable();
    this.#forgetSpeculation();
    this.#store.apply(this.#unapplied.splice(0));
    this.#working = this.#newWorkingSet();
    this.#working.appliedSequence = this.#durable;
  }

  #expire(countMax: number): boolean {
    const expired = Requests.expired(this.#store, this.#working, this.#nowMs, countMax);
    if (expired.length > 0) this.#takeIn({ origin: "admin", expired });
    return expired.length > 0;
  }

  /** Every session ends. How many rows they leave behind. */
  end(): number {
    this.#nowMs = 2 * endless;
    for (let round = 0; round < 1000; round++) {
      if (!this.#expire(5) && this.#open.length === 0 && this.#inFlight === undefined && this.#unapplied.length === 0)
        break;
      this.#append();
      this.#becomeDurable();
      this.#apply(10);
    }
    return this.#store.size;
  }
}

describe("numbered requests, whatever a shard's memory goes through,", () => {
  test("run once, get their own outcome again until it is acknowledged, and leave nothing behind in the end", () => {
    for (let seed = 0; seed < 200; seed++) {
      try {
        const slots = new Slots(`life ${seed}`);
        for (let step = 0; step < 300; step++) slots.step();
        assert.equal(slots.end(), 0, "rows that stay behind");
      } catch (cause) {
        throw new Error(`seed ${seed}: ${(cause as Error).message}`, { cause });
      }
    }
  });
});
