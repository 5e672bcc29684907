/** A node whose disk fills up: it trims itself free where that is possible at all, and says what it lacks where it isn't. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import type { EmbeddedNode } from "./embedded.ts";
import { Place } from "./embedded.fixture.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const options = { segmentBytes: MiB, reserveBytes: 256 * KiB, snapshotBytes: 3 * MiB };
const noteCount = 40;
const pageBytes = 60_000;

/** Writes a page of some note, whose content tells how manieth write it was; false while the disk is full. */
class Writer {
  readonly #place: Place;
  /** What was acknowledged last of each note. */
  readonly written = new Map<string, string>();
  /** Writes that got `disk-full`. */
  fullCount = 0;
  #count = 0;

  constructor(place: Place) {
    this.#place = place;
  }

  async tryWrite(node: EmbeddedNode, note = `n${this.#count % noteCount}`): Promise<boolean> {
    const text = `${this.#count++} `.padEnd(pageBytes, note);
    try {
      await this.#place.client(node).note(note).setPage({ key: "page", text });
    } catch (error) {
      assert.ok(error instanceof OnefoldError && error.code === "disk-full", String(error));
      this.fullCount++;
      return false;
    }
    this.written.set(note, text);
    return true;
  }

  /** Writes so many; waits where the disk is full. */
  async write(node: EmbeddedNode, count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.#place.until("a write", () => this.tryWrite(node));
  }

  async check(node: EmbeddedNode): Promise<void> {
    for (const [note, text] of this.written) {
      assert.equal(await this.#place.client(node).note(note).page({ key: "page" }), text, note);
    }
  }
}

async function twoSnapshots(node: EmbeddedNode, writer: Writer): Promise<void> {
  for (let i = 0; i < 2; i++) {
    await writer.write(node, noteCount);
    await node.snapshot();
  }
}

describe("a node on a disk that fills up", () => {
  test("leaves room for the next snapshot, so that writes need never wait for somebody to free space", () =>
    Place.run(
      "steady",
      async (place) => {
        const writer = new Writer(place);
        const node = await place.open();
        // Two snapshots of 2.4 MB and a third under way, three segments, the reserve: and little more.
        place.node.disk.capacityBytes = 16 * MiB;
        for (let i = 0; i < 600; i++) {
          await place.until("a write", () => writer.tryWrite(node));
          await place.scheduler.sleep(100);
        }
        assert.ok(node.log.firstSequence > 400, `the log begins at ${node.log.firstSequence}`);
        assert.equal(writer.fullCount, 0, "a snapshot in time keeps writes going");
        await writer.check(node);
        await writer.check(await place.reopen({ losesStore: true }));
      },
      { ...options, snapshotBytes: 100 * MiB },
    ));

  test("trims what it can when there is no room for a snapshot larger than the reserve", () =>
    Place.run(
      "older",
      async (place) => {
        const writer = new Writer(place);
        const node = await place.open();
        await twoSnapshots(node, writer);
        await writer.write(node, 40);
        const firstSequence = node.log.firstSequence;
        // Somebody else takes all that is left: far less than a snapshot of 2.4 MB, reserve included.
        place.node.disk.capacityBytes = place.node.disk.usedBytes + 50 * KiB;
        while (await writer.tryWrite(node)) await place.scheduler.sleep(1);
        await place.until("writes", () => writer.tryWrite(node));
        assert.ok(node.log.firstSequence > firstSequence, "the log was trimmed");
        assert.ok(place.hasTraced("The disk is full: the older snapshot is given up"), place.traces());
        await writer.write(node, 100);
        await writer.check(node);
        assert.deepEqual(node.service.health().problems, []);
        await writer.check(await place.reopen({ losesStore: true }));
      },
      options,
    ));

  test("keeps the only snapshot and the log whole, says how much room it lacks, and goes on when there is that", () =>
    Place.run(
      "only",
      async (place) => {
        const writer = new Writer(place);
        const node = await place.open();
        await writer.write(node, 60);
        await node.snapshot();
        await writer.write(node, 60);
        const { disk } = place.node;
        disk.capacityBytes = disk.usedBytes + 50 * KiB;
        while (await writer.tryWrite(node)) await place.scheduler.sleep(1);
        const problem = () => node.service.health().problems.find((text) => text.includes("The next snapshot needs"));
        await place.until("the problem is named", () => problem() !== undefined);
        const [, needed, free] = /needs (\d+) bytes and (\d+) are free/.exec(problem()!)!;
        assert.ok(Number(needed) > Number(free) && Number(needed) < 4 * MiB, problem());
        assert.equal(node.log.firstSequence, 1);
        await writer.check(node);
        // What it asked for is enough, and goes to the snapshot first, though it is more than a segment.
        disk.capacityBytes += Number(needed) - Number(free) + 8 * KiB;
        await place.until("writes", () => writer.tryWrite(node));
        await place.until("the log is trimmed", () => node.log.firstSequence > 1);
        await writer.check(await place.reopen({ losesStore: true }));
      },
      options,
    ));

  test("goes on where the newest snapshot has the last record, and the older one is too old to trim behind", () =>
    Place.run(
      "trap",
      async (place) => {
        const writer = new Writer(place);
        const node = await place.open();
        await writer.write(node, noteCount);
        await node.snapshot();
        const { disk } = place.node;
        await writer.write(node, 40);
        disk.capacityBytes = disk.usedBytes + 50 * KiB;
        while (await writer.tryWrite(node)) await place.scheduler.sleep(1);
        // What was taken on the way has the last record, and the log begins where it began: nothing more can be trimmed.
        await place.until(
          "a snapshot of the end",
          () => place.newestManifest()?.position.sequence === node.log.end!.sequence,
        );
        assert.equal(node.log.firstSequence, 1);
        await place.until("writes", () => writer.tryWrite(node));
        await writer.write(node, 100);
        assert.ok(node.log.firstSequence > 1, "the log was trimmed");
        await writer.check(node);
        await writer.check(await place.reopen({ losesStore: true }));
      },
      { segmentBytes: 4 * MiB, reserveBytes: 6 * MiB, snapshotBytes: 100 * MiB },
    ));

  test("leaves nothing of a snapshot that it has no room for", () =>
    Place.run(
      "leftovers",
      async (place) => {
        const writer = new Writer(place);
        const node = await place.open();
        await writer.write(node, 60);
        const { disk } = place.node;
        disk.capacityBytes = disk.usedBytes + 1500 * KiB;
        const before = disk.paths();
        await assert.rejects(node.snapshot(), { code: "full" });
        assert.deepEqual(disk.paths(), before);
      },
      options,
    ));

  test("also where the store lacks room on the same disk: the log's reserve is lent to it, and then taken again", () =>
    Place.run(
      "store",
      async (place) => {
        const writer = new Writer(place);
        const node = await place.open({ storeEngine: place.storeThatNeeds(() => 100 * KiB) });
        await twoSnapshots(node, writer);
        await writer.write(node, 30);
        const { disk } = place.node;
        disk.capacityBytes = disk.usedBytes + 50 * KiB;
        const reserve = disk.paths().find((path) => path.endsWith("/reserve"));
        assert.ok(reserve !== undefined);
        while (await writer.tryWrite(node)) await place.scheduler.sleep(1);
        await place.until("the store is full, too", () => place.hasTraced("The store's disk is full"));
        await place.until("writes", () => writer.tryWrite(node));
        await place.until("the reserve is there again", () => disk.paths().includes(reserve));
        await place.until("the store is up to date", () => {
          const { sequence, appliedSequence, problems } = node.service.health();
          return sequence === appliedSequence && problems.length === 0;
        });
        await writer.check(await place.reopen({ losesStore: true }));
      },
      options,
    ));
});
