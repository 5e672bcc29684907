/**
 * Damage that the servers don't notice (docs/engine-nats.md, "Damage"), and what the engine's port then shows: holes and odd ends, as its
 * contract allows, never others' bytes as somebody's. Finding and repairing it is the business of those who keep chains and copies.
 *
 * If one of these fails because the damage is gone, a server's version has healed it: good news, for the docs and the start gate.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeUtf8 } from "../../../base/bytes.ts";
import { limits } from "../../../base/limits.ts";
import type { EngineLog } from "../../engine-log.ts";
import { appendSurely } from "../../engine-log.suite.ts";
import { logStream } from "./names.ts";
import { cutRaftLog, flipBit, halveBlocks, type StreamFiles } from "./nats-damage.fixture.ts";
import type { NatsEngine } from "./nats-engine.ts";
import { leaderOf, makeLeader, streamInfo, TestServers, until } from "./servers.fixture.ts";

const payload = (sequence: number): Uint8Array => encodeUtf8(`record ${sequence} ${"x".repeat(100)}`);
const recordCount = 600;

interface Given {
  readonly servers: TestServers;
  readonly engine: NatsEngine;
  readonly log: EngineLog;
  files(server: string): Promise<StreamFiles>;
}

async function fill(log: EngineLog, from: number, to: number): Promise<void> {
  for (let sequence = from; sequence <= to; sequence++) await appendSurely(log, sequence, payload(sequence));
}

/** Sequences at which the leader has nothing; fails where it has something else than was appended. */
async function missing(log: EngineLog): Promise<number[]> {
  const found = await Promise.all(Array.from({ length: recordCount }, (_, index) => log.read(index + 1)));
  const sequences: number[] = [];
  for (const [index, bytes] of found.entries()) {
    if (bytes === undefined) sequences.push(index + 1);
    else assert.equal(Buffer.compare(bytes, payload(index + 1)), 0, `other bytes stand at ${index + 1}`);
  }
  return sequences;
}

/** Damages the files of a server that follows, while it is stopped, and makes it the leader. */
async function leadDamaged({ servers, engine, files }: Given, damage: (files: StreamFiles) => Promise<unknown>) {
  const leader = await leaderOf(engine, "log");
  const damaged = servers.cluster.names.find((name) => name !== leader)!;
  const damagedFiles = await files(damaged);
  await servers.cluster.stopServer(damaged);
  await damage(damagedFiles);
  await servers.cluster.startServer(damaged);
  await servers.cluster.untilHealthy();
  await makeLeader(engine, "log", damaged);
  return servers.cluster.names.filter((name) => name !== damaged);
}

/** Each on servers of its own, at the same time: most of it is waiting. */
describe("an engine whose servers' files are damaged", { concurrency: true }, () => {
  const check = (sentence: string, body: (given: Given) => Promise<void>): void => {
    test(sentence, async () => {
      const servers = await TestServers.start({ serverCount: 3 });
      try {
        const engine = await servers.connect({ limits: { ...limits, engineTailRepairMs: 2_000 } });
        const log = await engine.create("log", { firstSequence: 1 });
        const files = async (server: string): Promise<StreamFiles> => ({
          storeDirectory: servers.cluster.storeDirectoryOf(server),
          stream: logStream("test", "log"),
          raftGroup: (await streamInfo(engine, "log"))!.cluster!.raft_group!,
        });
        await body({ servers, engine, log, files });
      } finally {
        await servers.dispose();
      }
    });
  };

  check("half a file: a hole that the end belies; other servers have what it lacks", async (given) => {
    const { engine, log } = given;
    await fill(log, 1, recordCount);
    const others = await leadDamaged(given, async (files) => assert.equal(await halveBlocks(files), 1));
    assert.deepEqual(await log.bounds(), { first: 1, last: recordCount });
    const holes = await missing(log);
    assert.ok(holes.length > recordCount / 4, `only ${holes.length} records are missing`);
    const [first] = holes;
    assert.deepEqual(
      holes.map((sequence) => sequence - first!),
      [...holes.keys()],
      "it is one hole, to the end",
    );
    assert.equal((await log.readMany(1, 10 * 1024 * 1024)).length, first! - 1);
    assert.deepEqual(await log.readMany(first!, 1024), []);
    // Nothing stops the next append: whoever owns the log has to look.
    assert.equal((await log.append(recordCount + 1, payload(recordCount + 1))).kind, "appended");
    for (const server of others) {
      await makeLeader(engine, "log", server);
      assert.deepEqual(await missing(log), [], `on ${server}`);
    }
  });

  check("one bit: one record can't be read, and nothing tells that it is gone", async (given) => {
    const { engine, log } = given;
    await fill(log, 1, recordCount);
    const others = await leadDamaged(given, (files) => flipBit(files, encodeUtf8("record 300 ")));
    assert.deepEqual(await log.bounds(), { first: 1, last: recordCount });
    assert.deepEqual(await missing(log), [300]);
    assert.equal((await log.readMany(1, 10 * 1024 * 1024)).length, 299);
    for (const server of others) {
      await makeLeader(engine, "log", server);
      assert.deepEqual(await missing(log), [], `on ${server}`);
    }
  });

  check(
    "a Raft log that is cut: the log is rolled back, and another record takes an acknowledged one's place",
    async (given) => {
      const { servers, engine, log, files } = given;
      const { cluster } = servers;
      const [cut, lagging, good] = cluster.names as [string, string, string];
      await fill(log, 1, recordCount / 2);
      await makeLeader(engine, "log", cut);
      const heard: number[] = [];
      const ends: unknown[] = [];
      log.tail(recordCount / 2, { record: (sequence) => heard.push(sequence), ended: (cause) => ends.push(cause) });
      const cutFiles = await files(cut);
      await cluster.stopServer(lagging);
      await fill(log, recordCount / 2 + 1, recordCount);
      await until(() => heard.at(-1) === recordCount);
      await cluster.killServer(good);
      await cluster.killServer(cut);
      assert.notEqual(await cutRaftLog(cutFiles, 1 / 4), 0);
      await cluster.startServer(cut);
      await cluster.startServer(lagging);
      await until(async () => (await streamInfo(engine, "log"))?.cluster?.leader !== undefined, 60_000);
      const { last } = await log.bounds();
      assert.ok(last >= recordCount / 2 && last < recordCount, `the log ends at ${last}`);
      // What continues the acknowledged end is refused, and what continues the shorter one taken.
      assert.equal((await log.append(recordCount + 1, payload(recordCount + 1))).kind, "refused");
      await appendSurely(log, last + 1, encodeUtf8("of another history"));
      await cluster.startServer(good);
      await cluster.untilHealthy();
      // The server that has all of it does not bring it back. (It may not even catch up with the others for a while.)
      for (let sequence = last + 2; sequence <= last + 5; sequence++) {
        await appendSurely(log, sequence, encodeUtf8("of another history"));
      }
      const found = await log.readMany(last + 1, 1024);
      assert.deepEqual(
        found.map((bytes) => Buffer.from(bytes).toString()),
        Array.from({ length: 5 }, () => "of another history"),
      );
      // The tail has told of what is no more: it ends rather than going on behind it.
      await until(() => ends.length > 0);
      assert.deepEqual(
        heard,
        Array.from({ length: recordCount / 2 + 1 }, (_, index) => recordCount / 2 + index),
      );
      assert.equal(ends.length, 1);
    },
  );
});
