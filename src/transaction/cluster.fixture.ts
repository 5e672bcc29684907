/**
 * Several shards in one process and in virtual time, joined by neighbours that delay, lose, repeat and reorder what they ask each
 * other. Owners crash and are followed by others, who claim their logs with the next epoch.
 */
import { assert } from "../base/assert.ts";
import { OnefoldError } from "../base/errors.ts";
import { limits as defaultLimits, type Limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import { cloneValue, type Value } from "../base/value.ts";
import { slotOf } from "../base/ids.ts";
import { decodeBatch, type Entry } from "../entity/batch.ts";
import type { Core } from "../entity/core.ts";
import type { SystemHandle } from "../entity/definition.ts";
import { foldBatch, WriteSet } from "../entity/fold.ts";
import { appendGenesis, foldGenesis, readGenesis } from "../entity/genesis.ts";
import { entityName } from "../entity/keys.ts";
import type { Neighbours, ShardRequest } from "../entity/neighbours.ts";
import type { CallOptions, CallReply } from "../entity/service.ts";
import { tester } from "../entity/shard.fixture.ts";
import { Shard } from "../entity/shard.ts";
import { type InjectedOutcome, MemoryLogStorage, memoryLog } from "../log/engine/memory.ts";
import type { Log } from "../log/log.ts";
import { decodeRecord, encodeRecord, formatVersion } from "../log/record.ts";
import { type SimulatedHost, SimulatedNode, type TraceLine } from "../sim/host.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { type MemoryStoreEngine, memoryStore } from "../store/engine/memory.ts";
import { Coordinator } from "./coordinator.ts";

/** One request between shards, and what a test wants to become of it. */
export interface Crossing extends ShardRequest {
  readonly from: number;
  readonly to: number;
}

/** What becomes of a request, and of its answer: each copy arrives after its delay; no copy: it is lost. */
export interface Fate {
  readonly asked: readonly number[];
  readonly answered: number | "lost";
}

const promptly: Fate = { asked: [0.5], answered: 0.5 };

export interface ClusterOptions {
  readonly shards?: number;
  readonly seed?: string;
  readonly limits?: Partial<Limits>;
}

export class Member {
  readonly index: number;
  readonly node: SimulatedNode;
  readonly storage = new MemoryLogStorage();
  readonly engine: MemoryStoreEngine;
  /** What the next appends come to. */
  readonly outcomes: (InjectedOutcome | undefined)[] = [];
  readonly traces: TraceLine[] = [];
  readonly #rig: ClusterRig;
  shard: Shard | undefined = undefined;
  #core: Core | undefined = undefined;
  #host: SimulatedHost | undefined = undefined;
  /** Called before each append; may crash the member. */
  beforeAppend: (() => void) | undefined = undefined;
  /** Called when an append has taken hold, before anyone knows. */
  afterAppend: (() => void) | undefined = undefined;

  constructor(rig: ClusterRig, index: number, random: SeededRandom) {
    this.#rig = rig;
    this.index = index;
    const { scheduler } = rig;
    this.node = new SimulatedNode({
      scheduler,
      random: random.fork("node"),
      name: `shard-${index}`,
      onTrace: (line) => this.traces.push(line),
    });
    const timers = {
      after: (delayMs: number, callback: () => void) => this.#host!.timers.after(delayMs, callback),
      soon: (callback: () => void) => this.#host!.timers.soon(callback),
    };
    this.engine = memoryStore({ timers, random: random.fork("store") });
  }

  get isUp(): boolean {
    return this.shard !== undefined;
  }

  get core(): Core {
    assert(this.#core !== undefined, "the member is up");
    return this.#core;
  }

  /** Opens the shard as its next owner. */
  async open(): Promise<void> {
    const host = this.node.start();
    this.#host = host;
    const log = memoryLog({
      storage: this.storage,
      outcome: (record) => (record.kind === "batch" ? this.outcomes.shift() : undefined),
      delay: async (operation) => {
        if (operation !== "append") return;
        this.beforeAppend?.();
        await this.#rig.scheduler.sleep(this.#rig.appendMs);
      },
    });
    const { system } = this.#rig;
    if (log.end === null) await appendGenesis(log, host, system.definition.name);
    else await claim(log, host);
    const store = await this.engine.open();
    for await (const record of log.scan((store.position?.sequence ?? 0) + 1)) {
      const writes = new WriteSet();
      const extra = record.kind === "genesis" ? [foldGenesis(record.payload)] : [];
      if (record.kind === "batch") foldBatch(decodeBatch(record.payload), record.sequence, writes);
      const { incarnation, epoch, sequence, hash } = record;
      await store.apply([...extra, ...writes], { incarnation, epoch, sequence, hash });
    }
    const last = await log.read(log.end!.sequence);
    if (!host.life.alive) return;
    const shard = new Shard({
      host,
      limits: { ...defaultLimits, ...this.#rig.limits },
      system: system.definition,
      log,
      store,
      lastTimeMs: last!.timeMs,
      secret: readGenesis(store).secret,
      neighbours: this.#neighbours(host),
      transactions: (core) => {
        this.#core = core;
        return new Coordinator(core, host.newScope());
      },
      onStopped: (error) => this.#rig.stops.push(error),
    });
    shard.start();
    this.shard = shard;
  }

  #neighbours(host: SimulatedHost): Neighbours {
    return {
      isOwn: (slot) => this.#rig.indexOf(slot) === this.index,
      ask: (slot, request, { deadlineMs }) => {
        // Code of a dead owner does nothing in the world any more.
        if (!host.life.alive) return new Promise(() => undefined);
        return this.#rig.ask(this.index, host, slot, request, deadlineMs);
      },
    };
  }

  /** The owner dies; its unfinished append takes hold or not. */
  crash(options: { readonly commitUnfinished: boolean }): void {
    if (this.#host?.life.alive !== true) return;
    this.node.crash();
    this.storage.crash(options);
    this.engine.crash();
    this.outcomes.length = 0;
    this.shard = undefined;
    this.#core = undefined;
    this.#rig.crashed(this.index);
  }

  async restart(options: { readonly commitUnfinished?: boolean; readonly loseStore?: boolean } = {}): Promise<void> {
    this.crash({ commitUnfinished: options.commitUnfinished ?? false });
    if (options.loseStore === true) this.engine.lose();
    await this.open();
  }

  /** All entries of the log. */
  entries(): readonly Entry[] {
    const found: Entry[] = [];
    for (let sequence = 2; ; sequence++) {
      const bytes = this.storage.get(sequence);
      if (bytes === undefined) return found;
      const record = decodeRecord(bytes);
      if (record.kind === "batch") found.push(...decodeBatch(record.payload));
    }
  }

  /** What its log says of transactions over several shards, in order: `prepared`, `decision`, … */
  parts(): readonly string[] {
    return this.entries().flatMap(({ transaction: part }) => {
      if (part === null) return [];
      if (part.type === "outcome") return [part.isCommit ? "commit" : "abort"];
      return [part.type];
    });
  }
}

async function claim(log: Log, host: SimulatedHost): Promise<void> {
  const { incarnation, epoch, sequence, hash } = log.end!;
  const last = await log.read(sequence);
  const header = {
    kind: "claim",
    readerVersion: formatVersion,
    incarnation,
    epoch: epoch + 1,
    sequence: sequence + 1,
    timeMs: Math.max(last!.timeMs, host.clock.wallMs()),
    previousHash: hash,
  } as const;
  const outcome = await log.append(encodeRecord(header, new Uint8Array(0)).bytes);
  assert(outcome.kind === "appended", "the claim stands");
}

export class ClusterRig {
  readonly scheduler = new Scheduler({ eventsMax: 3_000_000 });
  readonly random: SeededRandom;
  readonly system: SystemHandle;
  readonly members: readonly Member[];
  readonly limits: Partial<Limits>;
  readonly stops: OnefoldError[] = [];
  /** All requests between shards, in order. */
  readonly crossings: Crossing[] = [];
  appendMs = 1;
  /** What becomes of a request; promptly done by default. */
  fate: (crossing: Crossing) => Fate = () => promptly;
  #crashed: (() => void)[][] = [];

  constructor(system: SystemHandle, options: ClusterOptions = {}) {
    this.system = system;
    this.random = new SeededRandom(options.seed ?? "cluster");
    this.limits = options.limits ?? {};
    const count = options.shards ?? 2;
    this.members = Array.from({ length: count }, (_, i) => new Member(this, i, this.random.fork(`member-${i}`)));
    this.#crashed = this.members.map(() => []);
  }

  static async run(system: SystemHandle, body: (rig: ClusterRig) => Promise<void>, options: ClusterOptions = {}) {
    const rig = new ClusterRig(system, options);
    const all = async () => {
      for (const member of rig.members) await member.open();
      await body(rig);
    };
    await rig.scheduler.complete(all(), { untilMs: 30 * 60_000 });
    rig.end();
  }

  /** Ends all lives: what follows asynchronous calls in them makes every promise dearer as long as it goes on. */
  end(): void {
    for (const { node } of this.members) node.crash();
  }

  indexOf(slot: number): number {
    return slot % this.members.length;
  }

  /** The `count`-th id from `from` on whose entity is at that shard. */
  idAt(kind: string, shard: number, prefix = "e"): string {
    for (let i = 0; ; i++) {
      const id = `${prefix}${i}`;
      if (this.indexOf(slotOf(kind, id, "default")) === shard) return id;
    }
  }

  ownerOf(kind: string, id: string): Member {
    return this.members[this.indexOf(slotOf(kind, id, "default"))]!;
  }

  // ------------------------------------------------------------------------------------------------ between the shards

  ask(from: number, host: SimulatedHost, slot: number, request: ShardRequest, deadlineMs: number): Promise<Value> {
    const to = this.indexOf(slot);
    const crossing = { from, to, ...request };
    this.crossings.push(crossing);
    const fate = this.fate(crossing);
    return new Promise((resolve, reject) => {
      const inLife = (settle: () => void) => {
        if (host.life.alive) settle();
      };
      const unknown = new OnefoldError("outcome-unknown", "No answer came.");
      this.scheduler.at(deadlineMs, () => inLife(() => reject(unknown)));
      for (const delayMs of fate.asked) {
        this.scheduler.at(delayMs, () => {
          const { shard } = this.members[to]!;
          const back = (settle: () => void) => {
            if (fate.answered !== "lost") this.scheduler.at(fate.answered, () => inLife(settle));
          };
          if (shard === undefined) {
            return back(() => reject(new OnefoldError("unavailable", "The shard has no owner just now.")));
          }
          shard.answer(request.type, cloneValue(request.body) as Value).then(
            (answer) => back(() => resolve(cloneValue(answer) as Value)),
            (error: unknown) => back(() => reject(error)),
          );
        });
      }
    });
  }

  // ------------------------------------------------------------------------------------------------------------- calls

  crashed(index: number): void {
    for (const settle of this.#crashed[index]!.splice(0)) settle();
  }

  /** Calls a member as a client on another machine does: whose death it hears of, but not what became of the call. */
  call<T>(member: Member, run: (shard: Shard) => Promise<T>): Promise<T> {
    const { shard } = member;
    if (shard === undefined) return Promise.reject(new OnefoldError("unavailable", "The shard has no owner just now."));
    return new Promise((resolve, reject) => {
      this.#crashed[member.index]!.push(() => reject(new OnefoldError("outcome-unknown", "The owner has died.")));
      run(shard).then(resolve, reject);
    });
  }

  /** Runs a transaction at its home, wherever that is. */
  async transaction(name: string, input: unknown, options: Partial<CallOptions> = {}): Promise<CallReply> {
    const call = (member: Member) =>
      this.call(member, (shard) => shard.transaction(name, input, { principal: tester, ...options }));
    try {
      return await call(this.members[0]!);
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "not-owner") throw error;
      const { slot } = error.details as { readonly slot: number };
      return call(this.members[this.indexOf(slot)]!);
    }
  }

  async command(kind: string, id: string, name: string, input: unknown, options: Partial<CallOptions> = {}) {
    const run = (shard: Shard) => shard.command({ kind, id }, name, input, { principal: tester, ...options });
    return (await this.call(this.ownerOf(kind, id), run)).output;
  }

  async query(kind: string, id: string, name: string): Promise<Value | undefined> {
    const run = (shard: Shard) => shard.query({ kind, id }, name, undefined, { principal: tester });
    return (await this.call(this.ownerOf(kind, id), run)).output;
  }

  // --------------------------------------------------------------------------------------------------------------- time

  sleep(durationMs: number): Promise<void> {
    return this.scheduler.sleep(durationMs);
  }

  async until(condition: () => boolean, boundMs = 60_000): Promise<void> {
    const endMs = this.scheduler.nowMs + boundMs;
    while (!condition()) {
      assert(this.scheduler.nowMs < endMs, `the condition did not come to hold within ${boundMs} ms`);
      await this.sleep(1);
    }
  }

  /** Nothing is prepared, decided and untold, open, or on its way to a log anywhere. */
  get isAtRest(): boolean {
    return this.members.every(({ core, shard }) => {
      const { transactions } = core.working;
      if (transactions.preparedCount > 0 || transactions.decisionCount > 0) return false;
      return shard!.load.transactions === 0 && !core.committer.isBusy;
    });
  }

  /** Nobody holds or waits for the entity's lock. */
  isFree(kind: string, id: string): boolean {
    const live = this.ownerOf(kind, id).core.working.cached(entityName("default", kind, id));
    return live?.lock === undefined || live.lock.isFree;
  }
}
