import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import { openSegmentLog } from "../log/engine/segment/engine.ts";
import type { LogPosition } from "../log/log.ts";
import { RecordChain } from "../log/log.suite.ts";
import { SimulatedNode } from "../sim/host.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { openDiskBlobs } from "../store/blobs.ts";
import { writeSnapshot } from "../store/snapshot.ts";
import { memoryEngine, slotWrite, turn } from "../store/snapshot.fixture.ts";
import { dataLayout } from "./data-layout.ts";
import { type DataReport, verifyDataDirectory } from "./verify.ts";

class Place {
  readonly scheduler = new Scheduler();
  readonly node = new SimulatedNode({ scheduler: this.scheduler, random: new SeededRandom("verify") });
  #chain = new RecordChain();

  run<T>(body: () => Promise<T>): Promise<T> {
    return this.scheduler.complete(body());
  }

  /** Appends records and anchors the last; returns its position. */
  append(count: number): Promise<LogPosition> {
    return this.run(async () => {
      const { disk, random, trace } = this.node.start();
      await disk.makeDirectory(dataLayout.log);
      const log = await openSegmentLog({
        disk,
        random,
        trace,
        directory: dataLayout.log,
        segmentBytes: 64 * 512,
        reserveBytes: 0,
      });
      for (let i = 0; i < count; i++) await this.#chain.append(log, random.bytes(700));
      await log.close();
      this.node.crash();
      return this.#chain.end!;
    });
  }

  snapshot(position: LogPosition, value: string): Promise<void> {
    return this.run(async () => {
      const { disk } = this.node.start();
      const store = await memoryEngine("verify").open();
      await store.apply([slotWrite(1, 5, "key", value)], position);
      const blobs = await openDiskBlobs({ disk, directory: dataLayout.snapshots });
      const view = store.view();
      await writeSnapshot({ view, blobs, codeVersion: "test", yield: turn });
      view.close();
      this.node.crash();
    });
  }

  verify(): Promise<DataReport> {
    return this.run(async () => {
      const report = await verifyDataDirectory({ host: this.node.start() });
      this.node.crash();
      return report;
    });
  }

  /** The path of the largest file in a directory of the disk. */
  largest(directory: string): string {
    const paths = this.node.disk.paths().filter((path) => path.startsWith(`${directory}/`));
    return paths.sort((a, b) => this.node.disk.fileSizeBytes(b) - this.node.disk.fileSizeBytes(a))[0]!;
  }
}

describe("verifying a data directory", () => {
  test("finds a healthy one whole, and says how far it goes", async () => {
    const place = new Place();
    await place.snapshot(await place.append(10), "older");
    await place.snapshot(await place.append(10), "newer");
    const report = await place.verify();
    assert.deepEqual(report.damages, []);
    assert.equal(report.log.recordCount, 20);
    assert.deepEqual(report.snapshotSequences, [20, 10]);
  });

  test("finds one without snapshots whole, and makes no directory for them", async () => {
    const place = new Place();
    await place.append(3);
    const report = await place.verify();
    assert.deepEqual([report.damages, report.snapshotSequences], [[], []]);
    assert.ok(!place.node.disk.paths().some((path) => path.startsWith(dataLayout.snapshots)));
  });

  test("names file, byte and record of a flipped bit in the log", async () => {
    const place = new Place();
    await place.append(10);
    const path = place.largest(dataLayout.log);
    place.node.disk.flip(path, 8 * 3000);
    const [damage, ...others] = (await place.verify()).damages;
    assert.equal(damage?.file, path);
    assert.ok(damage.offset <= 3000 && damage.offset > 3000 - 2048, `byte ${damage.offset}`);
    assert.equal(typeof damage.sequence, "number");
    assert.deepEqual(others, []);
  });

  test("names the file of a damaged snapshot, and still verifies the other and the log", async () => {
    const place = new Place();
    await place.snapshot(await place.append(5), "older");
    const before = new Set(place.node.disk.paths());
    await place.snapshot(await place.append(5), "newer, and longer so that it is the largest of them");
    const added = place.node.disk.paths().filter((path) => path.startsWith(dataLayout.snapshots) && !before.has(path));
    place.node.disk.flip(added[0]!, 8 * 3);
    const report = await place.verify();
    assert.deepEqual([report.damages.map((damage) => damage.file), report.snapshotSequences], [[added[0]], [5]]);
    assert.equal(report.log.damage, null);
  });

  test("finds a log that was rolled back behind a snapshot, its anchors included", async () => {
    const place = new Place();
    await place.append(5);
    const rolledBack = new Place();
    await rolledBack.append(5);
    await rolledBack.snapshot(await place.append(5), "ahead of the log");
    const [damage] = (await rolledBack.verify()).damages;
    assert.ok(damage?.file.startsWith(`${dataLayout.log}/`), JSON.stringify(damage));
  });

  test("refuses a directory that a node has open", async () => {
    const place = new Place();
    await place.append(1);
    await place.run(async () => {
      const host = place.node.start();
      const lock = await host.disk.lock(dataLayout.lock);
      await assert.rejects(verifyDataDirectory({ host }), { code: "data-directory-busy" });
      await lock.release();
      assert.deepEqual((await verifyDataDirectory({ host })).damages, []);
    });
  });
});
