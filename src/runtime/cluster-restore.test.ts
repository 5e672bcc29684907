/** Restoring a cluster's backup: whole or not at all, and what an earlier version wrote. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, test } from "node:test";
import { makeBackup } from "../backup/backup.fixture.ts";
import { BackupDecoder } from "../backup/decoder.ts";
import { BackupEncoder } from "../backup/encoder.ts";
import { type ClusterSummary, isOfCluster } from "../backup/summary.ts";
import { concatBytes } from "../base/bytes.ts";
import type { OnefoldError } from "../base/errors.ts";
import { SeededRandom } from "../base/random.ts";
import { ClusterRig } from "../cluster/cluster.fixture.ts";
import { newerDrill } from "../sim/cluster/drill-system.ts";
import {
  backedUpDrill,
  backUpRig,
  type DrillRig,
  restoredCents,
  restoredTokens,
  restoreToRig,
} from "./cluster-backup.fixture.ts";
import { verifyBackup } from "./restore.ts";

const fixture = new URL("../../test/fixtures/backup/cluster-v2/drill.backup", import.meta.url);

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

function inEngine(seed: string, body: (rig: DrillRig) => Promise<void>): Promise<void> {
  const rig: DrillRig = new ClusterRig(newerDrill, seed);
  return rig.run(() => body(rig));
}

async function assertDrill(rig: DrillRig): Promise<void> {
  const { client } = rig.node("n2");
  assert.deepEqual(await client.tally("t").all(), [...restoredTokens]);
  assert.deepEqual(await client.audit({ purses: ["p0", "p1", "p2"] }), [...restoredCents]);
  assert.deepEqual(await client.box("b").all(), { got: ["first", "second"], fired: [] });
}

/** A section of a shard: its manifest, then its pieces. */
type Section = readonly Uint8Array[];

function sectionsOf(bytes: Uint8Array): { readonly sections: readonly Section[]; readonly summary: ClusterSummary } {
  const decoder = new BackupDecoder();
  const sections: Uint8Array[][] = [];
  for (const { kind, content } of decoder.push(bytes)) {
    if (kind === "manifest") sections.push([content]);
    else sections.at(-1)!.push(content);
  }
  const { summary } = decoder.end();
  assert.ok(isOfCluster(summary));
  return { sections, summary };
}

/** A backup of these sections: each byte is covered, so that only what they say can be wrong. */
function composed(sections: readonly Section[], summary: ClusterSummary): Uint8Array {
  const encoder = new BackupEncoder({ version: 2, id: new Uint8Array(16), takenAtMs: 0 });
  const parts: Uint8Array[] = [encoder.begin()];
  for (const [manifest, ...pieces] of sections) {
    parts.push(...encoder.manifest(manifest!), ...pieces.flatMap((piece) => encoder.blob(piece)));
  }
  return concatBytes([...parts, ...encoder.end(summary)]);
}

describe("a cluster's backup", () => {
  let backup: Uint8Array;
  before(async () => {
    backup = await backedUpDrill("one");
  });

  test("is restored under a new id, and goes on: it can be backed up again", () =>
    inEngine("restored", async (rig) => {
      const { summary } = sectionsOf(backup);
      const report = await restoreToRig(rig, backup);
      assert.equal(report.parent, summary.cluster.id);
      assert.notEqual(report.cluster, report.parent);
      await rig.start("n1", "n2", "n3");
      await assertDrill(rig);
      await rig.node("n3").client.tally("t").add({ token: "three" });
      const { summary: again } = sectionsOf(await backUpRig(rig, "n1"));
      assert.equal(again.cluster.id, report.cluster);
      for (const [index, { position }] of again.shards.entries()) {
        assert.ok(position.sequence > summary.shards[index]!.position.sequence, "its numbers go on");
        assert.ok(position.epoch > summary.shards[index]!.position.epoch, "in a new epoch");
      }
    }));

  test("of an earlier version is restored to what it holds", () =>
    inEngine("fixture", async (rig) => {
      await restoreToRig(rig, readFileSync(fixture));
      await rig.start("n1", "n2", "n3");
      await assertDrill(rig);
    }));

  test("is not restored where a cluster is, nor twice", () =>
    inEngine("occupied", async (rig) => {
      await restoreToRig(rig, backup);
      await assert.rejects(restoreToRig(rig, backup), { code: "invalid-configuration" });
      await rig.start("n1", "n2", "n3");
      await assertDrill(rig);
    }));

  test("that is damaged founds nothing, wherever the damage is", () =>
    inEngine("damaged", async (rig) => {
      const random = new SeededRandom("damages");
      for (let turn = 0; turn < 30; turn++) {
        const bytes = backup.slice(0, turn % 3 === 0 ? Math.floor(random.next() * backup.length) : backup.length);
        if (turn % 3 !== 0) bytes[Math.floor(random.next() * bytes.length)]! ^= 1 << (turn % 8);
        await assert.rejects(restoreToRig(rig, bytes), ({ code }: OnefoldError) =>
          ["damaged", "unsupported-version"].includes(code),
        );
      }
      await restoreToRig(rig, backup);
    }));

  test("is damaged where a shard, a piece or an order is not what its summary says", async () => {
    const { sections, summary } = sectionsOf(backup);
    const [first, second, ...rest] = sections as [Section, Section, ...Section[]];
    const wrong: Readonly<Record<string, Uint8Array>> = {
      "a shard is left out": composed([first, ...rest], summary),
      "two are the wrong way round": composed([second, first, ...rest], summary),
      "a piece is left out": composed([first.slice(0, -1), second, ...rest], summary),
      "a piece is another shard's": composed([[...first, second[1]!], second, ...rest], summary),
      "a position is another": composed(sections, {
        ...summary,
        shards: summary.shards.map((shard) => ({
          ...shard,
          position: { ...shard.position, sequence: shard.position.sequence + 1 },
        })),
      }),
    };
    await verifyBackup(once(composed(sections, summary)));
    for (const [what, bytes] of Object.entries(wrong)) {
      await assert.rejects(verifyBackup(once(bytes)), { code: "damaged" }, what);
    }
  });

  test("whose shards lack a slot, or is of a lone node, founds nothing", () =>
    inEngine("misfit", async (rig) => {
      const { sections, summary } = sectionsOf(backup);
      const shards = summary.shards.map((shard) => ({ ...shard, to: shard.to - 1 }));
      await assert.rejects(restoreToRig(rig, composed(sections, { ...summary, shards })), { code: "damaged" });
      await assert.rejects(restoreToRig(rig, makeBackup("lone").bytes), { code: "invalid-configuration" });
      await restoreToRig(rig, backup);
    }));
});
