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
