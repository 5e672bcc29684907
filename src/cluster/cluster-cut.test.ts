/** The cut of a cluster's backup, and what owners do for it, on a simulated cluster without other faults. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { drill } from "../sim/cluster/drill-system.ts";
import { ClusterRig, type RigNode } from "./cluster.fixture.ts";
import { decodeManifest, piecesOf } from "../store/manifest.ts";
import type { ShardCut } from "./shard-cut.ts";
import type { ShardState } from "./system-state.ts";

const restMs = 10_000;

type Rig = ClusterRig<typeof drill>;

async function inCluster(seed: string, body: (rig: Rig) => Promise<void>): Promise<void> {
  const rig = new ClusterRig(drill, seed, { limits: { backupRestMs: restMs } });
  await rig.run(async () => {
    await rig.start("n1", "n2", "n3");
    await body(rig);
  });
}

/** The shard of `register/a`, and the node that owns it. */
function ownerOf(rig: Rig): { readonly node: RigNode<typeof drill>; readonly shard: ShardState } {
  const [any] = [...rig.nodes.values()];
  const shard = [...any!.cluster!.systemLog.state.shards.values()][0]!;
  const node = [...rig.nodes.values()].find(({ cluster }) => cluster?.shards?.owned(shard.id) !== undefined)!;
  return { node, shard };
}

async function cutOf(
  rig: Rig,
): Promise<{ readonly cut: ShardCut; readonly node: RigNode<typeof drill>; shard: ShardState }> {
  const { node, shard } = ownerOf(rig);
  return { node, shard, cut: await node.cluster!.shards!.snapshotsOf(shard.id, shard.log)!.cut() };
}

async function lastOf(rig: Rig, log: string): Promise<number> {
  const opened = await rig.server.connect().open(log);
  return (await opened!.bounds()).last;
}

describe("a cluster's cut", () => {
  test("has every slot once, and of each shard a snapshot of the state at its position", () =>
    inCluster("whole", async (rig) => {
      for (let index = 0; index < 40; index++) {
        await rig
          .node("n1")
          .client.register(`r${index}`)
          .write({ value: String(index) });
      }
      const cluster = rig.node("n2").cluster!;
      const cut = await cluster.cut();
      assert.deepEqual(
        cut.shards.map(({ shard }) => [shard.from, shard.to]),
        [0, 1, 2, 3].map((index) => [index * 1024, (index + 1) * 1024]),
      );
      for (const { shard, epoch, position, manifest } of cut.shards) {
        const content = await cluster.snapshotPlace(shard.log, epoch).get(manifest);
        assert.match(new TextDecoder().decode(content), new RegExp(`"sequence":${position.sequence}\\b`));
        assert.ok((await lastOf(rig, shard.log)) > position.sequence, "the proof stands behind it");
      }
      cut.close();
    }));

  test("keeps what is in it, however many snapshots are taken meanwhile (SS4)", () =>
    inCluster("kept", async (rig) => {
      const write = async (value: string): Promise<void> => {
        for (let index = 0; index < 20; index++) await rig.node("n1").client.register(`r${index}`).write({ value });
      };
      await write("earlier-0");
      const cluster = rig.node("n1").cluster!;
      const cut = await cluster.cut();
      for (const value of ["later-1", "later-2", "later-3"]) {
        await write(value);
        for (const { cluster: owner } of rig.nodes.values()) {
          for (const { shard } of cut.shards) await owner!.shards!.snapshotsOf(shard.id, shard.log)?.take();
        }
      }
      const found: string[] = [];
      for (const { shard, epoch, manifest } of cut.shards) {
        const blobs = cluster.snapshotPlace(shard.log, epoch);
        for (const { address } of piecesOf(decodeManifest(await blobs.get(manifest)))) {
          found.push(new TextDecoder("latin1").decode(await blobs.get(address)));
        }
      }
      assert.equal(found.join("").split("earlier-0").length - 1, 20);
      assert.equal(found.join("").includes("later-"), false);
      cut.close();
    }));

  test("waits for one that is under way", () =>
    inCluster("two", async (rig) => {
      const cuts = await Promise.all(["n1", "n2", "n3"].map((name) => rig.node(name).cluster!.cut()));
      for (const cut of cuts) cut.close();
      assert.deepEqual(
        cuts.map(({ shards }) => shards.length),
        [4, 4, 4],
      );
    }));
});

describe("an owner's part in a cut", () => {
  test("lets the log rest: a call waits until it goes on, and is not in the cut (SU1)", () =>
    inCluster("rest", async (rig) => {
      const { cut, shard } = await cutOf(rig);
      const { position } = await cut.hold();
      let isAnswered = false;
      const writing = Promise.all(
        Array.from({ length: 30 }, (_, index) => rig.node("n1").client.register(`r${index}`).write({ value: "x" })),
      ).then(() => {
        isAnswered = true;
      });
      await rig.scheduler.sleep(1000);
      assert.deepEqual([isAnswered, await lastOf(rig, shard.log)], [false, position.sequence]);
      await cut.prove();
      await writing;
      await rig.until(() => cut.snapshot !== undefined);
      cut.end();
    }));

  test("ends by itself: the log goes on after its bound, and nothing is proven then (SU2)", () =>
    inCluster("late", async (rig) => {
      const { cut, shard } = await cutOf(rig);
      const { position } = await cut.hold();
      await rig.scheduler.sleep(restMs + 1);
      await assert.rejects(cut.prove(), { code: "unavailable" });
      for (let index = 0; index < 30; index++) {
        await rig.node("n1").client.register(`r${index}`).write({ value: "x" });
      }
      assert.ok((await lastOf(rig, shard.log)) > position.sequence);
      await (await cutOf(rig)).cut.hold();
    }));

  test("is not proven by an owner that was deposed meanwhile (CC1)", () =>
    inCluster("deposed", async (rig) => {
      const { cut, node, shard } = await cutOf(rig);
      await cut.hold();
      node.cutOff();
      await rig.until(
        () =>
          [...rig.nodes.values()].some(
            (other) => other !== node && other.cluster!.shards!.owned(shard.id) !== undefined,
          ),
        restMs - 1000,
      );
      node.reconnect();
      await assert.rejects(cut.prove(), ({ code }: { readonly code: string }) =>
        ["not-owner", "unavailable"].includes(code),
      );
    }));

  test("is over where nobody asks for it, and another snapshot is written (SU4)", () =>
    inCluster("left", async (rig) => {
      const { cut } = await cutOf(rig);
      await rig.scheduler.sleep(31_000);
      await assert.rejects(cut.hold(), { code: "unavailable" });
      const { node, shard } = ownerOf(rig);
      await node.cluster!.shards!.snapshotsOf(shard.id, shard.log)!.take();
    }));
});
