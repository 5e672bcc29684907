/** The engine while its servers are killed, paused and restarted: what was acknowledged stays, once, and what is asked ends in time. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeUtf8 } from "../../../base/bytes.ts";
import { OnefoldError } from "../../../base/errors.ts";
import { limits } from "../../../base/limits.ts";
import type { EngineLog, TailListener } from "../../engine-log.ts";
import { leaderOf, makeLeader, streamInfo, TestServers, until } from "./servers.fixture.ts";

/** What a settled question may take beyond its deadline on a machine that is busy. */
const slackMs = 1_500;
const payload = (sequence: number): Uint8Array => encodeUtf8(`record ${sequence} ${"x".repeat(sequence % 50)}`);
const textOf = (bytes: Uint8Array | undefined): string | undefined => bytes && Buffer.from(bytes).toString();

/** Whether it stands, as far as can be read now. */
async function stands(log: EngineLog, sequence: number): Promise<boolean> {
  try {
    const found = await log.read(sequence);
    if (found === undefined) return false;
    assert.equal(textOf(found), textOf(payload(sequence)), `another record stands at ${sequence}`);
    return true;
  } catch (error) {
    if (error instanceof OnefoldError && error.code === "unavailable") return false;
    throw error;
  }
}

/** Appends records one after the other, several of them under way at once, as long as it is told to. */
class Writer {
  readonly #log: EngineLog;
  readonly #windowSize: number;
  #isStopped = false;
  /** All up to here were acknowledged, or found to stand. */
  last = 0;
  unknownCount = 0;
  resentCount = 0;
  readonly done: Promise<void>;

  constructor(log: EngineLog, windowSize: number) {
    this.#log = log;
    this.#windowSize = windowSize;
    this.done = this.#run();
  }

  stop(): Promise<void> {
    this.#isStopped = true;
    return this.done;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const sequences = Array.from({ length: this.#windowSize }, (_, index) => this.last + 1 + index);
      const outcomes = await Promise.all(sequences.map((sequence) => this.#log.append(sequence, payload(sequence))));
      this.unknownCount += outcomes.filter(({ kind }) => kind === "unknown").length;
      for (const [index, sequence] of sequences.entries()) {
        if (outcomes[index]!.kind !== "appended") await this.#settle(sequence);
        this.last = sequence;
      }
    }
  }

  /** Sends the identical bytes until some record stands there. */
  async #settle(sequence: number): Promise<void> {
    await until(async () => {
      if (await stands(this.#log, sequence)) return true;
      this.resentCount++;
      return (await this.#log.append(sequence, payload(sequence))).kind === "appended";
    });
  }
}

/** Every record up to `last`, by each server's word. */
async function assertComplete(servers: TestServers, name: string, last: number): Promise<void> {
  const engine = await servers.connect();
  const log = (await engine.open(name))!;
  for (const server of servers.cluster.names) {
    await makeLeader(engine, name, server);
    await until(async () => (await log.bounds()).last >= last);
    for (let next = 1; next <= last; ) {
      const records = await log.readMany(next, 1024 * 1024);
      assert.notEqual(records.length, 0, `record ${next} is missing on ${server}`);
      for (const bytes of records) assert.equal(textOf(bytes), textOf(payload(next)), `record ${next++} on ${server}`);
    }
    assert.equal((await log.bounds()).last, (await streamInfo(engine, name))!.state.messages, "each stands once");
  }
}

const isUnavailable = (error: unknown): boolean => error instanceof OnefoldError && error.code === "unavailable";

interface NewLog {
  readonly servers: TestServers;
  readonly log: EngineLog;
  readonly name: string;
  leader(): Promise<string>;
}

/** Each on servers of its own, at the same time: most of it is waiting for elections. */
describe("the engine on servers that fail", { concurrency: true }, () => {
  const check = (sentence: string, body: (given: NewLog) => Promise<void>): void => {
    test(sentence, async () => {
      const servers = await TestServers.start({ serverCount: 3 });
      try {
        const engine = await servers.connect();
        const log = await engine.create("log", { firstSequence: 1 });
        await body({ servers, log, name: "log", leader: () => leaderOf(engine, "log") });
      } finally {
        await servers.dispose();
      }
    });
  };

  check(
    "a leader that is killed during appends loses none and doubles none",
    async ({ servers, log, name, leader }) => {
      const writer = new Writer(log, 8);
      await until(() => writer.last > 400);
      const killed = await leader();
      await servers.cluster.killServer(killed);
      const before = writer.last;
      await until(() => writer.last > before + 400);
      await servers.cluster.startServer(killed);
      await servers.cluster.untilHealthy();
      const back = writer.last;
      await until(() => writer.last > back + 200);
      await writer.stop();
      assert.notEqual(writer.unknownCount, 0, "no append was under way when the leader was killed");
      await assertComplete(servers, name, writer.last);
    },
  );

  check(
    "a leader that is paused holds nobody up for longer than an election, and takes nothing back",
    async ({ servers, log, name, leader }) => {
      const writer = new Writer(log, 4);
      await until(() => writer.last > 200);
      const paused = await leader();
      await servers.cluster.pauseServer(paused);
      try {
        const before = writer.last;
        await until(() => writer.last > before + 200);
        assert.notEqual(await leader(), paused);
      } finally {
        servers.cluster.resumeServer(paused);
      }
      await servers.cluster.untilHealthy();
      const back = writer.last;
      await until(() => writer.last > back + 200);
      await writer.stop();
      await assertComplete(servers, name, writer.last);
    },
  );

  check(
    "without a majority everything is unknown or unavailable in time, and goes on when there is one",
    async ({ servers, log, name, leader }) => {
      assert.equal((await log.append(1, payload(1))).kind, "appended");
      const left = await leader();
      const paused = servers.cluster.names.filter((server) => server !== left);
      const cutOffLimits = { ...limits, engineMakeMs: 2_000 };
      const cutOff = await servers.connect({ servers: [servers.cluster.urlOf(left)], limits: cutOffLimits });
      const cutOffLog = (await cutOff.open(name))!;
      for (const server of paused) await servers.cluster.pauseServer(server);
      try {
        const startMs = performance.now();
        // The leader that is left takes its word for it that the log ends at 1, and can't commit.
        assert.equal((await cutOffLog.append(2, payload(2))).kind, "unknown");
        assert.ok(performance.now() - startMs < limits.engineAppendMs + slackMs);
        const makingMs = performance.now();
        await assert.rejects(cutOff.create(`${name}-other`, { firstSequence: 1 }), isUnavailable);
        assert.ok(performance.now() - makingMs < cutOffLimits.engineMakeMs + slackMs);
      } finally {
        for (const server of paused) servers.cluster.resumeServer(server);
      }
      await until(async () => (await stands(log, 2)) || (await log.append(2, payload(2))).kind === "appended");
      await until(async () => (await log.append(3, payload(3))).kind === "appended" || (await stands(log, 3)));
      await servers.cluster.untilHealthy();
      await assertComplete(servers, name, 3);
    },
  );

  check(
    "a tail goes on, without a gap, while one server after the other is restarted and one is killed",
    async ({ servers, log }) => {
      const heard: number[] = [];
      let endedCount = 0;
      const listener: TailListener = {
        record: (sequence, bytes) => {
          assert.equal(textOf(bytes), textOf(payload(sequence)));
          heard.push(sequence);
        },
        ended: () => endedCount++,
      };
      const tail = log.tail(1, listener);
      const writer = new Writer(log, 2);
      for (const [index, server] of servers.cluster.names.entries()) {
        const before = writer.last;
        await until(() => writer.last > before + 50 && heard.length > before);
        if (index === 0) await servers.cluster.killServer(server);
        else await servers.cluster.stopServer(server);
        await servers.cluster.startServer(server);
        await servers.cluster.untilHealthy();
      }
      await writer.stop();
      await until(() => heard.length >= writer.last);
      tail.close();
      assert.deepEqual(
        heard,
        [...heard.keys()].map((index) => index + 1),
      );
      assert.equal(endedCount, 0);
    },
  );
});
