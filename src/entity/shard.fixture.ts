/**
 * A shard for tests: the real core on a memory log and a memory store, in virtual time, with its crashes and restarts and
 * every outcome of an append in the test's hands.
 */
import { assert } from "../base/assert.ts";
import type { OnefoldError } from "../base/errors.ts";
import { limits as defaultLimits, type Limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import type { Timers } from "../host/host.ts";
import { type InjectedOutcome, MemoryLogStorage, memoryLog } from "../log/engine/memory.ts";
import type { Log } from "../log/log.ts";
import { decodeRecord, type LogRecord } from "../log/record.ts";
import { appendGenesis, foldGenesis, readGenesis } from "./genesis.ts";
import { inProcessClient } from "../runtime/in-process-client.ts";
import { type SimulatedHost, SimulatedNode, type TraceLine } from "../sim/host.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { type MemoryStoreEngine, memoryStore } from "../store/engine/memory.ts";
import type { Store, Write } from "../store/store.ts";
import { Coordinator } from "../transaction/coordinator.ts";
import { decodeBatch, type Entry } from "./batch.ts";
import type { Client } from "./client-types.ts";
import type { SystemHandle } from "./definition.ts";
import { foldBatch, WriteSet } from "./fold.ts";
import type { Neighbours } from "./neighbours.ts";
import type { CallOptions, Principal } from "./service.ts";
import { Shard } from "./shard.ts";

export const tester: Principal = { tenant: "default", subject: "tester", scopes: ["*"] };

export interface RigOptions {
  readonly limits?: Partial<Limits>;
  readonly cacheBytes?: number;
  readonly seed?: string;
  /** For several shards in one virtual time. By default a shard has its own. */
  readonly scheduler?: Scheduler;
  /** A log that exists already. */
  readonly storage?: MemoryLogStorage;
  /** The shards of other slots, for each life of the process. */
  readonly neighbours?: (host: SimulatedHost) => Neighbours;
}

/** Longest virtual time that one `run` may take: what has not happened by then never will. */
const runMsMax = 30 * 60_000;

export class ShardRig<S extends SystemHandle> {
  readonly scheduler: Scheduler;
  readonly node: SimulatedNode;
  readonly storage: MemoryLogStorage;
  readonly engine: MemoryStoreEngine;
  /** What the next appends come to, in order; past its end they succeed. Undefined entries succeed too. */
  readonly outcomes: (InjectedOutcome | undefined)[] = [];
  readonly traces: TraceLine[] = [];
  readonly stops: { readonly error: OnefoldError; readonly isDamage: boolean }[] = [];
  /** How long an append takes. */
  appendMs = 1;
  system: S;
  #options: RigOptions;
  #host: SimulatedHost;
  #shard: Shard | undefined;
  #store: Store | undefined;
  #log: Log | undefined;
  #gate: Promise<void> | undefined;
  #openGate: (() => void) | undefined;
  #appendCount = 0;

  constructor(system: S, options: RigOptions = {}) {
    const random = new SeededRandom(options.seed ?? "shard");
    this.system = system;
    this.#options = options;
    this.scheduler = options.scheduler ?? new Scheduler({ eventsMax: 1_000_000 });
    this.storage = options.storage ?? new MemoryLogStorage();
    this.node = new SimulatedNode({
      scheduler: this.scheduler,
      random: random.fork("node"),
      onTrace: (line) => this.traces.push(line),
    });
    this.#host = this.node.start();
    const timers: Timers = {
      after: (delayMs, callback) => this.#host.timers.after(delayMs, callback),
      soon: (callback) => this.#host.timers.soon(callback),
    };
    this.engine = memoryStore({ timers, random: random.fork("store") });
  }

  /** A shard that serves, in a body that runs in virtual time. */
  static run<S extends SystemHandle>(
    system: S,
    body: (rig: ShardRig<S>, client: Client<S>) => Promise<void>,
    options: RigOptions = {},
  ): Promise<void> {
    const rig = new ShardRig(system, options);
    return rig.run(async () => {
      await rig.open();
      await body(rig, rig.client());
    });
  }

  /** Runs virtual time until `body` has ended; fails if it never does. */
  run<T>(body: () => Promise<T>): Promise<T> {
    return this.scheduler.complete(body(), { untilMs: this.scheduler.nowMs + runMsMax });
  }

  get shard(): Shard {
    assert(this.#shard !== undefined, "the rig is open");
    return this.#shard;
  }

  get store(): Store {
    assert(this.#store !== undefined, "the rig is open");
    return this.#store;
  }

  get log(): Log {
    assert(this.#log !== undefined, "the rig is open");
    return this.#log;
  }

  get host(): SimulatedHost {
    return this.#host;
  }

  /** Appends that were begun in all lives. */
  get appendCount(): number {
    return this.#appendCount;
  }

  client(principal: Principal = tester): Client<S> {
    return inProcessClient(this.system, this.shard, principal);
  }

  /** Calls a command with everything that a caller may say about it. */
  async command(kind: string, id: string, name: string, input: unknown, options: Partial<CallOptions> = {}) {
    return this.shard.command({ kind, id }, name, input, { principal: tester, ...options });
  }

  async transaction(name: string, input: unknown, options: Partial<CallOptions> = {}) {
    return this.shard.transaction(name, input, { principal: tester, ...options });
  }

  async open(): Promise<void> {
    const log = memoryLog({
      storage: this.storage,
      outcome: (record: LogRecord) => (record.kind === "genesis" ? undefined : this.outcomes.shift()),
      delay: async (operation) => {
        if (operation !== "append") return;
        this.#appendCount++;
        await this.sleep(this.appendMs);
        await this.#gate;
      },
    });
    this.#log = log;
    if (log.end === null) await appendGenesis(log, this.#host, this.system.definition.name);
    const store = await this.engine.open();
    this.#store = store;
    await replay(log, store);
    const last = await log.read(log.end!.sequence);
    this.#shard = new Shard({
      host: this.#host,
      limits: { ...defaultLimits, ...this.#options.limits },
      system: this.system.definition,
      log,
      store,
      lastTimeMs: last!.timeMs,
      secret: readGenesis(store).secret,
      ...(this.#options.neighbours === undefined ? {} : { neighbours: this.#options.neighbours(this.#host) }),
      ...(this.#options.cacheBytes === undefined ? {} : { cacheBytes: this.#options.cacheBytes }),
      transactions: (core) => new Coordinator(core, this.#host.newScope()),
      onStopped: (error, { isDamage }) => this.stops.push({ error, isDamage }),
    });
    this.#shard.start();
  }

  /** The process dies and a new one opens what it left. `system` replaces the code. */
  async restart(
    options: { readonly system?: S; readonly loseStore?: boolean; readonly commitUnfinished?: boolean } = {},
  ) {
    this.crash(options);
    if (options.system !== undefined) this.system = options.system;
    await this.open();
  }

  /** The process dies; `open` begins the next one. */
  crash(options: { readonly loseStore?: boolean; readonly commitUnfinished?: boolean } = {}): void {
    this.node.crash();
    this.storage.crash({ commitUnfinished: options.commitUnfinished ?? false });
    this.engine.crash();
    if (options.loseStore === true) this.engine.lose();
    this.openGate();
    this.outcomes.length = 0;
    this.#host = this.node.start();
  }

  async closeAndReopen(options: { readonly system?: S } = {}): Promise<void> {
    await this.shard.close();
    await this.log.close();
    await this.store.close();
    await this.restart(options);
  }

  /** Until `openGate`, no append takes hold. */
  closeGate(): void {
    this.#gate = new Promise((resolve) => {
      this.#openGate = resolve;
    });
  }

  openGate(): void {
    this.#openGate?.();
    this.#gate = undefined;
    this.#openGate = undefined;
  }

  sleep(durationMs: number): Promise<void> {
    return this.scheduler.sleep(durationMs);
  }

  /** Waits in virtual time until `condition` holds; fails after `boundMs`. */
  async until(condition: () => boolean, boundMs = 60_000): Promise<void> {
    const endMs = this.scheduler.nowMs + boundMs;
    while (!condition()) {
      assert(this.scheduler.nowMs < endMs, `the condition did not come to hold within ${boundMs} ms`);
      await this.sleep(1);
    }
  }

  /** Everything that is durable is in the store. */
  async applied(): Promise<void> {
    await this.until(() => this.store.position?.sequence === this.shard.health().sequence);
  }

  /** The running command or query takes this much time. */
  spend(durationMs: number): void {
    this.#host.guard.spend(durationMs);
  }

  /** All entries of the log, with their sequences. */
  entries(): readonly { readonly entry: Entry; readonly sequence: number; readonly timeMs: number }[] {
    const found: { entry: Entry; sequence: number; timeMs: number }[] = [];
    const reader = memoryLog({ storage: this.storage });
    for (let sequence = 2; sequence <= reader.end!.sequence; sequence++) {
      const { payload, timeMs } = decodedRecord(this.storage, sequence);
      for (const entry of decodeBatch(payload)) found.push({ entry, sequence, timeMs });
    }
    return found;
  }
}

function decodedRecord(storage: MemoryLogStorage, sequence: number): LogRecord {
  const bytes = storage.get(sequence);
  assert(bytes !== undefined, "the record is there");
  return decodeRecord(bytes);
}

async function replay(log: Log, store: Store): Promise<void> {
  for await (const record of log.scan((store.position?.sequence ?? 0) + 1)) {
    const writes = new WriteSet();
    const extra: Write[] = record.kind === "genesis" ? [foldGenesis(record.payload)] : [];
    if (record.kind === "batch") foldBatch(decodeBatch(record.payload), record.sequence, writes);
    const { incarnation, epoch, sequence, hash } = record;
    await store.apply([...extra, ...writes], { incarnation, epoch, sequence, hash });
  }
}

/** What became of each promise, in order: its value, or the code of its error. */
export async function outcomesOf(promises: readonly Promise<unknown>[]): Promise<readonly unknown[]> {
  const settled = await Promise.allSettled(promises);
  return settled.map((result) => {
    if (result.status === "fulfilled") return result.value;
    const { reason } = result as { readonly reason: unknown };
    return typeof reason === "object" && reason !== null && "code" in reason ? reason.code : reason;
  });
}
