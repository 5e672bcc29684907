/**
 * An engine's log in memory, as weak as the port allows (EL1–EL3), for the tests of this folder. Each node has a view of its own; faults are
 * switched on by view or drawn from a seed.
 */
import { OnefoldError } from "../base/errors.ts";
import type { SeededRandom } from "../base/random.ts";
import type { EngineAppendOutcome, EngineLog, LogBounds, LogEngine, TailListener } from "../log/engine-log.ts";
import type { Scheduler } from "../sim/scheduler.ts";

export interface FakeFaults {
  /** Of answers to an append that say `unknown`, whatever became of it. */
  unknown: number;
  /** Of appends that are lost on their way, and said to be `unknown`. */
  lost: number;
  /** Of appends that are said to be `refused`, though they are taken. */
  falselyRefused: number;
  /** Of records that a tail passes over, and tells of twice. */
  skip: number;
  repeat: number;
  /** Tails tell nothing at all. */
  isSilent: boolean;
  /** Nothing is answered but `unknown` and `unavailable`. */
  isCut: boolean;
  /** What it shows ends here, as with a server that is behind. */
  showsUpTo: number;
}

export const noFaults: FakeFaults = {
  unknown: 0,
  lost: 0,
  falselyRefused: 0,
  skip: 0,
  repeat: 0,
  isSilent: false,
  isCut: false,
  showsUpTo: Number.POSITIVE_INFINITY,
};

/** The records, which all views share. */
export class FakeEngineStream {
  readonly records = new Map<number, Uint8Array>();
  readonly scheduler: Scheduler;
  readonly name: string;
  first: number;
  last: number;
  /** No append is taken: the engine is electing. */
  isElecting = false;
  readonly tails = new Set<(sequence: number, bytes: Uint8Array) => void>();

  constructor(
    scheduler: Scheduler,
    { name, firstSequence }: { readonly name: string; readonly firstSequence: number },
  ) {
    this.scheduler = scheduler;
    this.name = name;
    this.first = firstSequence;
    this.last = firstSequence - 1;
  }

  /** True where it was taken, now or before. */
  append(sequence: number, bytes: Uint8Array): boolean {
    if (sequence !== this.last + 1) return false;
    this.last = sequence;
    this.records.set(sequence, bytes);
    for (const tell of this.tails) tell(sequence, bytes);
    return true;
  }

  trim(sequence: number): void {
    for (const at of this.records.keys()) if (at < sequence) this.records.delete(at);
    this.first = Math.max(this.first, sequence);
  }

  /** Forgets what comes after `sequence`, as an engine does that elects a server which lags. */
  rollBack(sequence: number): void {
    for (const at of this.records.keys()) if (at > sequence) this.records.delete(at);
    this.last = sequence;
  }
}

/** The logs of one engine, by name; `system` is there from the beginning. */
export class FakeEngineStreams {
  readonly scheduler: Scheduler;
  readonly #streams = new Map<string, FakeEngineStream>();

  constructor(scheduler: Scheduler) {
    this.scheduler = scheduler;
    this.make("system", 1);
  }

  get(name: string): FakeEngineStream | undefined {
    return this.#streams.get(name);
  }

  make(name: string, firstSequence: number): FakeEngineStream {
    const stream = this.get(name) ?? new FakeEngineStream(this.scheduler, { name, firstSequence });
    this.#streams.set(name, stream);
    return stream;
  }

  /** As one node has it. */
  view(random: SeededRandom, faults: Partial<FakeFaults> = {}): FakeEngine {
    return new FakeEngine(this, random, { ...noFaults, ...faults });
  }
}

export class FakeEngine implements LogEngine {
  readonly faults: FakeFaults;
  readonly #streams: FakeEngineStreams;
  readonly #random: SeededRandom;
  appendCount = 0;

  constructor(streams: FakeEngineStreams, random: SeededRandom, faults: FakeFaults) {
    this.#streams = streams;
    this.#random = random;
    this.faults = faults;
  }

  async open(name: string): Promise<EngineLog | undefined> {
    await this.#answer();
    const stream = this.#streams.get(name);
    return stream === undefined ? undefined : this.#log(stream);
  }

  async create(name: string, { firstSequence }: { readonly firstSequence: number }): Promise<EngineLog> {
    await this.#answer();
    return this.#log(this.#streams.make(name, firstSequence));
  }

  async laxities(): Promise<readonly string[]> {
    return [];
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #log(stream: FakeEngineStream): EngineLog {
    return new FakeEngineLog(stream, this.#random, { faults: this.faults, sent: () => this.appendCount++ });
  }

  async #answer(): Promise<void> {
    await this.#streams.scheduler.sleep(0.5 + this.#random.next());
    if (this.faults.isCut) throw new OnefoldError("unavailable", "The engine can't be reached.");
  }
}

class FakeEngineLog implements EngineLog {
  readonly name: string;
  readonly faults: FakeFaults;
  readonly #stream: FakeEngineStream;
  readonly #random: SeededRandom;
  readonly #sent: () => void;

  constructor(
    stream: FakeEngineStream,
    random: SeededRandom,
    { faults, sent }: { readonly faults: FakeFaults; readonly sent: () => void },
  ) {
    this.#stream = stream;
    this.name = stream.name;
    this.#random = random;
    this.faults = faults;
    this.#sent = sent;
  }

  async append(sequence: number, bytes: Uint8Array): Promise<EngineAppendOutcome> {
    this.#sent();
    await this.#delay();
    const unknown: EngineAppendOutcome = { kind: "unknown", cause: new Error("no answer") };
    const { faults } = this;
    if (faults.isCut || this.#stream.isElecting || this.#random.chance(faults.lost)) {
      await this.#stream.scheduler.sleep(200);
      return unknown;
    }
    const isTaken = this.#stream.append(sequence, bytes);
    await this.#delay();
    if (faults.isCut || this.#random.chance(faults.unknown)) return unknown;
    if (!isTaken || this.#random.chance(faults.falselyRefused)) return { kind: "refused" };
    return { kind: "appended" };
  }

  async read(sequence: number): Promise<Uint8Array | undefined> {
    await this.#answer();
    return sequence > this.faults.showsUpTo ? undefined : this.#stream.records.get(sequence);
  }

  async readMany(sequence: number, bytesMax: number): Promise<readonly Uint8Array[]> {
    await this.#answer();
    const found: Uint8Array[] = [];
    let bytesLeft = bytesMax;
    for (let at = sequence; bytesLeft > 0 && at <= this.faults.showsUpTo; at++) {
      const bytes = this.#stream.records.get(at);
      if (bytes === undefined) break;
      found.push(bytes);
      bytesLeft -= bytes.length;
    }
    return found;
  }

  async bounds(): Promise<LogBounds> {
    await this.#answer();
    return { first: this.#stream.first, last: Math.min(this.#stream.last, this.faults.showsUpTo) };
  }

  tail(sequence: number, listener: TailListener): { close(): void } {
    const tell = (at: number, bytes: Uint8Array): void => {
      const { faults } = this;
      if (at < sequence || faults.isSilent || faults.isCut || this.#random.chance(faults.skip)) return;
      const times = this.#random.chance(faults.repeat) ? 2 : 1;
      for (let count = 0; count < times; count++) {
        const deliver = (): void => {
          if (this.#stream.tails.has(tell)) listener.record(at, bytes);
        };
        this.#stream.scheduler.at(1 + this.#random.next(), deliver);
      }
    };
    this.#stream.tails.add(tell);
    return { close: () => void this.#stream.tails.delete(tell) };
  }

  async trim(sequence: number): Promise<void> {
    await this.#answer();
    this.#stream.trim(sequence);
  }

  async #answer(): Promise<void> {
    await this.#delay();
    if (this.faults.isCut) throw new OnefoldError("unavailable", "The engine can't be reached.");
  }

  #delay(): Promise<void> {
    return this.#stream.scheduler.sleep(0.5 + this.#random.next());
  }
}
