/** The contract of `log.ts` as tests that every engine must pass, the one in memory and the simulated ones included. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import type { AppendOutcome, Log, LogPosition } from "./log.ts";
import {
  type EncodedRecord,
  encodeRecord,
  formatVersion,
  type LogRecord,
  noHash,
  positionOf,
  type RecordHeader,
  type RecordKind,
  recordPayloadBytesMax,
} from "./record.ts";

/** One place that keeps a log. Closing a log and opening again finds what it held. */
export interface LogFixture {
  open(options?: { readonly verifiedThrough?: readonly LogPosition[] }): Promise<Log>;
  /** Runs the body to its end; a simulation lets its time pass meanwhile. */
  drive?<T>(body: () => Promise<T>): Promise<T>;
  /** Removes whatever the place was made of. */
  dispose?(): Promise<void>;
  /** Largest payload that the fixture's log takes; `recordPayloadBytesMax` if absent. */
  readonly payloadBytesMax?: number;
  /** True where `trim` to any sequence forgets all before it; engines with segments keep up to one segment more. */
  readonly trimsExactly?: boolean;
}

/** Makes records that follow one another: a log's writer, as tests need one. */
export class RecordChain {
  #end: LogPosition | null = null;
  #timeMs = 1_000;
  epoch = 1;
  readonly incarnation: Uint8Array;

  constructor(incarnation: Uint8Array = new Uint8Array(16).fill(7)) {
    this.incarnation = incarnation;
  }

  /** Where the chain goes on from. */
  get end(): LogPosition | null {
    return this.#end;
  }

  /** Goes on after `end`, for instance after what a restarted log still holds. */
  continueFrom(end: LogPosition | null, timeMs: number): void {
    this.#end = end;
    this.#timeMs = timeMs;
    this.epoch = end?.epoch ?? 1;
  }

  /** The next record, without going on to it: `accept` does that. */
  encode(payload: Uint8Array, overrides: Partial<RecordHeader> = {}): EncodedRecord {
    const sequence = (this.#end?.sequence ?? 0) + 1;
    const kind: RecordKind = sequence === 1 ? "genesis" : "batch";
    const header: RecordHeader = {
      kind,
      readerVersion: formatVersion,
      incarnation: this.incarnation,
      epoch: this.epoch,
      sequence,
      timeMs: this.#timeMs + sequence,
      previousHash: this.#end?.hash ?? noHash,
    };
    return encodeRecord({ ...header, ...overrides }, payload);
  }

  accept(record: EncodedRecord): LogPosition {
    const sequence = (this.#end?.sequence ?? 0) + 1;
    this.#end = { incarnation: this.incarnation, epoch: this.epoch, sequence, hash: record.hash };
    return this.#end;
  }

  /** Appends the next record and demands `appended`. */
  async append(log: Log, payload: Uint8Array): Promise<EncodedRecord> {
    const record = this.encode(payload);
    assert.deepEqual(await log.append(record.bytes, record.hash), { kind: "appended" } satisfies AppendOutcome);
    this.accept(record);
    return record;
  }
}

export async function collect(records: AsyncIterable<LogRecord>): Promise<LogRecord[]> {
  const all: LogRecord[] = [];
  for await (const record of records) all.push(record);
  return all;
}

/** For `assert.rejects`: an `OnefoldError` of this code. */
export function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof OnefoldError && error.code === code;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** Runs the contract's tests; `makeFixture` gives an empty place for each of them. */
export function logSuite(name: string, makeFixture: () => LogFixture | Promise<LogFixture>): void {
  const check = (sentence: string, body: (fixture: LogFixture) => Promise<void>): void => {
    test(sentence, async () => {
      const fixture = await makeFixture();
      try {
        await (fixture.drive === undefined ? body(fixture) : fixture.drive(() => body(fixture)));
      } finally {
        await fixture.dispose?.();
      }
    });
  };

  describe(`the log contract: ${name}`, () => {
    check("a new log has no end, nothing to read and nothing to scan", async (fixture) => {
      const log = await fixture.open();
      assert.equal(log.end, null);
      assert.equal(log.firstSequence, 1);
      assert.equal(await log.read(1), undefined);
      assert.deepEqual(await collect(log.scan(1)), []);
      await log.anchor();
      await log.close();
    });

    check("an appended record is the log's end and is read back byte for byte", async (fixture) => {
      const log = await fixture.open();
      const chain = new RecordChain();
      const genesis = await chain.append(log, text("genesis"));
      const second = await chain.append(log, text("second"));
      assert.deepEqual(log.end && positionOf(log.end), chain.end);
      const first = await log.read(1);
      assert.deepEqual(first && new Uint8Array(first.bytes), genesis.bytes);
      assert.equal(first?.kind, "genesis");
      const read = await log.read(2);
      assert.deepEqual(read && new Uint8Array(read.bytes), second.bytes);
      assert.deepEqual(read && new Uint8Array(read.hash), new Uint8Array(second.hash));
      assert.deepEqual(read && new Uint8Array(read.payload), text("second"));
      assert.equal(await log.read(3), undefined);
      await log.close();
    });

    check("an append without the record's hash is the same append", async (fixture) => {
      const log = await fixture.open();
      const record = new RecordChain().encode(text("genesis"));
      assert.deepEqual(await log.append(record.bytes), { kind: "appended" });
      assert.deepEqual(log.end && new Uint8Array(log.end.hash), new Uint8Array(record.hash));
      await log.close();
    });

    check("payloads of every awkward shape survive a restart", async (fixture) => {
      const chain = new RecordChain();
      const largest = fixture.payloadBytesMax ?? recordPayloadBytesMax;
      const oneBit = new Uint8Array(Math.min(largest, 8192));
      oneBit[4000] = 1;
      const payloads = [
        new Uint8Array(0),
        new Uint8Array(1),
        new Uint8Array(Math.min(largest, 100_000)),
        oneBit,
        new Uint8Array(largest).fill(0xff),
        Uint8Array.from({ length: largest }, (_, index) => (index * 2_654_435_761) >>> 24),
        text("last"),
      ];
      const log = await fixture.open();
      for (const payload of payloads) await chain.append(log, payload);
      await log.close();
      const reopened = await fixture.open();
      const records = await collect(reopened.scan(1));
      assert.deepEqual(
        records.map((record) => record.payload.length),
        payloads.map((payload) => payload.length),
      );
      for (const [index, record] of records.entries()) {
        assert.ok(Buffer.compare(record.payload, payloads[index]!) === 0, `payload ${index} differs`);
      }
      assert.deepEqual(reopened.end && positionOf(reopened.end), chain.end);
      await chain.append(reopened, text("goes on"));
      await reopened.close();
    });

    check("a record for another place is a conflict and changes nothing", async (fixture) => {
      const log = await fixture.open();
      const chain = new RecordChain();
      const genesis = await chain.append(log, text("genesis"));
      const second = chain.encode(text("second"));
      assert.deepEqual(await log.append(genesis.bytes, genesis.hash), { kind: "conflict" });
      chain.accept(second);
      const third = chain.encode(text("third"));
      assert.deepEqual(await log.append(third.bytes, third.hash), { kind: "conflict" });
      assert.equal(log.end?.sequence, 1);
      assert.deepEqual(await log.append(second.bytes, second.hash), { kind: "appended" });
      await log.close();
    });

    check("a record that follows another history is a conflict", async (fixture) => {
      const log = await fixture.open();
      const chain = new RecordChain();
      await chain.append(log, text("genesis"));
      const foreign = chain.encode(text("second"), { previousHash: new Uint8Array(32).fill(9) });
      assert.deepEqual(await log.append(foreign.bytes, foreign.hash), { kind: "conflict" });
      await chain.append(log, text("second"));
      await log.close();
    });

    check("a record whose epoch or time goes back is a bug of its writer", async (fixture) => {
      const log = await fixture.open();
      const chain = new RecordChain();
      chain.epoch = 3;
      await chain.append(log, text("genesis"));
      const earlier = chain.encode(text("x"), { timeMs: 1 });
      await assert.rejects(log.append(earlier.bytes, earlier.hash), /time goes back/);
      const stale = chain.encode(text("x"), { epoch: 2 });
      await assert.rejects(log.append(stale.bytes, stale.hash), /epoch goes back/);
      await chain.append(log, text("second"));
      await log.close();
    });

    check("a scan gives the records from anywhere to the end as it was at the call", async (fixture) => {
      const log = await fixture.open();
      const chain = new RecordChain();
      for (let i = 1; i <= 40; i++) await chain.append(log, text(`record ${i} ${"x".repeat(i * 20)}`));
      const scan = log.scan(15);
      await chain.append(log, text("later"));
      assert.deepEqual(
        (await collect(scan)).map((record) => record.sequence),
        Array.from({ length: 26 }, (_, index) => index + 15),
      );
      assert.deepEqual(await collect(log.scan(42)), []);
      assert.equal((await collect(log.scan(41)))[0]?.sequence, 41);
      await log.close();
    });

    check("restarts keep every record and go on from the end", async (fixture) => {
      const chain = new RecordChain();
      const expected: Uint8Array[] = [];
      for (let round = 0; round < 4; round++) {
        const log = await fixture.open();
        assert.equal(log.end?.sequence ?? 0, expected.length);
        for (let i = 0; i < 10; i++) {
          expected.push((await chain.append(log, text(`round ${round} record ${i}`.repeat(30)))).bytes);
        }
        if (round % 2 === 0) await log.anchor();
        await log.close();
      }
      const log = await fixture.open();
      const records = await collect(log.scan(1));
      assert.deepEqual(
        records.map((record) => new Uint8Array(record.bytes)),
        expected,
      );
      await log.close();
    });

    check("trimming forgets only what it was told to, and says so", async (fixture) => {
      const log = await fixture.open();
      const chain = new RecordChain();
      for (let i = 1; i <= 60; i++) await chain.append(log, new Uint8Array(50_000).fill(i));
      await log.trim(50);
      const first = log.firstSequence;
      assert.ok(first <= 50 && first > 1, `first is ${first}`);
      if (fixture.trimsExactly === true) assert.equal(first, 50);
      await assert.rejects(log.read(first - 1), hasCode("not-found"));
      await assert.rejects(collect(log.scan(1)), hasCode("not-found"));
      assert.equal((await collect(log.scan(first))).length, 61 - first);
      await log.trim(10);
      assert.equal(log.firstSequence, first);
      await log.close();
      const reopened = await fixture.open();
      assert.equal(reopened.firstSequence, first);
      assert.equal(reopened.end?.sequence, 60);
      assert.equal((await collect(reopened.scan(50))).length, 11);
      await reopened.trim(61);
      await chain.append(reopened, text("after"));
      await reopened.close();
      const last = await fixture.open();
      assert.equal(last.end?.sequence, 61);
      await last.close();
    });

    check("a log that lacks what the caller remembers is rolled back, and not served", async (fixture) => {
      const log = await fixture.open();
      const chain = new RecordChain();
      for (let i = 1; i <= 5; i++) await chain.append(log, text(`record ${i}`));
      const remembered = chain.end!;
      await log.close();
      await (await fixture.open({ verifiedThrough: [remembered] })).close();
      await assert.rejects(fixture.open({ verifiedThrough: [{ ...remembered, sequence: 6 }] }), hasCode("damaged"));
      await assert.rejects(
        fixture.open({ verifiedThrough: [remembered, { ...remembered, hash: new Uint8Array(32) }] }),
        hasCode("damaged"),
      );
      await assert.rejects(fixture.open({ verifiedThrough: [{ ...remembered, sequence: 3 }] }), hasCode("damaged"));
    });

    check("a closed log appends nothing, and closing twice is fine", async (fixture) => {
      const log = await fixture.open();
      const chain = new RecordChain();
      await chain.append(log, text("genesis"));
      await log.close();
      await log.close();
      const second = chain.encode(text("second"));
      assert.equal((await log.append(second.bytes, second.hash)).kind, "failed");
      const reopened = await fixture.open();
      assert.equal(reopened.end?.sequence, 1);
      await reopened.close();
    });
  });
}
