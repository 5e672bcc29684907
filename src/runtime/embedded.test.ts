/** What a node does about a store that is damaged while it runs, a disk that fails it for a moment, and being closed meanwhile. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DiskError } from "../host/host.ts";
import type { EmbeddedNode } from "./embedded.ts";
import { Place } from "./embedded.fixture.ts";

const MiB = 1024 * 1024;

async function write(place: Place, node: EmbeddedNode, count: number): Promise<void> {
  for (let i = 0; i < count; i++)
    await place
      .client(node)
      .note(`n${i}`)
      .write({ line: `${i}` });
  await place.until("the store is up to date", () => {
    const { sequence, appliedSequence } = node.service.health();
    return sequence === appliedSequence;
  });
}

async function check(place: Place, node: EmbeddedNode, count: number): Promise<void> {
  for (let i = 0; i < count; i++) assert.deepEqual(await place.client(node).note(`n${i}`).lines(), [`${i}`]);
}

/** A node with some notes, and too little memory to keep them: calls read the store. */
async function written(place: Place, count = 20): Promise<EmbeddedNode> {
  const node = await place.open({ cacheBytes: 1 });
  await write(place, node, count);
  return node;
}

describe("a node whose store is damaged while it runs", () => {
  test("rebuilds it when a snapshot finds the damage, and says so", () =>
    Place.run("snapshot", async (place) => {
      const node = await written(place);
      place.store.damageValue();
      // The first one of a life reads all of the store; nobody else does here.
      await assert.rejects(node.snapshot(), { code: "damaged" });
      assert.ok(place.hasTraced("A snapshot has found the store damaged"), place.traces());
      await place.until("it is ready", () => node.service.health().state === "ready");
      assert.deepEqual(place.stops, []);
      assert.deepEqual(node.service.health().problems, []);
      await check(place, node, 20);
      await node.snapshot();
      await node.close();
    }));

  test("stays up while the disk has no room for the rebuild, names what it waits for, and goes on when there is", () =>
    Place.run("room", async (place) => {
      let roomBytes = 0;
      const node = await place.open({ cacheBytes: 1, storeEngine: place.storeThatNeeds(() => roomBytes) });
      await write(place, node, 20);
      place.store.damageValue();
      roomBytes = MiB;
      place.node.disk.capacityBytes = place.node.disk.usedBytes + 1000;
      await assert.rejects(node.snapshot(), { code: "damaged" });
      await place.until("the problem is named", () => {
        const { state, problems } = node.service.health();
        return state === "starting" && problems.some((problem) => problem.startsWith("disk-full: "));
      });
      // For long: it doesn't give up.
      await place.scheduler.sleep(300_000);
      await assert.rejects(place.client(node).note("n1").lines(), { code: "not-ready", retry: "safe" });
      const waits = place.traced.filter(({ message }) => message.startsWith("The disk has no room to rebuild"));
      assert.ok(waits.length > 5 && waits.length < 30, `${waits.length} attempts in five minutes`);
      assert.deepEqual(place.stops, []);
      place.node.disk.capacityBytes += 2 * MiB;
      await place.until("it is ready", () => node.service.health().state === "ready");
      await check(place, node, 20);
      await place.client(node).note("after").write({ line: "the rebuild" });
      assert.deepEqual(node.service.health().problems, []);
      await node.close();
    }));

  test("can be closed while it waits for room, and the next one has it all", () =>
    Place.run("close", async (place) => {
      let roomBytes = 0;
      const node = await place.open({ cacheBytes: 1, storeEngine: place.storeThatNeeds(() => roomBytes) });
      await write(place, node, 5);
      place.store.damageValue();
      roomBytes = 2 ** 50;
      await assert.rejects(node.snapshot(), { code: "damaged" });
      await place.until("it waits", () => place.hasTraced("The disk has no room to rebuild"));
      const beganMs = place.scheduler.nowMs;
      await node.close();
      assert.ok(place.scheduler.nowMs - beganMs < 1000, "closing waits for no attempt");
      assert.deepEqual(place.stops, []);
      const next = await place.reopen();
      await check(place, next, 5);
      await next.close();
    }));
});

/** Failures that no read has met yet are still to come. */
async function opensAtLast(place: Place, options: { readonly losesStore?: boolean }): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      const node = await place.reopen(options);
      await check(place, node, 5);
      return await node.close();
    } catch (error) {
      assert.ok(error instanceof DiskError && attempt < 100, String(error));
    }
  }
}

describe("a node whose disk fails for a moment", () => {
  test("while it is opened says that it failed, calls nothing damaged, and has everything the next time", () =>
    Place.run("passing", async (place) => {
      const node = await written(place, 5);
      await node.snapshot();
      await node.close();
      let failureCount = 0;
      for (let nth = 1; nth <= 40; nth++) {
        place.traced.splice(0);
        const opening = place.reopen();
        place.node.disk.failNext("read", nth);
        const failure = await opening.then(
          (opened) => opened.close(),
          (error: unknown) => error,
        );
        if (failure !== undefined) {
          failureCount++;
          assert.ok(failure instanceof DiskError && failure.code === "failed", `read ${nth}: ${String(failure)}`);
        }
        assert.ok(!place.traces().includes("damaged"), `read ${nth}: ${place.traces()}`);
      }
      assert.ok(failureCount > 5, `${failureCount} of the reads failed`);
      await opensAtLast(place, {});
    }));

  test("while it looks for a snapshot to rebuild the store from takes none for damaged", () =>
    Place.run("looking", async (place) => {
      const node = await written(place, 5);
      await node.snapshot();
      await node.close();
      for (let nth = 1; nth <= 12; nth++) {
        place.traced.splice(0);
        const opening = place.reopen({ losesStore: true });
        place.node.disk.failNext("read", nth);
        const failure = await opening.then(
          (opened) => opened.close(),
          (error: unknown) => error,
        );
        assert.ok(failure === undefined || failure instanceof DiskError, `read ${nth}: ${String(failure)}`);
        assert.ok(!place.traces().includes("damaged"), `read ${nth}: ${place.traces()}`);
      }
      await opensAtLast(place, { losesStore: true });
    }));
});
