/** What a node of a cluster refuses to start on (hazard 21). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bank } from "../../examples/bank/bank.ts";
import { MemoryEngineServer } from "../log/engine/memory-engine.ts";
import type { LogEngine } from "../log/engine-log.ts";
import { ClusterRig } from "./cluster.fixture.ts";

const laxity = "It acknowledges before it syncs.";

function laxEngine(): LogEngine {
  const engine = new MemoryEngineServer().connect();
  return {
    open: (name) => engine.open(name),
    create: (name, options) => engine.create(name, options),
    laxities: async () => [laxity],
    close: () => engine.close(),
  };
}

describe("an engine that may lose what it acknowledges", () => {
  test("is refused, by name of what is wrong", () => {
    const rig = new ClusterRig(bank, "lax", { engine: laxEngine() });
    return rig.run(async () => {
      await assert.rejects(rig.node("a").start(), (error: Error) => error.message.includes(laxity));
    });
  });

  test("is used where the operator insists, and that is told", () => {
    const rig = new ClusterRig(bank, "lax", { engine: laxEngine(), allowsLaxEngine: true });
    return rig.run(async () => {
      await rig.node("a").start();
      assert.ok(rig.traces.some((line) => line.includes(laxity)));
      await rig.node("a").stop();
    });
  });
});
