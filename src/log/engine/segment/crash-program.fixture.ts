/**
 * For tests: one random program against a segment log on a simulated disk that fails, fills up, tears and loses writes, with
 * a crash at a random operation of every life, of recovery too. The oracle knows what was acknowledged.
 */
import assert from "node:assert/strict";
import { DiskError } from "../../../host/host.ts";
import { collect, hasCode, RecordChain } from "../../log.suite.ts";
import type { Log, LogPosition } from "../../log.ts";
import { positionOf } from "../../record.ts";
import type { SegmentLog } from "./engine.ts";
import { SimulatedLogPlace } from "./simulated-place.fixture.ts";

const livesMax = 6;
const stepsMax = 40;

/** What became of a program: coverage, for the summary of many seeds. */
export interface CrashCoverage {
  appended: number;
  failed: number;
  full: number;
  openCrashed: number;
  openRefused: number;
  doubtfulKept: number;
  doubtfulLost: number;
  trimmed: number;
  /** Restarts of the process alone. */
  processes: number;
  /** Torn appends that recovery found and removed. */
  cut: number;
}

export function noCoverage(): CrashCoverage {
  return {
    appended: 0,
    failed: 0,
    full: 0,
    openCrashed: 0,
    openRefused: 0,
    doubtfulKept: 0,
    doubtfulLost: 0,
    trimmed: 0,
    processes: 0,
    cut: 0,
  };
}

export class CrashProgram {
  readonly place: SimulatedLogPlace;
  readonly coverage: CrashCoverage;
  chain = new RecordChain();
  /** Encoded records by sequence, as they were acknowledged. */
  readonly acknowledged = new Map<number, Uint8Array>();
  readonly #positions: LogPosition[] = [];
  /** The record whose append was begun and not answered with `appended`. */
  #doubtful: Uint8Array | undefined;
  #trimmedTo = 1;
  readonly #segmentBytes: number;
  #incarnationCount = 0;

  constructor(seed: string, coverage: CrashCoverage) {
    this.place = new SimulatedLogPlace(seed);
    this.coverage = coverage;
    this.#segmentBytes = 512 * this.place.random.pick([8, 16, 33, 64]);
  }

  get endSequence(): number {
    return this.acknowledged.size;
  }

  get positions(): readonly LogPosition[] {
    return this.#positions;
  }

  /** Lives and crashes, and then a last life without faults, in which everything must be there and the log must go on. */
  async run(): Promise<void> {
    const { random, disk } = this.place;
    const lives = 1 + random.integer(livesMax);
    for (let life = 0; life < lives; life++) {
      disk.faultRates = random.chance(0.3) ? { sync: 0.02, write: 0.02, name: 0.02, read: 0.005 } : {};
      disk.capacityBytes = random.chance(0.3) ? 512 * random.integer(400) : 2 ** 40;
      await this.#live(random.chance(0.85) ? 1 + random.integer(150) : undefined);
    }
    disk.faultRates = {};
    disk.capacityBytes = 2 ** 40;
    this.coverage.cut += this.place.traced.filter(({ message }) => message.includes("cut short")).length;
    const log = await this.place.drive(() => this.open());
    await this.place.drive(async () => {
      await this.#check(log);
      for (let i = 0; i < 3; i++) await this.#append(log, 1 + random.integer(1000));
      await log.close();
    });
  }

  /** In a new life of the node, or in a new process of the present one. */
  open(restart: "node" | "process" = "node"): Promise<SegmentLog> {
    const { random } = this.place;
    const verifyFromSequence = random.chance(0.3) ? 1 + random.integer(this.endSequence + 1) : 1;
    const remembered = this.#positions.length > 0 && random.chance(0.5) ? [random.pick(this.#positions)] : [];
    const options = {
      segmentBytes: this.#segmentBytes,
      reserveBytes: 4096,
      verifiedThrough: remembered,
      verifyFromSequence,
    };
    return restart === "node" ? this.place.open(options) : this.place.openAgain(options);
  }

  async #live(crashAfter: number | undefined): Promise<void> {
    const { scheduler, disk, random } = this.place;
    let over = false;
    let opened = false;
    const opening = this.open();
    if (crashAfter !== undefined) {
      const onCrash = (): void => {
        if (!opened && !over) this.coverage.openCrashed++;
        over = true;
      };
      disk.crashAt(crashAfter, { moment: random.pick(["before", "during", "during", "after"]), onCrash });
    }
    const life = opening.then(
      async (log) => {
        opened = true;
        await this.#processes(log);
      },
      (error: unknown) => this.#refused(error),
    );
    let failure: unknown;
    life.then(
      () => {
        over = true;
      },
      (error: unknown) => {
        over = true;
        failure = error;
      },
    );
    await scheduler.run({ stopWhen: () => over });
    if (failure !== undefined) throw failure;
    assert.ok(over, "the program came to a standstill without a crash");
  }

  /** One process after the other on a machine that keeps running: what was only in the cache is still there to be seen. */
  async #processes(first: SegmentLog): Promise<void> {
    let log = first;
    for (;;) {
      if (await this.#tolerant(() => this.#check(log))) await this.#work(log);
      if (this.place.random.chance(0.4)) return;
      try {
        await this.#tolerant(() => log.close());
        log = await this.open("process");
        this.coverage.processes++;
      } catch (error) {
        return this.#refused(error);
      }
    }
  }

  /** Without corruption a log is never called damaged; a disk that refuses is named. */
  #refused(error: unknown): void {
    if (!(error instanceof DiskError)) throw error;
    this.coverage.openRefused++;
  }

  /** Everything acknowledged is there byte for byte, and beyond it at most the one record in doubt. */
  async #check(log: Log): Promise<void> {
    const end = log.end?.sequence ?? 0;
    const acknowledged = this.endSequence;
    assert.ok(
      end === acknowledged || end === acknowledged + 1,
      `the log ends at ${end}, acknowledged is ${acknowledged}`,
    );
    if (this.#doubtful !== undefined && end > acknowledged) {
      this.coverage.doubtfulKept++;
      this.acknowledged.set(end, this.#doubtful);
      this.#positions.push(positionOf(log.end!));
    } else {
      assert.equal(end, acknowledged);
      if (this.#doubtful !== undefined) this.coverage.doubtfulLost++;
    }
    this.#doubtful = undefined;
    assert.ok(log.firstSequence <= this.#trimmedTo, `records before ${log.firstSequence} are gone`);
    if (log.end === null) this.chain = new RecordChain(new Uint8Array(16).fill(++this.#incarnationCount));
    this.chain.continueFrom(log.end, 1_000);
    for (const record of await readAll(log)) {
      assert.ok(Buffer.compare(record.bytes, this.acknowledged.get(record.sequence)!) === 0, "a record differs");
    }
  }

  async #work(log: SegmentLog): Promise<void> {
    const { random } = this.place;
    for (let step = random.integer(stepsMax); step > 0; step--) {
      const dice = random.integer(20);
      const goesOn = await this.#tolerant(async () => {
        if (dice < 15) await this.#append(log, this.#payloadBytes());
        else if (dice < 17) await log.anchor();
        else if (dice < 18) await this.#trim(log);
        else if (this.endSequence >= log.firstSequence) await this.#readOne(log);
      });
      if (!goesOn || this.#doubtful !== undefined) return;
    }
  }

  /** Maintenance that the disk refuses says `stopped`; a record that it can't read is `damaged`; that is all there is. */
  async #tolerant(body: () => Promise<void>): Promise<boolean> {
    try {
      await body();
      return true;
    } catch (error) {
      const couldNotRead = hasCode("damaged")(error) && (this.place.disk.faultRates.read ?? 0) > 0;
      if (!hasCode("stopped")(error) && !couldNotRead) throw error;
      return false;
    }
  }

  async #append(log: Log, payloadBytes: number): Promise<void> {
    const { random } = this.place;
    const payload = random.chance(0.2) ? new Uint8Array(payloadBytes) : random.bytes(payloadBytes);
    const record = this.chain.encode(payload);
    this.#doubtful = record.bytes;
    const outcome = await log.append(record.bytes, record.hash);
    switch (outcome.kind) {
      case "appended":
        this.#doubtful = undefined;
        this.#positions.push(this.chain.accept(record));
        this.acknowledged.set(this.endSequence + 1, record.bytes);
        this.coverage.appended++;
        return;
      case "full":
        this.#doubtful = undefined;
        this.coverage.full++;
        if (random.chance(0.3)) this.place.disk.capacityBytes = 2 ** 40;
        return;
      case "failed":
        this.coverage.failed++;
        assert.equal((await log.append(record.bytes, record.hash)).kind, "failed");
        return;
      default:
        throw new Error(`the outcome is ${outcome.kind}`);
    }
  }

  async #trim(log: Log): Promise<void> {
    const sequence = 1 + this.place.random.integer(this.endSequence + 1);
    this.#trimmedTo = Math.max(this.#trimmedTo, sequence);
    const first = log.firstSequence;
    await log.trim(sequence);
    if (log.firstSequence > first) this.coverage.trimmed++;
  }

  async #readOne(log: Log): Promise<void> {
    const sequence = log.firstSequence + this.place.random.integer(this.endSequence - log.firstSequence + 1);
    const record = await log.read(sequence);
    assert.ok(record !== undefined && Buffer.compare(record.bytes, this.acknowledged.get(sequence)!) === 0);
  }

  #payloadBytes(): number {
    const { random } = this.place;
    const max = this.#segmentBytes - 512 - 32 - 96;
    return random.chance(0.7) ? random.integer(600) : random.integer(max + 1);
  }
}

async function readAll(log: Log) {
  return log.end === null ? [] : collect(log.scan(log.firstSequence));
}
