import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bank } from "../../examples/bank/bank.ts";
import { tester } from "../entity/shard.fixture.ts";
import { ClusterRig } from "./cluster.fixture.ts";

describe("a cluster", () => {
  test("answers the same call on any node, wherever the entity's owner is", () => {
    const rig = new ClusterRig(bank, "any-node");
    return rig.run(async () => {
      await rig.start("a", "b", "c");
      for (let i = 0; i < 8; i++) {
        await rig
          .node("abc"[i % 3]!)
          .client.account(`x${i}`)
          .deposit({ cents: 100 });
        for (const name of "abc") assert.equal(await rig.node(name).client.account(`x${i}`).balance(), 100);
      }
      const counts = [..."abc"].map((name) => rig.node(name).cluster!.shards!.ownedCount);
      assert.equal(
        counts.reduce((a, b) => a + b),
        4,
      );
    });
  });

  test("goes on when a node dies, with everything that was acknowledged", () => {
    const rig = new ClusterRig(bank, "node-dies");
    return rig.run(async () => {
      await rig.start("a", "b", "c");
      const { client } = rig.node("a");
      for (let i = 0; i < 16; i++) await client.account(`x${i}`).deposit({ cents: 100 });
      rig.node("b").crash();
      const began = rig.scheduler.nowMs;
      const { service } = rig.node("a").cluster!;
      for (let i = 0; i < 16; i++) {
        const address = { kind: "account", id: `x${i}` };
        const options = { principal: tester, idempotencyKey: `second ${i}` };
        const reply = await service.command(address, "deposit", { cents: 1 }, options);
        assert.equal(reply.output, 101, "what was in doubt is found by its key, whoever owns it now");
      }
      const tookMs = rig.scheduler.nowMs - began;
      assert.equal(tookMs < 5000, true, `it took ${tookMs} ms`);
      await rig.node("b").start();
      await rig.settled();
      for (let i = 0; i < 16; i++) assert.equal(await rig.node("b").client.account(`x${i}`).balance(), 101);
    });
  });

  test("a node that stops in good order hands over what it owns, and no call fails", () => {
    const rig = new ClusterRig(bank, "stops");
    return rig.run(async () => {
      await rig.start("a", "b", "c");
      const { client } = rig.node("a");
      let isOver = false;
      let done = 0;
      let slowestMs = 0;
      const load = (async () => {
        while (!isOver) {
          const began = rig.scheduler.nowMs;
          await client.account(`x${done % 16}`).deposit({ cents: 1 });
          slowestMs = Math.max(slowestMs, rig.scheduler.nowMs - began);
          done++;
          await rig.scheduler.sleep(5);
        }
      })();
      await rig.node("b").stop();
      await rig.node("b").start();
      await rig.settled();
      await rig.node("c").stop();
      isOver = true;
      await load;
      assert.equal(slowestMs < 1000, true, `the slowest call took ${slowestMs} ms`);
      let sum = 0;
      for (let i = 0; i < 16; i++) sum += await client.account(`x${i}`).balance();
      assert.equal(sum, done);
    });
  });
});

describe("a cluster's shards", () => {
  test("split while they serve: the parts go on from the parent's numbers, and no call fails", () => {
    const rig = new ClusterRig(bank, "split");
    return rig.run(async () => {
      await rig.start("a", "b", "c");
      const { client, cluster } = rig.node("a");
      for (let i = 0; i < 24; i++) await client.account(`x${i}`).deposit({ cents: 100 });
      let isOver = false;
      let deposits = 0;
      const load = (async () => {
        while (!isOver) {
          await client.account(`x${deposits % 24}`).deposit({ cents: 1 });
          deposits++;
          await rig.scheduler.sleep(10);
        }
      })();
      await cluster!.systemLog.propose(() => [{ type: "split-asked", shard: "1", parts: 2 }], { deadlineMs: 5000 });
      const shards = () => [...cluster!.systemLog.state.shards.values()];
      await rig.until(() => shards().some(({ id, status }) => id === "1" && status === "retired"));
      await rig.settled();
      isOver = true;
      await load;
      const present = shards().filter(({ status }) => status === "active");
      assert.equal(present.length, 5);
      for (const { parent } of present.filter(({ id }) => id.startsWith("1"))) assert.equal(parent?.log, "shard-1");
      let sum = 0;
      for (let i = 0; i < 24; i++) sum += await rig.node("b").client.account(`x${i}`).balance();
      assert.equal(sum, 2400 + deposits);
      await rig.node("a").client.transfer({ from: "x0", to: "x1", cents: 5 });
    });
  });

  test("are repaired from the longest copy when the engine has lost what was acknowledged (hazard 1)", () => {
    const rig = new ClusterRig(bank, "rollback");
    return rig.run(async () => {
      await rig.start("a", "b", "c");
      const { client } = rig.node("a");
      for (let i = 0; i < 24; i++) await client.account(`x${i}`).deposit({ cents: 100 });
      const state = () => rig.node("a").cluster!.systemLog.state;
      const { owner, log } = state().shards.get("2")!;
      const name = owner!.split(".")[0]!;
      const end = rig.node(name).cluster!.shards!.position(log)!.sequence;
      rig.node(name).crash();
      rig.server.truncate(log, end - 3);
      await rig.node(name).start();
      await rig.until(() => state().shards.get("2")!.log !== log);
      await rig.settled();
      const { parent } = state().shards.get("2")!;
      assert.equal(parent!.log, log);
      assert.equal(parent!.sequence >= end, true, "nothing that was acknowledged is behind the repair's point");
      for (let i = 0; i < 24; i++) assert.equal(await rig.node("b").client.account(`x${i}`).balance(), 100);
    });
  });

  test("are repaired where the engine has lost all of a log", () => {
    const rig = new ClusterRig(bank, "rollback-to-nothing");
    return rig.run(async () => {
      await rig.start("a", "b", "c");
      for (let i = 0; i < 24; i++) await rig.node("a").client.account(`x${i}`).deposit({ cents: 100 });
      const state = () => rig.node("a").cluster!.systemLog.state;
      const { owner, log } = state().shards.get("2")!;
      const name = owner!.split(".")[0]!;
      rig.node(name).crash();
      rig.server.truncate(log, 0);
      await rig.node(name).start();
      await rig.until(() => state().shards.get("2")!.log !== log);
      await rig.settled();
      for (let i = 0; i < 24; i++) assert.equal(await rig.node("b").client.account(`x${i}`).balance(), 100);
    });
  });

  test("are repaired also where the engine loses what a living owner has acknowledged, and its only follower has not seen it", () => {
    const rig = new ClusterRig(bank, "rollback-alive", { followerCount: 0 });
    return rig.run(async () => {
      await rig.start("a", "b");
      const { client, cluster } = rig.node("a");
      for (let i = 0; i < 24; i++) await client.account(`x${i}`).deposit({ cents: 100 });
      const { owner, log } = cluster!.systemLog.state.shards.get("2")!;
      const end = rig.node(owner!.split(".")[0]!).cluster!.shards!.position(log)!.sequence;
      rig.server.truncate(log, end - 3);
      const { service } = cluster!;
      for (let i = 0; i < 24; i++) {
        const address = { kind: "account", id: `x${i}` };
        const options = { principal: tester, idempotencyKey: `more ${i}`, deadlineMs: 120_000 };
        assert.equal((await service.command(address, "deposit", { cents: 1 }, options)).output, 101);
      }
      const { parent } = cluster!.systemLog.state.shards.get("2")!;
      assert.equal(parent!.log, log);
    });
  });

  test("are repaired from the copy of a node that is about to leave: it goes when another one has what it has", () => {
    const rig = new ClusterRig(bank, "rollback-leaving", { followerCount: 0 });
    return rig.run(async () => {
      await rig.start("a", "b");
      for (let i = 0; i < 24; i++) await rig.node("a").client.account(`x${i}`).deposit({ cents: 100 });
      const state = () => rig.node("a").cluster!.systemLog.state;
      const { owner, log } = state().shards.get("2")!;
      const name = owner!.split(".")[0]!;
      rig.server.truncate(log, rig.node(name).cluster!.shards!.position(log)!.sequence - 3);
      await rig.node(name).stop();
      const other = rig.node(name === "a" ? "b" : "a");
      await rig.until(() => other.cluster!.systemLog.state.shards.get("2")!.log !== log);
      await rig.settled();
      for (let i = 0; i < 24; i++) assert.equal(await other.client.account(`x${i}`).balance(), 100);
    });
  });

  test("stay in quarantine rather than go on without what was acknowledged, until a node that has it is back (G8)", () => {
    const rig = new ClusterRig(bank, "rollback-left", { followerCount: 0, limits: { drainMs: 100 } });
    return rig.run(async () => {
      await rig.start("a", "b");
      for (let i = 0; i < 24; i++) await rig.node("a").client.account(`x${i}`).deposit({ cents: 100 });
      const state = () => rig.node("a").cluster!.systemLog.state;
      const { owner, log } = state().shards.get("2")!;
      const name = owner!.split(".")[0]!;
      const end = rig.node(name).cluster!.shards!.position(log)!.sequence;
      const other = rig.node(name === "a" ? "b" : "a");
      rig.server.truncate(log, end - 3);
      await rig.node(name).stop();
      const shard = () => other.cluster!.systemLog.state.shards.get("2")!;
      await rig.until(() => shard().status === "quarantined");
      await rig.scheduler.sleep(60_000);
      assert.equal(shard().status, "quarantined");
      assert.equal(shard().log, log);
      await rig.node(name).start();
      await rig.until(() => shard().log !== log);
      await rig.settled();
      for (let i = 0; i < 24; i++) assert.equal(await other.client.account(`x${i}`).balance(), 100);
    });
  });

  test("refuse what they can't make durable within two seconds where their node is cut off, and serve old reads marked as such", () => {
    const rig = new ClusterRig(bank, "minority");
    return rig.run(async () => {
      await rig.start("a", "b", "c");
      for (let i = 0; i < 12; i++) await rig.node("a").client.account(`x${i}`).deposit({ cents: 100 });
      await rig.scheduler.sleep(2000);
      rig.node("c").cutOff();
      const began = rig.scheduler.nowMs;
      const { service } = rig.node("c").cluster!;
      const write = service.command({ kind: "account", id: "x0" }, "deposit", { cents: 1 }, { principal: tester });
      await assert.rejects(write, (error: { readonly code: string }) => {
        return error.code === "unavailable" || error.code === "outcome-unknown";
      });
      assert.equal(rig.scheduler.nowMs - began <= 2000, true, `it took ${rig.scheduler.nowMs - began} ms`);
      let stale = 0;
      for (let i = 0; i < 12; i++) {
        const read = { principal: tester, read: "eventual" } as const;
        const reply = await service
          .query({ kind: "account", id: `x${i}` }, "balance", undefined, read)
          .catch((error: { readonly code: string }) => assert.equal(error.code, "unavailable"));
        if (reply === undefined) continue;
        assert.equal(reply.output, 100);
        assert.equal((reply.staleForMs ?? 0) > 0, true);
        stale++;
      }
      assert.equal(stale > 0, true, "it has copies of some shards");
      rig.node("c").reconnect();
      await rig.until(() => !rig.node("c").cluster!.isCutOff);
      assert.equal((await rig.node("c").client.account("x0").balance()) >= 100, true);
    });
  });
});
