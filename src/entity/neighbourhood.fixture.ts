/**
 * Several shards in one virtual time, each with some of the slots, joined by a network that loses, repeats and delays what they
 * ask each other, as a seed or a script says; with crashes, changes of owner and splits.
 */
import { assert } from "../base/assert.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import { cloneValue, type Value } from "../base/value.ts";
import { memoryLog, MemoryLogStorage } from "../log/engine/memory.ts";
import type { LogPosition } from "../log/log.ts";
import { decodeRecord } from "../log/record.ts";
import type { SimulatedHost } from "../sim/host.ts";
import { Scheduler } from "../sim/scheduler.ts";
import type { Entry as Row } from "../store/store.ts";
import { decodeBatch, type Entry } from "./batch.ts";
import type { SystemHandle } from "./definition.ts";
import { continuingGenesis, readGenesisPayload } from "./genesis.ts";
import { decodeRun, mailDeliver } from "./mail-run.ts";
import type { Neighbours, ShardRequest } from "./neighbours.ts";
import { ShardRig } from "./shard.fixture.ts";
import { rowsOfSlots, type SlotRange } from "./slots.ts";

/** What becomes of one request. */
export interface Fate {
  /** After how long each copy of it arrives; none if it is lost. */
  readonly arrivalsMs: readonly number[];
  /** After how long the answer to each copy is there; undefined for one that is lost. */
  readonly answersMs: readonly (number | undefined)[];
}

export const prompt: Fate = { arrivalsMs: [1], answersMs: [1] };

/** A shard's slots, and who owns it now. */
export interface Member<S extends SystemHandle> {
  readonly name: string;
  readonly range: SlotRange;
  rig: ShardRig<S>;
  isUp: boolean;
  /** Its owner before, which does not know that it is none any more. */
  zombie: ShardRig<S> | undefined;
  /** What a split has left for it: the snapshot that its log stands on. */
  base: Base | undefined;
}

interface Base {
  readonly rows: readonly Row[];
  readonly position: LogPosition;
}

export interface NeighbourhoodOptions {
  readonly seed?: string;
  /** First slots of the second and later shards, ascending. */
  readonly cuts: readonly number[];
  readonly limits?: Partial<Limits>;
}

const slotCount = 4096;
const runMsMax = 30 * 60_000;

export class Neighbourhood<S extends SystemHandle> {
  readonly scheduler = new Scheduler({ eventsMax: 5_000_000 });
  readonly random: SeededRandom;
  readonly members: Member<S>[] = [];
  /** Logs of shards that were split. */
  readonly ended: MemoryLogStorage[] = [];
  /** What happened between the shards, a line each. */
  readonly transcript: string[] = [];
  /** Asked for every request; by default all arrive. */
  fateOf: (request: ShardRequest) => Fate = () => prompt;
  /** Whether a request goes to an owner that is none any more, where there is one. */
  findsZombie: () => boolean = () => false;
  readonly #system: S;
  readonly #options: NeighbourhoodOptions;
  #rigCount = 0;

  constructor(system: S, options: NeighbourhoodOptions) {
    this.random = new SeededRandom(options.seed ?? "neighbourhood");
    this.#system = system;
    this.#options = options;
    const firsts = [0, ...options.cuts];
    for (const [index, firstSlot] of firsts.entries()) {
      const range = { firstSlot, lastSlot: (firsts[index + 1] ?? slotCount) - 1 };
      this.#join(String.fromCharCode(65 + index), range, new MemoryLogStorage());
    }
  }

  /** A body in virtual time, with all shards open. */
  static run<S extends SystemHandle>(
    system: S,
    options: NeighbourhoodOptions,
    body: (hood: Neighbourhood<S>) => Promise<void>,
  ): Promise<void> {
    const hood = new Neighbourhood(system, options);
    const all = async (): Promise<void> => {
      for (const member of hood.members) await hood.open(member);
      await body(hood);
    };
    return hood.scheduler.complete(all(), { untilMs: runMsMax });
  }

  #join(name: string, range: SlotRange, storage: MemoryLogStorage): Member<S> {
    const rig = this.#rig(range, storage);
    const member: Member<S> = { name, range, rig, isUp: false, zombie: undefined, base: undefined };
    this.members.push(member);
    return member;
  }

  #rig(range: SlotRange, storage: MemoryLogStorage): ShardRig<S> {
    const { limits } = this.#options;
    return new ShardRig(this.#system, {
      seed: `${this.#options.seed} ${this.#rigCount++}`,
      scheduler: this.scheduler,
      storage,
      neighbours: (host) => this.#neighbours(range, host),
      ...(limits === undefined ? {} : { limits }),
    });
  }

  memberOf(slot: number): Member<S> {
    return this.members.find(({ range }) => isIn(range, slot))!;
  }

  // -------------------------------------------------------------------------------------------------- what shards live

  async open(member: Member<S>): Promise<void> {
    await load(member);
    await member.rig.open();
    member.isUp = true;
  }

  /** Until `open`, whoever asks it hears `unavailable`. */
  crash(member: Member<S>, options: { readonly loseStore?: boolean; readonly commitUnfinished?: boolean } = {}): void {
    member.isUp = false;
    member.rig.crash(options);
  }

  /** Another process takes the log over, from nothing but that. The one before goes on, but nothing enters the log. */
  async depose(member: Member<S>): Promise<void> {
    member.zombie?.node.crash();
    member.zombie = member.rig;
    member.isUp = false;
    member.rig.storage.crash({ commitUnfinished: this.random.chance(0.5) });
    member.rig = this.#rig(member.range, member.rig.storage);
    await this.open(member);
  }

  /** In place of an idle shard there are two, the second of which begins with `cut`. */
  async split(member: Member<S>, cut: number): Promise<readonly Member<S>[]> {
    const { rig: parent, range, name } = member;
    await parent.shard.close();
    member.isUp = false;
    this.ended.push(parent.storage);
    this.members.splice(this.members.indexOf(member), 1);
    const children = [
      { firstSlot: range.firstSlot, lastSlot: cut - 1 },
      { firstSlot: cut, lastSlot: range.lastSlot },
    ].map((part, index) => this.#join(`${name}${index + 1}`, part, new MemoryLogStorage()));
    for (const child of children) {
      await begin(parent, child);
      await this.open(child);
    }
    parent.node.crash();
    member.zombie?.node.crash();
    return children;
  }

  // ------------------------------------------------------------------------------------------------------ the network

  #neighbours(range: SlotRange, host: SimulatedHost): Neighbours {
    return {
      isOwn: (slot) => isIn(range, slot),
      ask: (slot, request, { deadlineMs }) => this.#ask(slot, request, deadlineMs, host),
    };
  }

  #ask(slot: number, request: ShardRequest, deadlineMs: number, asker: SimulatedHost): Promise<Value> {
    // Code of a dead process asks nobody, and no answer reaches it.
    if (!asker.life.alive) return new Promise(() => undefined);
    const fate = this.fateOf(request);
    this.#note(`${nameOf(request)} asked${fate.arrivalsMs.length === 0 ? ", and lost" : ""}`);
    return new Promise((resolve, reject) => {
      const ifAlive = (settle: () => void) => (asker.life.alive ? settle() : undefined);
      const unknown = new OnefoldError("outcome-unknown", "No answer came within the deadline.");
      this.scheduler.at(deadlineMs, () => ifAlive(() => reject(unknown)));
      fate.arrivalsMs.forEach((arrivalMs, copy) => {
        const answerMs = fate.answersMs[copy];
        const arrive = async (): Promise<void> => {
          const outcome = await this.#handle(slot, request);
          this.#note(`${nameOf(request)} ${outcome.text}${answerMs === undefined ? ", and the answer is lost" : ""}`);
          if (answerMs === undefined) return;
          this.scheduler.at(answerMs, () => ifAlive(() => outcome.settle(resolve, reject)));
        };
        this.scheduler.at(arrivalMs, () => void arrive());
      });
    });
  }

  /** Never resolves where the process dies that was asked. */
  async #handle(slot: number, { type, body }: ShardRequest): Promise<Answer> {
    const member = this.memberOf(slot);
    const rig = member.zombie !== undefined && this.findsZombie() ? member.zombie : member.rig;
    const { life } = rig.host;
    const answer = member.isUp ? await answerOf(rig.shard.answer(type, cloneValue(body))) : refusal(unavailable());
    return life.alive ? answer : new Promise(() => undefined);
  }

  #note(line: string): void {
    this.transcript.push(line);
  }

  // ------------------------------------------------------------------------------------------------- what logs say

  /** All entries of all logs, each log's in order, those of parents before those of their children. */
  entries(): readonly Entry[] {
    return [...this.ended, ...this.members.map(({ rig }) => rig.storage)].flatMap(entriesOf);
  }
}

interface Answer {
  readonly text: string;
  settle(resolve: (answer: Value) => void, reject: (error: unknown) => void): void;
}

async function answerOf(promise: Promise<Value>): Promise<Answer> {
  try {
    const value = await promise;
    const { through } = value as { readonly through?: number };
    return { text: `answered: through ${through}`, settle: (resolve) => resolve(cloneValue(value)) };
  } catch (error) {
    return refusal(error);
  }
}

function refusal(error: unknown): Answer {
  const text = error instanceof OnefoldError ? error.code : String(error);
  return { text: `refused: ${text}`, settle: (_resolve, reject) => reject(error) };
}

function unavailable(): OnefoldError {
  return new OnefoldError("unavailable", "The shard has no owner now.");
}

/** The child's log and store, from what its parent's hold. */
async function begin<S extends SystemHandle>(parent: ShardRig<S>, child: Member<S>): Promise<void> {
  const end = parent.log.end!;
  assert(parent.store.position?.sequence === end.sequence, "a shard is split when its store has all of its log");
  const { timeMs } = decodeRecord(parent.storage.get(end.sequence)!);
  const { host, storage } = child.rig;
  const before = { ...end, incarnation: host.random.bytes(16), timeMs };
  storage.trim(end.sequence + 1, before);
  const { record } = continuingGenesis(readGenesisPayload(parent.store), end, before, host.clock);
  const outcome = await memoryLog({ storage }).append(record.bytes);
  assert(outcome.kind === "appended", "a child's log begins");
  child.base = { rows: [...rowsOfSlots(parent.store, child.range)], position: before };
}

/** What its log stands on, where its store has nothing. */
async function load<S extends SystemHandle>({ rig, base }: Member<S>): Promise<void> {
  if (base === undefined) return;
  const store = await rig.engine.open();
  if (store.position === null) await store.apply(base.rows, base.position);
  await store.close();
}

function entriesOf(storage: MemoryLogStorage): readonly Entry[] {
  const found: Entry[] = [];
  for (let sequence = storage.firstSequence; sequence < storage.firstSequence + storage.count; sequence++) {
    const { kind, payload } = decodeRecord(storage.get(sequence)!);
    if (kind === "batch") found.push(...decodeBatch(payload));
  }
  return found;
}

function isIn({ firstSlot, lastSlot }: SlotRange, slot: number): boolean {
  return slot >= firstSlot && slot <= lastSlot;
}

function nameOf({ type, body }: ShardRequest): string {
  if (type !== mailDeliver) return type;
  const { messages } = decodeRun(body);
  const [first, last] = [messages[0]!.number, messages.at(-1)!.number];
  return first === last ? `${first}` : `${first}–${last}`;
}
