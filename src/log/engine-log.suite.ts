/**
 * The contract of `engine-log.ts` as tests that every engine must pass while nothing fails. What the contract leaves open they leave
 * open: ends and tails may be late, so they are waited for; what is refused proves nothing, so it is read.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeUtf8 } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { EngineAppendOutcome, EngineLog, LogEngine, TailListener } from "./engine-log.ts";

/** One engine, empty or with names that nobody has used. */
export interface EngineFixture {
  /** Another connection to the same engine, as another node has it. */
  connect(): LogEngine | Promise<LogEngine>;
  /** Runs the body to its end; a simulation lets its time pass meanwhile. */
  drive?<T>(body: () => Promise<T>): Promise<T>;
  /** Lets some time pass, so that what is under way can arrive. Called between two looks at a condition. */
  pass(): Promise<void>;
  /** Begins the names of this fixture's logs, where the engine keeps logs of earlier fixtures. */
  readonly namePrefix?: string;
  dispose?(): Promise<void>;
}

/** Looks at a condition so many times, at most. */
const looksMax = 2000;

const payload = (text: string | number): Uint8Array => encodeUtf8(`record ${text}`);
const textOf = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString();

/** Sends the record until it stands, as whoever uses the port has to. Fails if another one stands there. */
export async function appendSurely(log: EngineLog, sequence: number, bytes: Uint8Array): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) {
    if ((await log.append(sequence, bytes)).kind === "appended") return;
    const standing = await log.read(sequence);
    if (standing === undefined) continue;
    assert.deepEqual(textOf(standing), textOf(bytes), `another record stands at ${sequence}`);
    return;
  }
  assert.fail(`record ${sequence} doesn't come to stand`);
}

/** Keeps what a tail tells, as text by sequence. */
class Heard implements TailListener {
  readonly records = new Map<number, string>();
  /** Every record in the order of telling, repeated ones too. */
  readonly sequences: number[] = [];
  endedCount = 0;

  record(sequence: number, bytes: Uint8Array): void {
    this.sequences.push(sequence);
    this.records.set(sequence, textOf(bytes)!);
  }

  ended(): void {
    this.endedCount++;
  }
}

/** Runs the contract's tests; `makeFixture` gives an engine for each of them. */
export function engineLogSuite(name: string, makeFixture: () => EngineFixture | Promise<EngineFixture>): void {
  let testCount = 0;

  const check = (
    sentence: string,
    body: (engine: LogEngine, logName: string, fixture: EngineFixture) => Promise<void>,
  ): void => {
    test(sentence, async () => {
      const fixture = await makeFixture();
      const logName = `${fixture.namePrefix ?? ""}log-${++testCount}`;
      const run = async () => {
        const engine = await fixture.connect();
        await body(engine, logName, fixture);
        await engine.close();
      };
      try {
        await (fixture.drive === undefined ? run() : fixture.drive(run));
      } finally {
        await fixture.dispose?.();
      }
    });
  };

  const until = async (fixture: EngineFixture, condition: () => boolean | Promise<boolean>): Promise<void> => {
    for (let look = 0; look < looksMax; look++) {
      if (await condition()) return;
      await fixture.pass();
    }
    assert.fail("what is waited for doesn't come");
  };

  /** What stands at a sequence where something surely does; an engine may be late to say so (EL3). */
  const readSurely = async (fixture: EngineFixture, log: EngineLog, sequence: number): Promise<string | undefined> => {
    await until(fixture, async () => (await log.read(sequence)) !== undefined);
    return textOf(await log.read(sequence));
  };

  const fill = async (log: EngineLog, from: number, to: number): Promise<void> => {
    for (let sequence = from; sequence <= to; sequence++) await appendSurely(log, sequence, payload(sequence));
  };

  describe(`the engine log contract: ${name}`, () => {
    check("a log that was never made can't be opened", async (engine, logName) => {
      assert.equal(await engine.open(logName), undefined);
    });

    check("a new log is empty and begins where it was told to", async (engine, logName, fixture) => {
      const log = await engine.create(logName, { firstSequence: 1 });
      assert.equal(log.name, logName);
      assert.deepEqual(await log.bounds(), { first: 1, last: 0 });
      assert.equal(await log.read(1), undefined);
      assert.deepEqual(await log.readMany(1, 1000), []);
      const later = await engine.create(`${logName}-later`, { firstSequence: 501 });
      assert.deepEqual(await later.bounds(), { first: 501, last: 500 });
      assert.notEqual((await later.append(1, payload(1))).kind, "appended");
      await appendSurely(later, 501, payload(501));
      await until(fixture, async () => (await later.bounds()).last === 501);
      assert.equal(await readSurely(fixture, later, 501), "record 501");
    });

    check("a log that exists is opened by all, also by who would make it", async (engine, logName, fixture) => {
      const [one, two] = await Promise.all([
        engine.create(logName, { firstSequence: 1 }),
        engine.create(logName, { firstSequence: 1 }),
      ]);
      await appendSurely(one, 1, payload(1));
      const other = await fixture.connect();
      const third = await other.open(logName);
      assert.ok(third !== undefined);
      const fourth = await other.create(logName, { firstSequence: 1 });
      for (const log of [one, two, third, fourth]) {
        await until(fixture, async () => textOf(await log.read(1)) === "record 1");
      }
      await other.close();
    });

    check("EL1: a record is appended at the end, and nowhere else", async (engine, logName, fixture) => {
      const log = await engine.create(logName, { firstSequence: 1 });
      await fill(log, 1, 3);
      for (const sequence of [1, 2, 3, 5, 6, 100]) {
        const { kind } = await log.append(sequence, payload("other"));
        assert.equal(kind, "refused", `at ${sequence}`);
      }
      await appendSurely(log, 4, payload(4));
      for (const sequence of [1, 2, 3, 4]) assert.equal(await readSurely(fixture, log, sequence), `record ${sequence}`);
    });

    check(
      "EL2: of two who race for a sequence one is appended, and both read that one",
      async (engine, logName, fixture) => {
        const other = await fixture.connect();
        const mine = await engine.create(logName, { firstSequence: 1 });
        const theirs = await other.create(logName, { firstSequence: 1 });
        for (let sequence = 1; sequence <= 20; sequence++) {
          const outcomes = await Promise.all([
            mine.append(sequence, payload(`${sequence} of mine`)),
            theirs.append(sequence, payload(`${sequence} of theirs`)),
          ]);
          const appended = outcomes.filter(({ kind }) => kind === "appended");
          assert.equal(appended.length, 1, `at ${sequence}: ${outcomes.map(({ kind }) => kind)}`);
          const winner = outcomes[0].kind === "appended" ? "mine" : "theirs";
          for (const log of [mine, theirs]) {
            assert.equal(await readSurely(fixture, log, sequence), `record ${sequence} of ${winner}`);
          }
        }
        await other.close();
      },
    );

    check("identical bytes that are sent again stand once", async (engine, logName, fixture) => {
      const log = await engine.create(logName, { firstSequence: 1 });
      await fill(log, 1, 2);
      // `appended` is right, since they stand there; so is `refused`, since the log doesn't end there.
      for (let time = 0; time < 5; time++) assert.notEqual((await log.append(2, payload(2))).kind, "unknown");
      await appendSurely(log, 3, payload(3));
      assert.equal(await readSurely(fixture, log, 2), "record 2");
      assert.equal(await readSurely(fixture, log, 3), "record 3");
    });

    check("several appends may be under way, and stand in their order", async (engine, logName, fixture) => {
      const log = await engine.create(logName, { firstSequence: 1 });
      const sequences = Array.from({ length: 10 }, (_, index) => index + 1);
      const outcomes = await Promise.all(sequences.map((sequence) => log.append(sequence, payload(sequence))));
      // One that overtakes another is refused; what follows it is refused as well.
      const firstMissing = outcomes.findIndex(({ kind }: EngineAppendOutcome) => kind !== "appended");
      await fill(log, firstMissing === -1 ? 11 : firstMissing + 1, 12);
      for (let sequence = 1; sequence <= 12; sequence++) {
        assert.equal(await readSurely(fixture, log, sequence), `record ${sequence}`);
      }
    });

    check("bytes are the caller's own before and after", async (engine, logName, fixture) => {
      const log = await engine.create(logName, { firstSequence: 1 });
      const bytes = payload(1);
      const appended = log.append(1, bytes);
      bytes.fill(0);
      assert.equal((await appended).kind, "appended");
      await until(fixture, async () => (await log.read(1)) !== undefined);
      (await log.read(1))?.fill(0);
      assert.equal(await readSurely(fixture, log, 1), "record 1");
    });

    check(
      "many are read at once: contiguous, at least one, about as many bytes as asked for",
      async (engine, logName, fixture) => {
        const log = await engine.create(logName, { firstSequence: 1 });
        for (let sequence = 1; sequence <= 20; sequence++) {
          await appendSurely(log, sequence, new Uint8Array(1000).fill(sequence));
        }
        await until(fixture, async () => (await log.bounds()).last === 20);
        const one = await log.readMany(7, 1);
        assert.deepEqual(
          one.map((bytes) => bytes[0]),
          [7],
        );
        for (let next = 1; next <= 20; ) {
          const some = await log.readMany(next, 4500);
          assert.ok(some.length >= 1 && some.length <= 6, `${some.length} records`);
          for (const bytes of some) assert.deepEqual([bytes.length, bytes[0]], [1000, next++]);
        }
        assert.deepEqual(await log.readMany(21, 4500), []);
      },
    );

    check(
      "a tail tells of what stands and of what comes, from the sequence that it was asked for",
      async (engine, logName, fixture) => {
        const other = await fixture.connect();
        const log = await engine.create(logName, { firstSequence: 1 });
        await fill(log, 1, 3);
        const following = (await other.open(logName))!;
        const all = new Heard();
        const some = new Heard();
        const coming = new Heard();
        following.tail(1, all);
        following.tail(3, some);
        log.tail(6, coming);
        await until(fixture, () => all.records.has(3));
        await fill(log, 4, 8);
        await until(fixture, () => [all, some, coming].every(({ records }) => records.has(8)));
        for (const [heard, first] of [
          [all, 1],
          [some, 3],
          [coming, 6],
        ] as const) {
          assert.ok(Math.min(...heard.sequences) >= first);
          for (const [sequence, text] of heard.records) assert.equal(text, `record ${sequence}`);
          assert.equal(heard.endedCount, 0);
        }
        await other.close();
      },
    );

    check("a closed tail tells nothing more", async (engine, logName, fixture) => {
      const log = await engine.create(logName, { firstSequence: 1 });
      await fill(log, 1, 2);
      const closed = new Heard();
      const open = new Heard();
      const tail = log.tail(1, closed);
      log.tail(1, open);
      await until(fixture, () => closed.records.has(2));
      tail.close();
      tail.close();
      const told = closed.sequences.length;
      await fill(log, 3, 5);
      await until(fixture, () => open.records.has(5));
      assert.equal(closed.sequences.length, told);
      assert.equal(closed.endedCount, 0);
    });

    check("trimmed records are gone, and sequences go on", async (engine, logName, fixture) => {
      const log = await engine.create(logName, { firstSequence: 1 });
      await fill(log, 1, 10);
      await log.trim(6);
      await log.trim(6);
      await log.trim(3);
      await until(fixture, async () => (await log.bounds()).first === 6);
      await until(fixture, async () => (await log.read(5)) === undefined);
      assert.equal(await readSurely(fixture, log, 6), "record 6");
      assert.deepEqual(await log.readMany(5, 1000), []);
      assert.notEqual((await log.append(5, payload("again"))).kind, "appended");
      await appendSurely(log, 11, payload(11));
      const heard = new Heard();
      log.tail(1, heard);
      await until(fixture, () => heard.records.has(11));
      assert.ok(Math.min(...heard.sequences) >= 6);
    });

    check("a log that is trimmed to nothing remembers where it ends", async (engine, logName, fixture) => {
      const log = await engine.create(logName, { firstSequence: 1 });
      await fill(log, 1, 4);
      await log.trim(5);
      await until(fixture, async () => (await log.bounds()).first === 5);
      assert.deepEqual(await log.bounds(), { first: 5, last: 4 });
      assert.notEqual((await log.append(1, payload("again"))).kind, "appended");
      await appendSurely(log, 5, payload(5));
      assert.equal(await readSurely(fixture, log, 5), "record 5");
    });

    check("logs are apart from each other", async (engine, logName, fixture) => {
      const one = await engine.create(`${logName}-one`, { firstSequence: 1 });
      const two = await engine.create(`${logName}-two`, { firstSequence: 1 });
      await appendSurely(one, 1, payload("one"));
      assert.equal(await two.read(1), undefined);
      await appendSurely(two, 1, payload("two"));
      assert.equal(await readSurely(fixture, one, 1), "record one");
    });

    check("a closed engine's logs are unavailable, and appends to them unknown", async (_, logName, fixture) => {
      const engine = await fixture.connect();
      const log = await engine.create(logName, { firstSequence: 1 });
      const heard = new Heard();
      log.tail(1, heard);
      await engine.close();
      await engine.close();
      assert.equal((await log.append(1, payload(1))).kind, "unknown");
      const isUnavailable = (error: unknown) => error instanceof OnefoldError && error.code === "unavailable";
      await assert.rejects(log.read(1), isUnavailable);
      await assert.rejects(log.bounds(), isUnavailable);
      await assert.rejects(engine.open(logName), isUnavailable);
      assert.equal(heard.sequences.length, 0);
    });
  });
}
