import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import { encodeRecord, formatVersion, incarnationBytes } from "../log/record.ts";
import { SimulatedNode } from "../sim/host.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { FakeEngineStreams } from "./engine-log.fake.ts";
import { clusterOf } from "./system.fixture.ts";
import { firstSequenceOf, indexOfName, indexOfSequence, newestSystemLog, systemLogName } from "./system-names.ts";
import type { SystemPeers, ToldSystemPosition } from "./system-positions.ts";
import { findSuccessor } from "./system-succession.ts";

const state = { ...clusterOf(["a", "b", "c"]), sequence: 9 };
const link = {
  incarnation: new Uint8Array(incarnationBytes).fill(1),
  epoch: 1,
  sequence: 9,
  hash: new Uint8Array(32).fill(2),
  timeMs: 5,
};

/** One node, `b`, that has stopped at a log with a hole, and what the others tell. */
class World {
  readonly scheduler = new Scheduler();
  readonly streams = new FakeEngineStreams(this.scheduler);
  readonly engine = this.streams.view(new SeededRandom("engine"));
  told: readonly ToldSystemPosition[] = [];
  /** Nodes that are not gone, and those that are, by the state of `b`. */
  present: readonly string[] = ["a", "c"];
  gone: readonly string[] = [];
  isOver = false;

  constructor() {
    this.streams.get("system")!.last = 12;
  }

  async find(): Promise<string | undefined> {
    const node = new SimulatedNode({ scheduler: this.scheduler, random: new SeededRandom("b"), name: "b" });
    const peers: SystemPeers = {
      others: () => this.present,
      known: () => [...this.present, ...this.gone],
      ask: () => Promise.resolve(this.told),
    };
    const log = (await this.engine.open("system"))!;
    const place = await findSuccessor({
      host: node.start(),
      limits,
      engine: this.engine,
      peers,
      node: "b",
      place: { index: 0, log },
      ending: { isSealed: false, detail: "a hole" },
      state,
      link,
      isWanted: () => !this.isOver,
    });
    return place?.log.name;
  }

  pass(durationMs: number): Promise<unknown> {
    return this.scheduler.run({ untilMs: this.scheduler.nowMs + durationMs });
  }

  get hasBegun(): boolean {
    return this.streams.get("system-1") !== undefined;
  }
}

const told = (node: string, sequence: number, isFinal = true): ToldSystemPosition => ({ node, sequence, isFinal });

describe("the succession of a system log", () => {
  test("is begun at once by the node whose copy reaches farthest, when all have told that theirs is final (SY1)", async () => {
    const world = new World();
    world.told = [told("a", 8), told("c", 9)];
    assert.equal(await world.scheduler.complete(world.find()), "system-1");
    assert.equal(world.streams.get("system")!.last, 13, "behind a seal");
    const { first, last } = world.streams.get("system-1")!;
    assert.deepEqual([first, last], [firstSequenceOf(1), firstSequenceOf(1)]);
    assert.ok(world.scheduler.nowMs < 1000);
  });

  test("is left to who has more, or as much and a lower name, however long that takes (SY1, SY2)", async () => {
    for (const better of [told("c", 10), told("c", 10, false), told("a", 9)]) {
      const world = new World();
      world.told = [better];
      const finding = world.find();
      await world.pass(10 * limits.systemSuccessionMs);
      assert.equal(world.hasBegun, false);
      world.isOver = true;
      assert.equal(await world.scheduler.complete(finding), undefined);
    }
  });

  test("waits for those who are away, then a majority will do; fewer never (SY1)", async () => {
    const world = new World();
    world.told = [told("c", 9)];
    const finding = world.find();
    await world.pass(limits.systemSuccessionMs - 1000);
    assert.equal(world.hasBegun, false);
    assert.equal(await world.scheduler.complete(finding), "system-1");
    for (const minority of [[], [told("c", 9, false)]]) {
      const alone = new World();
      alone.told = minority;
      const never = alone.find();
      await alone.pass(10 * limits.systemSuccessionMs);
      assert.equal(alone.hasBegun, false, "what may still be appended to is no final answer");
      alone.isOver = true;
      await alone.scheduler.complete(never);
    }
  });

  test("waits for those who are gone by this copy as well: they may have come back in records that it lacks (SY1)", async () => {
    for (const answers of [[], [told("a", 12)], [told("a", 9, false)]]) {
      const world = new World();
      world.present = [];
      world.gone = ["a"];
      world.told = answers;
      const finding = world.find();
      await world.pass(limits.systemSuccessionMs - 1000);
      assert.equal(world.hasBegun, false);
      world.told = [told("a", 8)];
      await world.pass(1000);
      assert.equal(world.hasBegun, true);
      world.isOver = true;
      await world.pass(1000);
      await finding;
    }
    const alone = new World();
    alone.present = [];
    alone.gone = ["a"];
    const finding = alone.find();
    await alone.pass(limits.systemSuccessionMs + 1000);
    assert.equal(alone.hasBegun, true, "who stays away for long is not waited for");
    await finding;
  });

  test("is not begun where no seal is acknowledged", async () => {
    const world = new World();
    world.told = [told("a", 8), told("c", 8)];
    world.streams.get("system")!.isElecting = true;
    const finding = world.find();
    await world.pass(2 * limits.systemSuccessionMs);
    assert.equal(world.hasBegun, false);
    world.streams.get("system")!.isElecting = false;
    assert.equal(await world.scheduler.complete(finding), "system-1");
  });

  test("goes on with what another has begun at the same moment, and with the newest that has a record", async () => {
    const world = new World();
    const stream = world.streams.make("system-1", firstSequenceOf(1));
    world.streams.make("system-2", firstSequenceOf(2));
    world.told = [told("a", 8), told("c", 8)];
    const { bytes } = encodeRecord(
      { kind: "seal", readerVersion: formatVersion, ...link, sequence: firstSequenceOf(1), previousHash: link.hash },
      new Uint8Array(),
    );
    stream.append(firstSequenceOf(1), bytes);
    const other = stream.records.get(firstSequenceOf(1));
    assert.equal(await world.scheduler.complete(world.find()), "system-1");
    assert.equal(stream.records.get(firstSequenceOf(1)), other);
    assert.equal(stream.last, firstSequenceOf(1));
    const newest = await world.scheduler.complete(newestSystemLog(world.engine, 0));
    assert.equal(newest?.log.name, "system-1", "a log without a record does not count");
  });
});

test("each system log has its name and its range of sequences", () => {
  for (const index of [0, 1, 7, 8191]) {
    assert.equal(indexOfName(systemLogName(index)), index);
    assert.equal(indexOfSequence(firstSequenceOf(index)), index);
    assert.equal(indexOfSequence(firstSequenceOf(index + 1) - 1), index);
    assert.ok(Number.isSafeInteger(firstSequenceOf(index + 1) - 1));
  }
  for (const name of ["system-0", "system-01", "systems", "anchors", "system-"])
    assert.equal(indexOfName(name), undefined);
});
