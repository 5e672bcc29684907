import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeUtf8 } from "../../base/bytes.ts";
import { blobsSuite } from "../../store/blobs.suite.ts";
import { NodeLife } from "../life.ts";
import { EngineWorld } from "./engine.fixture.ts";
import { noEngineFaults } from "./engine-faults.ts";

blobsSuite("simulated engine", () => {
  const world = new EngineWorld("blobs");
  return {
    open: () => world.engine.blobs("snapshots", { node: "n1", life: new NodeLife() }),
    drive: (body) => world.run(body),
    damage: (address, bit) => void world.engine.damage.blob({ name: "snapshots", address, bit }),
    damagePointer: (name, bit) => world.engine.shelf("snapshots").damagePointer(name, bit),
  };
});

describe("blobs of a simulated engine", () => {
  test("are the same for all nodes, and others under another name", async () => {
    const world = new EngineWorld("nodes");
    await world.run(async () => {
      const [mine, theirs] = ["n1", "n2"].map((node) => world.engine.blobs("a", { node, life: new NodeLife() }));
      const address = await mine!.put(encodeUtf8("content"));
      assert.deepEqual(await theirs!.list(), [address]);
      const others = world.engine.blobs("b", { node: "n1", life: new NodeLife() });
      assert.deepEqual(await others.list(), []);
    });
  });

  test("take their time, the larger the more", async () => {
    const world = new EngineWorld("time");
    await world.run(async () => {
      const blobs = world.engine.blobs("a", { node: "n1", life: new NodeLife() });
      const address = await blobs.put(new Uint8Array(16 * 1024 * 1024));
      const putMs = world.scheduler.nowMs;
      await blobs.get(address);
      assert.ok(putMs > 700 && putMs < 900, `${putMs} ms`);
      assert.ok(world.scheduler.nowMs - putMs > 300 && world.scheduler.nowMs - putMs < 400);
    });
  });

  test("are unavailable without a quorum, and by chance where that is told", async () => {
    const world = new EngineWorld("quorum");
    await world.run(async () => {
      const blobs = world.engine.blobs("a", { node: "n1", life: new NodeLife() });
      const address = await blobs.put(encodeUtf8("content"));
      world.engine.crashServer("e1");
      world.engine.crashServer("e3");
      await assert.rejects(blobs.get(address), { code: "unavailable" });
      await assert.rejects(blobs.put(encodeUtf8("more")), { code: "unavailable" });
      world.engine.heal();
      await world.scheduler.sleep(10_000);
      assert.equal((await blobs.get(address)).length, 7);
      world.engine.rates = { ...noEngineFaults, blobRefusal: 1 };
      await assert.rejects(blobs.get(address), { code: "unavailable" });
    });
    assert.equal(world.count("blob-refusal"), 1);
  });
});
