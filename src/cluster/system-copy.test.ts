import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import { SeededRandom } from "../base/random.ts";
import { decodeRecord, encodeRecord, formatVersion, incarnationBytes, type LogRecord, noHash } from "../log/record.ts";
import { SimulatedNode } from "../sim/host.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { clusterOf, founding, joining, stateAfter, successorOf } from "./system.fixture.ts";
import { SystemChain } from "./system-chain.ts";
import { SystemCopy } from "./system-copy.ts";
import { firstSequenceOf } from "./system-names.ts";
import { encodeSystemRecords, type SystemRecord } from "./system-records.ts";

/** A log of `count` records that each join a member, behind the founding. */
function recordsOf(count: number): LogRecord[] {
  const records: LogRecord[] = [];
  for (let sequence = 1; sequence <= count; sequence++) {
    const previous = records.at(-1);
    const payload: SystemRecord[] = [sequence === 1 ? founding() : joining(`m${sequence}`)];
    const { bytes } = encodeRecord(
      {
        kind: sequence === 1 ? "genesis" : "batch",
        readerVersion: formatVersion,
        incarnation: new Uint8Array(incarnationBytes).fill(1),
        epoch: 1,
        sequence,
        timeMs: 1000,
        previousHash: previous?.hash ?? noHash,
      },
      encodeSystemRecords(payload),
    );
    records.push(decodeRecord(bytes));
  }
  return records;
}

function chainOf(records: readonly LogRecord[]): SystemChain {
  const chain = new SystemChain();
  for (const record of records) chain.accept(chain.examine(record)!);
  return chain;
}

class World {
  readonly scheduler = new Scheduler();
  readonly warnings: string[] = [];
  readonly node = new SimulatedNode({
    scheduler: this.scheduler,
    random: new SeededRandom("system-copy"),
    onTrace: ({ level, message }) => level === "warn" && this.warnings.push(message),
  });

  /** In a new life of the node. */
  async open(): Promise<SystemCopy> {
    if (this.node.alive) this.node.crash();
    const { disk, random, trace } = this.node.start();
    const parts = { disk, random, trace, directory: "system", segmentBytes: 64 * 1024 };
    return this.scheduler.complete(SystemCopy.open(parts));
  }

  append(copy: SystemCopy, record: LogRecord, isBeginning = false): Promise<void> {
    return this.scheduler.complete(copy.append(record, { isBeginning }));
  }

  async sequences(copy: SystemCopy): Promise<number[]> {
    const read = async (): Promise<number[]> => {
      const found: number[] = [];
      for await (const { sequence } of copy.records()) found.push(sequence);
      return found;
    };
    return this.scheduler.complete(read());
  }
}

describe("a node's copy of the system log", () => {
  const records = recordsOf(4);
  const successor = successorOf(records[3]!, chainOf(records).state);

  test("has after a crash what was appended (SK1)", async () => {
    const world = new World();
    const copy = await world.open();
    assert.deepEqual(await world.sequences(copy), []);
    for (const record of records) await world.append(copy, record);
    assert.deepEqual(await world.sequences(await world.open()), [1, 2, 3, 4]);
  });

  test("begins anew behind what is not there any more, and keeps that too", async () => {
    const world = new World();
    const copy = await world.open();
    await world.append(copy, records[0]!);
    await world.append(copy, records[2]!, true);
    await world.append(copy, records[3]!);
    assert.deepEqual(await world.sequences(await world.open()), [3, 4]);
  });

  test("is the old log's until the successor's first record is durable, wherever it dies (SK2)", async () => {
    const seen = new Set<string>();
    for (let events = 0; events < 60; events++) {
      const world = new World();
      const copy = await world.open();
      for (const record of records) await world.append(copy, record);
      void copy.append(successor, { isBeginning: true });
      const endEvent = world.scheduler.eventCount + events;
      await world.scheduler.run({ untilMs: Infinity, stopWhen: () => world.scheduler.eventCount >= endEvent });
      const again = await world.open();
      const found = await world.sequences(again);
      seen.add(found.join());
      assert.equal(again.index, found[0] === 1 ? 0 : 1);
      if (again.index === 0) await world.append(again, successor, true);
      assert.deepEqual(await world.sequences(await world.open()), [successor.sequence]);
    }
    assert.deepEqual([...seen].sort(), ["1,2,3,4", String(successor.sequence)]);
  });

  test("is given up where the disk has damaged it, and that is told (SK3)", async () => {
    const world = new World();
    const copy = await world.open();
    for (const record of records) await world.append(copy, record);
    await world.scheduler.complete(copy.close());
    world.node.crash();
    const { disk } = world.node.start();
    const [name] = (await world.scheduler.complete(disk.list("system/system"))).filter((each) =>
      each.endsWith(".segment"),
    );
    const spoil = async (): Promise<void> => {
      const file = await disk.open(`system/system/${name}`);
      await file.write(700, new Uint8Array(8).fill(0xff));
      await file.sync();
      await file.close();
    };
    await world.scheduler.complete(spoil());
    const again = await world.open();
    assert.deepEqual(await world.sequences(again), []);
    assert.equal(world.warnings.length, 1);
    for (const record of records) await world.append(again, record);
    assert.deepEqual(await world.sequences(await world.open()), [1, 2, 3, 4]);
  });
});

describe("the chain over a succession", () => {
  const records = recordsOf(4);
  const { state } = chainOf(records);
  const isDamaged = (error: unknown): boolean => error instanceof OnefoldError && error.code === "damaged";

  test("goes on with the state that the successor holds, also for who had less and who has nothing", () => {
    const successor = successorOf(records[3]!, state);
    for (const count of [4, 2, 0]) {
      const chain = chainOf(records.slice(0, count));
      const step = chain.examine(successor);
      assert.ok(step?.isBeginning);
      chain.accept(step);
      assert.deepEqual(chain.state.members, state.members);
      assert.deepEqual(chain.state.checkpoints, [firstSequenceOf(1)]);
      assert.equal(chain.state.sequence, firstSequenceOf(1));
      assert.ok(chain.isWhole);
    }
  });

  test("is not followed by a node that has more (SC3), nor with another state than its own (SC4)", () => {
    const shorter = successorOf(records[2]!, chainOf(records.slice(0, 3)).state);
    assert.throws(() => chainOf(records).examine(shorter), isDamaged);
    const other = stateAfter([joining("x")], clusterOf(["a"]));
    const wrong = successorOf(records[3]!, { ...other, sequence: 4 });
    assert.throws(() => chainOf(records).examine(wrong), isDamaged);
  });
});
