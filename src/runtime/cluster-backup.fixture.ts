/** Backups of simulated clusters without faults, for tests of what is in them. */
import { concatBytes } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import { ClusterRig } from "../cluster/cluster.fixture.ts";
import { newerDrill } from "../sim/cluster/drill-system.ts";
import { SimulatedNode } from "../sim/host.ts";
import { ClusterBackups } from "./cluster-backups.ts";
import { type ClusterRestoreReport, restoreToCluster } from "./cluster-restore.ts";

export type DrillRig = ClusterRig<typeof newerDrill>;

export const restoredCents = [900, 1100, 1000] as const;
export const restoredTokens = ["one", "two"] as const;

/** One with some of everything: entities of all kinds, a transaction over shards, letters, a timer far away. */
export async function backedUpDrill(seed: string): Promise<Uint8Array> {
  const rig: DrillRig = new ClusterRig(newerDrill, seed);
  let bytes: Uint8Array | undefined;
  await rig.run(async () => {
    await rig.start("n1", "n2", "n3");
    const { client } = rig.node("n1");
    for (const token of restoredTokens) await client.tally("t").add({ token });
    await client.pay({ from: "p0", to: "p1", cents: 100 });
    await client.box("b").wind({ name: "later", afterMs: 1_000_000_000_000 });
    await client.post("s").send({ to: "b", letters: ["first", "second"] });
    bytes = await backUpRig(rig, "n2");
  });
  return bytes!;
}

export async function backUpRig(rig: DrillRig, name: string): Promise<Uint8Array> {
  const { cluster, node } = rig.node(name);
  const { clock } = node;
  const backups = new ClusterBackups({ clock, random: rig.random.fork("backup") }, limits, () => cluster!);
  const opened = await backups.open();
  const parts: Uint8Array[] = [];
  for await (const chunk of opened.chunks()) parts.push(chunk);
  opened.close();
  return concatBytes(parts);
}

/** Into the rig's engine, in which no node has been started yet. */
export function restoreToRig(rig: DrillRig, bytes: Uint8Array): Promise<ClusterRestoreReport> {
  const { scheduler } = rig;
  // Of its own each time: names that it makes are new.
  const random = rig.random.fork(`restorer ${rig.random.next()}`);
  const host = new SimulatedNode({ scheduler, random, name: "restorer" }).start();
  const logs = rig.server.connect();
  const engine = { logs, blobs: (place: string) => rig.blobs(place), close: () => logs.close() };
  async function* chunks(): AsyncIterable<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 5000) yield bytes.subarray(at, at + 5000);
  }
  return restoreToCluster({ host, limits, engine, allowsLaxEngine: true, backup: chunks() });
}
