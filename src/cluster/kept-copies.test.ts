import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import { openSegmentLog } from "../log/engine/segment/engine.ts";
import { RecordChain } from "../log/log.suite.ts";
import { simulatedHost } from "../sim/host.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { copyDirectory, KeptCopies } from "./kept-copies.ts";

const segmentBytes = 64 * 1024;

function rig(
  body: (
    host: ReturnType<typeof simulatedHost>["host"],
    node: ReturnType<typeof simulatedHost>["node"],
  ) => Promise<void>,
) {
  const scheduler = new Scheduler();
  const { host, node } = simulatedHost({ scheduler, random: new SeededRandom("kept") });
  return scheduler.complete(body(host, node));
}

async function write(host: ReturnType<typeof simulatedHost>["host"], log: string, count: number): Promise<void> {
  const { disk, random, trace } = host;
  await disk.makeDirectory("shards");
  const copy = await openSegmentLog({
    disk,
    random,
    trace,
    directory: copyDirectory(log),
    segmentBytes,
    reserveBytes: 0,
  });
  const chain = new RecordChain();
  for (let index = 0; index < count; index++) {
    const record = chain.encode(Uint8Array.of(index));
    assert.equal((await copy.append(record.bytes)).kind, "appended");
    chain.accept(record);
  }
  await copy.close();
}

describe("copies on a node's disk", () => {
  test("are told of with how far they reach, whoever works on them; absent ones reach nothing", () =>
    rig(async (host) => {
      await write(host, "shard-1", 4);
      await write(host, "shard-2", 7);
      const kept = await KeptCopies.open({ ...host, disk: host.disk, segmentBytes });
      assert.equal(kept.reach("shard-1")?.end.sequence, 4);
      assert.equal(kept.reach("shard-2")?.end.sequence, 7);
      assert.equal(kept.reach("shard-3"), null);
      assert.deepEqual(kept.logs, ["shard-1", "shard-2"]);
    }));

  test("are forgotten with their files", () =>
    rig(async (host) => {
      await write(host, "shard-1", 4);
      const kept = await KeptCopies.open({ ...host, disk: host.disk, segmentBytes });
      await kept.remove("shard-1");
      assert.equal(kept.has("shard-1"), false);
      assert.deepEqual(await host.disk.list(copyDirectory("shard-1")), []);
      assert.equal((await KeptCopies.open({ ...host, disk: host.disk, segmentBytes })).reach("shard-1"), null);
    }));

  test("that are damaged are counted on for nothing", () =>
    rig(async (host) => {
      await write(host, "shard-1", 4);
      const directory = copyDirectory("shard-1");
      const [name] = (await host.disk.list(directory)).filter((file) => file.includes("segment") || /^\d/.test(file));
      const file = await host.disk.open(`${directory}/${name}`);
      await file.write(0, new Uint8Array(512));
      await file.close();
      const kept = await KeptCopies.open({ ...host, disk: host.disk, segmentBytes });
      assert.equal(kept.reach("shard-1"), null);
    }));
});
