import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import type { Service } from "../entity/service.ts";
import { tester } from "../entity/shard.fixture.ts";
import { Load, MovingRig, promotionOptions } from "./promotion.fixture.ts";

describe("an embedded system that moves to a cluster", () => {
  test("moves while it serves: no call fails, nothing is lost or done twice, and the cluster goes on in as many shards as it is to have", () =>
    MovingRig.run("moves", async (rig) => {
      const node = await rig.open();
      const load = new Load(rig);
      await rig.cluster.scheduler.sleep(500);
      const moving = node.promote(promotionOptions, () => undefined);
      await rig.cluster.scheduler.sleep(500);
      await rig.startNodes("a", "b");
      const report = await moving;
      assert.equal(report.clusterDigest, report.digest);
      assert.deepEqual(await rig.alive(), ["cluster"]);
      assert.ok(report.pausedMs < 2000, `it paused for ${report.pausedMs} ms`);
      await rig.isSplit(4);
      await load.check();
      assert.ok(load.slowestMs < 5000, `the slowest call took ${load.slowestMs} ms`);
      assert.ok(load.count > 30, `${load.count} calls say little`);
      await node.close();
      rig.kill();
      rig.restart();
      await assert.rejects(rig.open(), { code: "invalid-configuration" });
    }));

  test("takes its history along: entities' histories and changes read on over the move and the splits", () =>
    MovingRig.run("history", async (rig) => {
      const node = await rig.open();
      for (let i = 0; i < 60; i++) await rig.deposit(`a${i % 10}`, 1 + i, `before ${i}`);
      const middle = await node.service.changes({ principal: tester, after: "0", limit: 20 });
      assert.equal(middle.items.length, 20);
      const moving = node.promote(promotionOptions, () => undefined);
      await rig.startNodes("a", "b");
      await moving;
      const { service } = rig.cluster.node("a").cluster!;
      await rig.isSplit(4);
      for (let i = 60; i < 80; i++) await rig.deposit(`a${i % 10}`, 1 + i, `after ${i}`);
      for (let account = 0; account < 10; account++) {
        const { items, trimmed } = await service.history({ kind: "account", id: `a${account}` }, { principal: tester });
        assert.equal(trimmed, false);
        assert.equal(items.length, 8, "six before the move, two after it");
        const sums = items.map(({ state }) => (state as { readonly balanceCents: number }).balanceCents);
        const deposits = [0, 1, 2, 3, 4, 5, 6, 7].map((round) => 1 + account + 10 * round);
        assert.deepEqual(
          sums.toReversed(),
          deposits.map((_, index) => deposits.slice(0, index + 1).reduce((a, b) => a + b)),
        );
      }
      assert.equal(
        (await rig.changesFrom(service, "0")).length,
        80,
        "each change once, whatever shard its slot is in now",
      );
      const rest = await rig.changesFrom(service, middle.next);
      assert.equal(rest.length, 60, "a position that the embedded node has told means the same");
    }));

  test("takes sessions along: a request that was answered before the move is answered the same after it, and never run again", () =>
    MovingRig.run("sessions", async (rig) => {
      const node = await rig.open();
      const sessionToken = node.service.mintSession(tester);
      const ask = (service: Service, number: number) => {
        const options = { principal: tester, session: { token: sessionToken, number, lowest: 1 }, deadlineMs: 2000 };
        return service.command({ kind: "account", id: "s" }, "deposit", { cents: 5 }, options);
      };
      assert.equal((await ask(node.service, 1)).output, 5);
      assert.equal((await ask(node.service, 2)).output, 10);
      const transfer = (service: Service) => {
        const input = { from: "s", to: "t", cents: 3 };
        return service.transaction("transfer", input, { principal: tester, idempotencyKey: "once", deadlineMs: 2000 });
      };
      await transfer(node.service);
      const moving = node.promote(promotionOptions, () => undefined);
      await rig.startNodes("a", "b");
      await moving;
      await rig.isSplit(4);
      assert.equal((await rig.call((service) => ask(service, 1))).output, 5);
      assert.equal((await rig.call((service) => ask(service, 2))).output, 10);
      assert.equal((await rig.call((service) => ask(service, 3))).output, 12);
      assert.equal(await rig.balance("s"), 12);
      for (let round = 0; round < 2; round++) await rig.call(transfer);
      assert.equal(await rig.balance("t"), 3, "a keyed transaction that was done before the move");
    }));

  test("stays where it is when the engine can't be reached, and moves when it can", () =>
    MovingRig.run("cut", async (rig) => {
      const node = await rig.open();
      const load = new Load(rig);
      rig.onProgress = ({ step }) => {
        if (step === "sealed") rig.isEngineCut = true;
      };
      const started = rig.startNodes("a", "b");
      const failed = assert.rejects(
        node.promote(promotionOptions, (progress) => rig.onProgress(progress)),
        {
          code: "unavailable",
        },
      );
      await rig.cluster.scheduler.sleep(40_000);
      assert.deepEqual(await rig.alive(), [], "nobody may be alive before the engine can say who is");
      rig.isEngineCut = false;
      await failed;
      assert.deepEqual(await rig.alive(), ["embedded"]);
      rig.onProgress = () => undefined;
      await node.promote(promotionOptions, () => undefined);
      await started;
      assert.deepEqual(await rig.alive(), ["cluster"]);
      await load.check();
    }));

  test("says so where the copy of its earlier log is damaged, and serves on", () =>
    MovingRig.run("damaged copy", async (rig) => {
      const node = await rig.open();
      for (let i = 0; i < 30; i++) await rig.deposit("d", 1, `before ${i}`);
      const moving = node.promote(promotionOptions, () => undefined);
      await rig.startNodes("a", "b");
      await moving;
      const { systemLog, service } = rig.cluster.node("a").cluster!;
      rig.cluster.server.truncate(systemLog.state.promotion!.log, 10);
      const history = service.history({ kind: "account", id: "d" }, { principal: tester });
      await assert.rejects(history, { code: "damaged" });
      assert.equal((await rig.deposit("d", 1, "after")).output, 31);
    }));

  test("goes nowhere where another system's cluster is, and serves on", () =>
    MovingRig.run("occupied", async (rig) => {
      const node = await rig.open();
      rig.cluster.options = { mayFound: true };
      await rig.cluster.start("a");
      await assert.rejects(
        node.promote(promotionOptions, () => undefined),
        { code: "invalid-configuration" },
      );
      assert.equal(
        (await node.service.query({ kind: "account", id: "a0" }, "balance", undefined, { principal: tester })).output,
        0,
      );
    }));

  test("tells of what lies far back in several calls, each of which gets farther", () =>
    MovingRig.run("far back", async (rig) => {
      const node = await rig.open();
      for (let i = 0; i < 400; i++) await rig.deposit(i === 0 ? "old" : `x${i % 5}`, 1, `before ${i}`);
      rig.cluster.options = { ...rig.cluster.options, limits: { pastBytesMax: 16_000 } };
      const moving = node.promote(promotionOptions, () => undefined);
      await rig.startNodes("a");
      await moving;
      const { service } = rig.cluster.node("a").cluster!;
      const read = () => service.history({ kind: "account", id: "old" }, { principal: tester, deadlineMs: 300 });
      let refusals = 0;
      for (;;) {
        const outcome = await read().catch((error: unknown) => error);
        if (!(outcome instanceof OnefoldError)) {
          assert.equal((outcome as Awaited<ReturnType<typeof read>>).items.length, 1);
          break;
        }
        assert.equal(outcome.code, "unavailable");
        assert.ok(++refusals < 50, "it never got there");
      }
    }));

  test("moves while no node has its directory open, too, and once", () =>
    MovingRig.run("stopped", async (rig) => {
      const node = await rig.open();
      for (let i = 0; i < 30; i++) await rig.deposit(`a${i % 10}`, 1, `before ${i}`);
      await node.close();
      rig.kill();
      rig.restart();
      const started = rig.startNodes("a");
      const report = await rig.promoteStopped();
      await started;
      assert.equal(report.clusterDigest, report.digest);
      for (let i = 0; i < 10; i++) assert.equal(await rig.balance(`a${i}`), 3);
      await assert.rejects(rig.promoteStopped(), { code: "invalid-configuration" });
      await assert.rejects(rig.open(), { code: "invalid-configuration" });
    }));
});
