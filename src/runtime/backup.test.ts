/** Backups of a node that goes on working, and of one that is stopped. */
import { isOfCluster } from "../backup/summary.ts";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { concatBytes } from "../base/bytes.ts";
import { Place } from "./embedded.fixture.ts";
import type { EmbeddedNode } from "./embedded.ts";
import { chunksOf, type Machine, principal, readAll, simulated, smallBackup } from "./backup.fixture.ts";
import { verifyBackup } from "./restore.ts";
import { backUpStopped } from "./stopped-backup.ts";
import { verifyDataDirectory } from "./verify.ts";

const accountCount = 20;
const openingCents = 1000;

/** One transfer with a mark of its own, all in one transaction. */
interface Done {
  readonly mark: string;
  readonly sequence: number;
  readonly acknowledgedMs: number;
}

/** Transfers until told to end; every other one fails after half its writes. */
class Load {
  readonly done: Done[] = [];
  readonly failed: string[] = [];
  readonly #machine: Machine;
  readonly #node: EmbeddedNode;
  #isOver = false;
  #workers: Promise<void>[] = [];

  constructor(machine: Machine, node: EmbeddedNode) {
    this.#machine = machine;
    this.#node = node;
    const { account } = machine.made;
    machine.made.bodies.set("marked", async (tx, input) => {
      const { from, to, mark, fails } = input as { from: string; to: string; mark: string; fails: boolean };
      await tx(account, from).withdraw({ cents: 1 });
      await tx(account, mark).deposit({ cents: 1 });
      if (fails) throw new Error("on purpose");
      await tx(account, to).deposit({ cents: 1 });
      await tx(account, from).withdraw({ cents: 1 });
    });
  }

  start(workerCount: number): void {
    this.#workers = Array.from({ length: workerCount }, (_, worker) => this.#work(worker));
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#workers);
  }

  async #work(worker: number): Promise<void> {
    for (let i = 0; !this.#isOver; i++) {
      const mark = `m${worker}-${i}`;
      const fails = i % 5 === 4;
      const input = {
        from: `a${(worker + i) % accountCount}`,
        to: `a${(worker * 3 + i * 7) % accountCount}`,
        mark,
        fails,
      };
      try {
        const { sequence } = await this.#node.service.transaction("script", { name: "marked", input }, { principal });
        this.done.push({ mark, sequence, acknowledgedMs: this.#machine.scheduler.nowMs });
      } catch (error) {
        if (!fails) throw error;
        this.failed.push(mark);
      }
    }
  }
}

async function balances(machine: Machine, node: EmbeddedNode): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  const ids: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await node.service.list("account", { principal, ...(cursor === undefined ? {} : { cursor }) });
    ids.push(...page.ids);
    cursor = page.cursor;
  } while (cursor !== undefined);
  for (const id of ids) found.set(id, await machine.client(node).account(id).balance());
  return found;
}

describe("a backup that is taken under load", () => {
  for (const seed of ["one", "two", "three"]) {
    test(`restores to the state after one batch, whole, with all that was acknowledged before it: ${seed}`, () =>
      simulated(`load-${seed}`, async (machine) => {
        const source = machine("source");
        const node = await source.open();
        for (let i = 0; i < accountCount; i++) {
          await source.client(node).account(`a${i}`).deposit({ cents: openingCents });
        }
        const load = new Load(source, node);
        load.start(8);
        await source.scheduler.sleep(150);
        const askedMs = source.scheduler.nowMs;
        const opened = await node.openBackup();
        // A slow reader; meanwhile two more snapshots make what it reads garbage, but for its hold.
        let snapshots = 0;
        const backup = await readAll(opened, async () => {
          if (snapshots++ < 2) await node.snapshot();
          await source.scheduler.sleep(20);
        });
        await load.end();
        await node.close();
        const before = load.done.filter(({ acknowledgedMs }) => acknowledgedMs <= askedMs);
        const after = load.done.filter(({ sequence }) => sequence > opened.sequence!);
        assert.ok(before.length > 20 && after.length > 20 && load.failed.length > 5, "there was load on both sides");

        const target = machine("target");
        const report = await target.restore(backup);
        assert.equal(report.parent.sequence, opened.sequence);
        assert.deepEqual((await verifyDataDirectory({ host: target.host })).damages, []);
        const restored = await target.open();
        const found = await balances(target, restored);
        for (const { mark } of before) assert.ok(found.has(mark), `${mark} was acknowledged before the backup`);
        for (const { mark, sequence } of load.done) assert.equal(found.has(mark), sequence <= opened.sequence!, mark);
        for (const mark of load.failed) assert.ok(!found.has(mark), `${mark} was never done`);
        let cents = 0;
        for (const balance of found.values()) cents += balance;
        assert.equal(cents, accountCount * openingCents, "transactions are there as a whole");
        await restored.close();
      }));
  }
});

describe("a backup", () => {
  test("keeps the pieces that it is made of until it is over, and no longer", () =>
    simulated("held", async (machine) => {
      const source = machine("source");
      const node = await source.open();
      await source.client(node).account("a").deposit({ cents: 1 });
      const opened = await node.openBackup();
      const pieces = () => source.node.disk.paths().filter((path) => path.startsWith("snapshots/"));
      const held = pieces();
      for (let i = 0; i < 3; i++) {
        // Another account changes the global tables, too.
        await source.client(node).account(`b${i}`).deposit({ cents: 1 });
        await node.snapshot();
      }
      const whole = await verifyBackup(chunksOf(await readAll(opened), 7));
      assert.equal(whole.summary.systemName, "bank");
      await source.client(node).account("c").deposit({ cents: 1 });
      await node.snapshot();
      const left = pieces().filter((path) => held.includes(path) && !path.endsWith("pointer"));
      assert.deepEqual(left, [], "what was held is collected with the next snapshot");
      await node.close();
    }));

  test("is refused where as many as may be are under way, and given when one of them is over", () =>
    simulated("limit", async (machine) => {
      const source = machine("source");
      const node = await source.open();
      const first = await node.openBackup();
      const second = await node.openBackup();
      await assert.rejects(node.openBackup(), { code: "overloaded", retry: "safe" });
      first.close();
      first.close();
      const third = await node.openBackup();
      await assert.rejects(node.openBackup(), { code: "overloaded" });
      second.close();
      third.close();
      await node.close();
    }));

  test("ends, and is no backup, where the node is closed in the middle", () =>
    simulated("closed", async (machine) => {
      const source = machine("source");
      const node = await source.open();
      await source.client(node).account("a").deposit({ cents: 1 });
      const opened = await node.openBackup();
      const chunks: Uint8Array[] = [];
      await assert.rejects(
        async () => {
          for await (const chunk of opened.chunks()) {
            chunks.push(chunk);
            await node.close();
          }
        },
        { code: "not-ready" },
      );
      opened.close();
      await assert.rejects(verifyBackup(chunksOf(concatBytes(chunks), 50)), { code: "damaged" });
    }));

  test("ends at a piece that is damaged on the disk", () =>
    simulated("damaged-piece", async (machine) => {
      const source = machine("source");
      const node = await source.open();
      await source.client(node).account("a").deposit({ cents: 1 });
      const opened = await node.openBackup();
      for (const path of source.node.disk.paths())
        if (/^snapshots\/[0-9a-f]+$/.test(path)) source.node.disk.flip(path, 99);
      await assert.rejects(readAll(opened), { code: "damaged" });
      await node.close();
    }));

  test("is refused by name on a full disk, and the node goes on", () =>
    simulated("full", async (machine) => {
      const source = machine("source");
      const node = await source.open();
      await source.client(node).account("a").deposit({ cents: 1 });
      source.node.disk.capacityBytes = source.node.disk.usedBytes + 100;
      await assert.rejects(node.openBackup(), { code: "disk-full", retry: "safe" });
      assert.equal(await source.client(node).account("a").deposit({ cents: 1 }), 2);
      source.node.disk.capacityBytes = 2 ** 40;
      assert.ok((await readAll(await node.openBackup())).length > 0);
      await node.close();
    }));
});

describe("a backup on a full disk", () => {
  test("is not an older state than what was acknowledged: where no newer snapshot can be taken there is none", () =>
    Place.run("stale", async (place) => {
      let roomBytes = 0;
      const node = await place.open({ storeEngine: place.storeThatNeeds(() => roomBytes) });
      await place.client(node).note("n").write({ line: "before" });
      await node.snapshot();
      roomBytes = 2 ** 50;
      await place.client(node).note("n").write({ line: "behind the snapshot" });
      await place.until("the store is full", () => node.shard.applier.isFull);
      await assert.rejects(node.openBackup(), { code: "disk-full", retry: "safe", message: /all that was written/ });
      roomBytes = 0;
      await place.until("the store has room", () => !node.shard.applier.isFull);
      await readAll(await node.openBackup());
      await node.close();
    }));
});

describe("a backup of a stopped data directory", () => {
  async function backUp(machine: Machine): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    await backUpStopped({
      host: machine.host,
      storeEngine: machine.store,
      write: async (bytes) => {
        chunks.push(Uint8Array.from(bytes));
      },
    });
    return concatBytes(chunks);
  }

  for (const losesStore of [false, true]) {
    test(`holds all that was acknowledged, after a crash${losesStore ? " that lost the store" : ""} too`, () =>
      simulated(`stopped-${losesStore}`, async (machine) => {
        const source = machine("source");
        const node = await source.open();
        for (let i = 0; i < 30; i++) {
          await source
            .client(node)
            .account(`a${i}`)
            .deposit({ cents: i + 1 });
          if (i === 10) await node.snapshot();
        }
        source.restart();
        if (losesStore) source.store.lose();
        const backup = await backUp(source);
        const whole = await verifyBackup(chunksOf(backup, 4096));
        const target = machine("target");
        await target.restore(backup);
        const restored = await target.open();
        for (let i = 0; i < 30; i++) assert.equal(await target.client(restored).account(`a${i}`).balance(), i + 1);
        await restored.close();

        // The directory that was backed up is as good as before.
        const again = await source.open();
        assert.ok(!isOfCluster(whole.summary) && again.log.end!.sequence >= whole.summary.position.sequence);
        assert.equal(await source.client(again).account("a29").balance(), 30);
        await again.close();
      }));
  }

  test("is refused while a node has it open, and where there are no data", () =>
    simulated("refused", async (machine) => {
      const source = machine("source");
      const node = await source.open();
      await assert.rejects(backUp(source), { code: "data-directory-busy" });
      await node.close();
      const empty = machine("empty");
      await assert.rejects(backUp(empty), { code: "invalid-configuration" });
      assert.deepEqual(empty.files(), []);
    }));

  test("ends where its reader refuses", () =>
    simulated("reader", async (machine) => {
      const source = machine("source");
      await smallBackup(source);
      const write = () => Promise.reject(new Error("the reader is gone"));
      await assert.rejects(
        backUpStopped({ host: source.host, storeEngine: source.store, write }),
        /the reader is gone/,
      );
      assert.ok((await backUp(source)).length > 0, "the directory is free again");
    }));
});
