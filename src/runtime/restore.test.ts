/** Restoring: what goes on as before, and that whatever goes wrong leaves nothing that could be taken for data. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BackupDecoder } from "../backup/decoder.ts";
import { equalBytes, toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { tables } from "../entity/keys.ts";
import { looksLikeManifest } from "../store/manifest.ts";
import { readPiece } from "../store/snapshot-piece.ts";
import { type CrashMoment, crashMoments } from "../sim/life.ts";
import { chunksOf, type Machine, principal, readAll, simulated, smallBackup } from "./backup.fixture.ts";
import type { EmbeddedNode } from "./embedded.ts";
import { readGenesis } from "../entity/genesis.ts";
import { verifyDataDirectory } from "./verify.ts";

const call = (node: EmbeddedNode, id: string, command: string, input: unknown, options: object) =>
  node.service.command({ kind: "account", id }, command, input, { principal, ...options });

const byNumber = (a: number, b: number): number => a - b;

/** How many messages of a backup were still to be delivered. */
function outboxOf(backup: Uint8Array): number {
  let count = 0;
  for (const { content } of new BackupDecoder().push(backup)) {
    if (looksLikeManifest(content)) continue;
    for (const { key } of readPiece(content)) if (key[0] === tables.outbox) count++;
  }
  return count;
}

describe("a restored data directory", () => {
  test("goes on from the backup's numbers in a new incarnation that cites the old one", () =>
    simulated("incarnation", async (machine) => {
      const source = machine("source");
      const backup = await smallBackup(source);
      const target = machine("target");
      const { parent, begin } = await target.restore(backup);
      const original = await source.open();
      const old = await original.log.read(parent.sequence);
      assert.deepEqual(
        [parent.incarnation, parent.hash],
        [old!.incarnation, old!.hash].map((each) => Uint8Array.from(each)),
      );
      assert.equal(begin.sequence, parent.sequence + 1);
      assert.ok(begin.epoch > parent.epoch);
      assert.ok(!equalBytes(begin.incarnation, parent.incarnation));

      const restored = await target.open();
      const first = await restored.log.read(begin.sequence);
      assert.equal(first?.kind, "genesis");
      assert.equal(toHex(first.previousHash), toHex(old!.hash));
      await target.client(restored).account("a0").deposit({ cents: 1 });
      await restored.snapshot();
      const genesis = readGenesis(restored.parts!.store);
      assert.deepEqual(genesis.parent, parent);
      assert.deepEqual(genesis.secret, readGenesis(original.parts!.store).secret);
      // History begins anew, and says so; what follows hangs on to the old numbers.
      const history = await restored.service.history({ kind: "account", id: "a0" }, { principal, limit: 10 });
      assert.deepEqual([history.items.map(({ command }) => command), history.trimmed], [["deposit"], true]);
      const untouched = await restored.service.history({ kind: "account", id: "a1" }, { principal, limit: 10 });
      assert.deepEqual([untouched.items, untouched.trimmed], [[], true]);
      await restored.close();
      await original.close();
    }));

  test("is whole as it is, after a crash, without its store, and after the log was trimmed up to it", () =>
    simulated("whole", async (machine) => {
      const backup = await smallBackup(machine("source"));
      const target = machine("target");
      await target.restore(backup);
      const check = async (node: EmbeddedNode): Promise<void> => {
        for (const id of ["a0", "a1", "a2"]) assert.equal(await target.client(node).account(id).balance(), 100);
      };
      await check(await target.open());
      target.restart();
      assert.deepEqual((await verifyDataDirectory({ host: target.host })).damages, []);
      target.store.lose();
      const node = await target.open();
      await check(node);
      for (let i = 0; i < 3; i++) {
        await target.client(node).account(`b${i}`).deposit({ cents: 1 });
        await node.snapshot();
      }
      await node.close();
      const report = await verifyDataDirectory({ host: target.host });
      assert.deepEqual([report.damages, report.snapshotSequences.length], [[], 2]);
      target.store.lose();
      await check(await target.open());
    }));

  test("can be backed up and restored again, and again", () =>
    simulated("again", async (machine) => {
      let backup = await smallBackup(machine("first"));
      let parentSequence = 0;
      for (const name of ["second", "third", "fourth"]) {
        const next = machine(name);
        const { parent, begin } = await next.restore(backup);
        assert.ok(parent.sequence > parentSequence);
        parentSequence = parent.sequence;
        const node = await next.open();
        const cents = await next.client(node).account("a0").deposit({ cents: 1 });
        assert.equal(cents, 100 + ["second", "third", "fourth"].indexOf(name) + 1);
        backup = await readAll(await node.openBackup());
        assert.ok(node.log.end!.sequence > begin.sequence);
        await node.close();
      }
    }));

  test("answers a request that is repeated under its idempotency key, and does not run it again", () =>
    simulated("once", async (machine) => {
      const source = machine("source");
      const node = await source.open();
      const first = await call(node, "a", "deposit", { cents: 5 }, { idempotencyKey: "k" });
      const backup = await readAll(await node.openBackup());
      await call(node, "a", "deposit", { cents: 7 }, { idempotencyKey: "later" });
      await node.close();

      const target = machine("target");
      await target.restore(backup);
      const restored = await target.open();
      const again = await call(restored, "a", "deposit", { cents: 5 }, { idempotencyKey: "k" });
      assert.deepEqual([again.output, again.sequence], [first.output, first.sequence]);
      assert.equal(await target.client(restored).account("a").balance(), 5);
      // What came after the backup is not there; sent again, it takes hold.
      const later = await call(restored, "a", "deposit", { cents: 7 }, { idempotencyKey: "later" });
      assert.equal(later.output, 12);
      await restored.close();
    }));

  test("ends sessions of the old incarnation by name, and knows its own", () =>
    simulated("sessions", async (machine) => {
      const source = machine("source");
      const node = await source.open();
      const token = node.service.mintSession(principal);
      await call(node, "a", "deposit", { cents: 5 }, { session: { token, number: 1, lowest: 1 } });
      const backup = await readAll(await node.openBackup());
      await node.close();
      const target = machine("target");
      await target.restore(backup);
      const restored = await target.open();
      await assert.rejects(call(restored, "a", "deposit", { cents: 5 }, { session: { token, number: 1, lowest: 1 } }), {
        code: "session-expired",
      });
      const own = restored.service.mintSession(principal);
      const session = { token: own, number: 1, lowest: 1 };
      for (let i = 0; i < 2; i++)
        assert.equal((await call(restored, "a", "deposit", { cents: 1 }, { session })).output, 6);
      await restored.close();
    }));

  test("delivers each message and each timer that was under way once", () =>
    simulated("deliveries", async (machine) => {
      const source = machine("source");
      const node = await source.open();
      const { scheduler } = source;
      for (let i = 0; i < 5; i++) await source.client(node).account(`t${i}`).remind({ delayMs: 3000, key: "k" });
      const told: { readonly cents: number; readonly sequence: number }[] = [];
      let isOver = false;
      const tell = async (worker: number): Promise<void> => {
        for (let i = 0; !isOver; i++) {
          const cents = worker * 10_000 + i;
          const { sequence } = await call(node, `s${worker}`, "tell", { to: `r${i % 5}`, cents }, {});
          told.push({ cents, sequence });
        }
      };
      const workers = [0, 1, 2, 3].map(tell);
      await scheduler.sleep(100);
      const opened = await node.openBackup();
      const backup = await readAll(opened);
      isOver = true;
      await Promise.all(workers);
      await node.close();
      assert.ok(outboxOf(backup) > 0, "messages were under way when the backup was taken");

      const target = machine("target");
      await target.restore(backup);
      const restored = await target.open();
      const client = target.client(restored);
      const expected = told.filter(({ sequence }) => sequence <= opened.sequence!).map(({ cents }) => cents);
      for (const waitMs of [4000, 4000]) {
        await scheduler.sleep(waitMs);
        const received: number[] = [];
        for (let i = 0; i < 5; i++) received.push(...(await client.receiver(`r${i}`).received()));
        assert.deepEqual(received.sort(byNumber), expected.sort(byNumber));
        for (let i = 0; i < 5; i++) assert.equal(await client.account(`t${i}`).balance(), 1, `timer ${i}`);
      }
      await restored.close();
    }));
});

describe("a restore that can't be", () => {
  test("leaves a directory alone that has anything in it", () =>
    simulated("occupied", async (machine) => {
      const source = machine("source");
      const backup = await smallBackup(source);
      const files = source.files();
      await assert.rejects(source.restore(backup), {
        code: "invalid-configuration",
        message: /has log, snapshots in it/,
      });
      assert.deepEqual(source.files(), files);
      const other = machine("other");
      await other.host.disk.open("notes.txt", { create: "new" });
      await assert.rejects(other.restore(backup), { code: "invalid-configuration", message: /has notes\.txt in it/ });
    }));

  test("is refused while another process has the directory", () =>
    simulated("busy", async (machine) => {
      const backup = await smallBackup(machine("source"));
      const target = machine("target");
      const lock = await target.host.disk.lock("lock");
      await assert.rejects(target.restore(backup), { code: "data-directory-busy" });
      await lock.release();
      await target.restore(backup);
    }));

  test("leaves nothing of a backup that is damaged or cut, or whose reader fails", () =>
    simulated("nothing", async (machine) => {
      const backup = await smallBackup(machine("source"));
      const target = machine("target");
      const isNamed = (error: unknown): boolean =>
        error instanceof OnefoldError && error.code === "damaged" && "part" in (error.details as object);
      for (let at = 3; at < backup.length; at += 97) {
        const flipped = backup.slice();
        flipped[at]! ^= 1 << (at % 8);
        await assert.rejects(target.restore(flipped), isNamed, `byte ${at} is flipped`);
        await assert.rejects(target.restore(backup.subarray(0, at)), isNamed, `cut at byte ${at}`);
        assert.deepEqual(target.files(), []);
      }
      async function* failing(): AsyncIterable<Uint8Array> {
        yield* chunksOf(backup.subarray(0, -5), 100);
        throw new Error("the pipe broke");
      }
      await assert.rejects(target.restore(backup, { backup: failing() }), /the pipe broke/);
      assert.deepEqual(target.files(), []);
      await target.restore(backup);
    }));

  test("leaves nothing on a disk that is full, wherever it gets full, and goes well once there is room", () =>
    simulated("full", async (machine) => {
      const backup = await smallBackup(machine("source"), 40);
      let refusals = 0;
      for (let capacityBytes = 600; ; capacityBytes = Math.ceil(capacityBytes * 1.25)) {
        const target = machine(`target-${capacityBytes}`);
        target.node.disk.capacityBytes = capacityBytes;
        try {
          await target.restore(backup);
        } catch (error) {
          assert.ok(
            error instanceof OnefoldError && error.code === "disk-full" && error.retry === "safe",
            String(error),
          );
          assert.deepEqual(target.files(), []);
          refusals++;
          target.node.disk.capacityBytes = 2 ** 40;
          await target.restore(backup);
          assert.deepEqual((await verifyDataDirectory({ host: target.host })).damages, []);
          continue;
        }
        break;
      }
      assert.ok(refusals > 10, `${refusals} refusals`);
    }));
});

describe("a restore during which the machine crashes", () => {
  for (const moment of crashMoments) {
    test(`leaves a whole data directory or one that nobody starts on, wherever the crash is: ${moment} an operation`, () =>
      simulated(`crash-${moment}`, async (machine) => {
        const backup = await smallBackup(machine("source"));
        const found = { nothing: 0, refused: 0, whole: 0 };
        let operation = 1;
        for (; ; operation++) {
          const outcome = await crashAt(machine(`${operation}`), backup, operation, moment);
          if (outcome === "over") break;
          found[outcome]++;
          assert.ok(operation < 1000, "a restore ends");
        }
        assert.ok(operation > 80, `there are only ${operation} operations in a restore`);
        assert.ok(found.nothing > 0 && found.refused > 50 && found.whole > 0, JSON.stringify(found));
      }));
  }

  test("can crash again while it clears what the first has left, and again leaves nothing that looks like data", () =>
    simulated("crash-twice", async (machine) => {
      const backup = await smallBackup(machine("source"));
      const target = await betweenTheRenames(machine, backup);
      const image = target.node.disk.snapshotImage();
      const found = { nothing: 0, refused: 0, whole: 0 };
      for (let round = 0; round < 400; round++) {
        target.node.disk.restoreImage(image);
        target.restart();
        assert.equal(await look(target), "refused");
        await crashing(target, backup, 1 + (round % 20), round % 3 === 0 ? "before" : "after");
        found[await look(target)]++;
        if (round % 8 !== 0) continue;
        await target.restore(backup);
        assert.deepEqual((await verifyDataDirectory({ host: target.host })).damages, []);
      }
      assert.ok(found.nothing > 20 && found.refused > 20 && found.whole === 0, JSON.stringify(found));
    }));

  /** A machine that has crashed when the snapshots were in their place and the log was not. */
  async function betweenTheRenames(machine: (name: string) => Machine, backup: Uint8Array): Promise<Machine> {
    for (const operation of await lastOperations(machine("counted"), backup, 16)) {
      const target = machine(`${operation}`);
      await crashing(target, backup, operation, "before");
      const names = await target.host.disk.list("");
      if (names.includes("snapshots") && !names.includes("log")) return target;
    }
    assert.fail("there is no such moment");
  }

  /** Numbers of the last `count` operations of a restore. */
  async function lastOperations(target: Machine, backup: Uint8Array, count: number): Promise<readonly number[]> {
    await target.restore(backup);
    const end = target.node.disk.operationCount;
    return Array.from({ length: count }, (_, index) => end - count + 1 + index);
  }

  /** Restores, crashes on the way, and begins the next life. */
  async function crashing(
    target: Machine,
    backup: Uint8Array,
    operation: number,
    moment: CrashMoment,
  ): Promise<"crashed" | "restored"> {
    const crashed = new Promise<"crashed">((resolve) => {
      target.node.crashAt(operation, { moment, onCrash: () => resolve("crashed") });
    });
    const restored = target.restore(backup).then(() => "restored" as const);
    const outcome = await Promise.race([crashed, restored]);
    if (outcome === "crashed") target.restart();
    return outcome;
  }

  /** What the next process finds; then the restore is done again where there is need, and must go well. */
  async function crashAt(
    target: Machine,
    backup: Uint8Array,
    operation: number,
    moment: CrashMoment,
  ): Promise<"nothing" | "refused" | "whole" | "over"> {
    if ((await crashing(target, backup, operation, moment)) === "restored") return "over";
    const outcome = await look(target);
    if (outcome !== "whole") await target.restore(backup);
    assert.deepEqual((await verifyDataDirectory({ host: target.host })).damages, []);
    const node = await target.open();
    for (const id of ["a0", "a1", "a2"]) assert.equal(await target.client(node).account(id).balance(), 100);
    await node.close();
    return outcome;
  }

  async function look(target: Machine): Promise<"nothing" | "refused" | "whole"> {
    const names = await target.host.disk.list("");
    if (names.includes("log")) return "whole";
    if (!names.includes("restoring")) {
      assert.deepEqual(
        names.filter((name) => name !== "lock"),
        [],
      );
      return "nothing";
    }
    await assert.rejects(target.open(), { code: "invalid-configuration", message: /has not been finished/ });
    return "refused";
  }
});
