/** What a strong read costs on a cluster, and what it rests on: a batch whose append starts after it came (hazard 8). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { bank } from "../../examples/bank/bank.ts";
import { ClusterRig } from "./cluster.fixture.ts";

test("a strong read has a batch appended, even where nothing else is to be written", () => {
  const rig = new ClusterRig(bank, "strong-read", { shardCount: 1 });
  return rig.run(async () => {
    await rig.start("a");
    const { client, cluster } = rig.node("a");
    await client.account("x").deposit({ cents: 100 });
    const { log } = cluster!.systemLog.state.shards.get("0")!;
    const before = cluster!.shards!.position(log)!.sequence;
    assert.equal(await client.account("x").balance(), 100);
    assert.equal(cluster!.shards!.position(log)!.sequence, before + 1);
  });
});
