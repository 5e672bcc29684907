/**
 * `npm run bench:failover`: how long writes stand still when a node is killed, leaves, or the engine's leader is killed. On three nodes and
 * three synced servers on this machine, under a light load on all shards.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { BenchCluster } from "./cluster/bench-cluster.ts";
import { type Disturbance, type DisturbanceKind, Disturbances } from "./cluster/disturbances.ts";
import { spread } from "./cluster/gaps.ts";
import { LightLoad } from "./cluster/light-load.ts";
import { progressOn } from "./progress.ts";

const usage = `npm run bench:failover -- [OPTIONS]: how long writes stand still when something goes.

  --kills N         of nodes that own shards, the controller or not; default 50
  --controller-kills N  of the controller; default 10
  --handoffs N      nodes that leave in good order; default 20
  --engine-kills N  of a server that leads shards' streams; default 10
  --nodes N         default 3
  --shards N        default: what a cluster is founded with
  --json            one line of JSON for each kind
  --data DIR        a folder on the disk to be measured; nothing stays in it
  --help            this text`;

const clientCount = 3;
const pauseMs = 25;
const warmMs = 3000;

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "50" },
    "controller-kills": { type: "string", default: "10" },
    handoffs: { type: "string", default: "20" },
    "engine-kills": { type: "string", default: "10" },
    nodes: { type: "string", default: "3" },
    shards: { type: "string" },
    json: { type: "boolean", default: false },
    data: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

const seen: Disturbance[] = [];
/** What was seen until then is printed. */
const interruption = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => interruption.abort(new Error(`ended by ${signal}`)));
}

async function run(directory: string): Promise<void> {
  const progress = progressOn(process.stderr);
  progress.show("the cluster starts");
  const cluster = await BenchCluster.start({
    directory,
    nodeCount: Number(values.nodes),
    shardCount: values.shards === undefined ? undefined : Number(values.shards),
  });
  const first = await cluster.view();
  const load = new LightLoad({ urls: cluster.urls, shards: first.shards, clientCount, pauseMs });
  try {
    load.start();
    await new Promise((resolve) => setTimeout(resolve, warmMs));
    const disturbances = new Disturbances(cluster, load);
    const repeat = async (what: string, count: number, disturb: (index: number) => Promise<Disturbance>) => {
      for (let index = 0; index < count; index++) {
        interruption.signal.throwIfAborted();
        progress.show(`${what}, ${index + 1} of ${count}`);
        seen.push(await disturb(index));
      }
    };
    await repeat("a node is killed", Number(values.kills), async (index) => {
      const before = await cluster.untilServed();
      const owners = cluster.nodeNames.filter(
        (name) => name !== before.controller && before.shards.some(({ owner }) => owner === name),
      );
      return disturbances.killNode(owners[index % owners.length]!, before);
    });
    await repeat("the controller is killed", Number(values["controller-kills"]), async () => {
      const before = await cluster.untilServed();
      return disturbances.killNode(before.controller!, before);
    });
    await repeat("a node leaves", Number(values.handoffs), async (index) => {
      const before = await cluster.untilServed();
      const owners = cluster.nodeNames.filter((name) => before.shards.some(({ owner }) => owner === name));
      return disturbances.handOff(owners[index % owners.length]!, before);
    });
    await repeat("the engine's leader is killed", Number(values["engine-kills"]), async (index) => {
      const before = await cluster.untilServed();
      return disturbances.killLeaderOf(before.shards[index % before.shards.length]!, before);
    });
    await cluster.untilServed();
    await load.check();
  } finally {
    load.close();
    await cluster.close();
    progress.clear();
  }
}

const kinds: readonly (readonly [DisturbanceKind, string])[] = [
  ["node-kill", "node killed"],
  ["controller-kill", "controller killed"],
  ["handoff", "node leaves"],
  ["engine-leader-kill", "engine's leader killed"],
];

function print(): void {
  if (!values.json) {
    console.log(
      "what                    times shards |  gap p50    p99    max | added p50    p99    max | election p50   max | errors owner changes",
    );
  }
  for (const [kind, title] of kinds) {
    const all = seen.filter((each) => each.kind === kind);
    if (all.length === 0) continue;
    const gap = spread(all.flatMap(({ gapsMs }) => gapsMs))!;
    const added = spread(all.flatMap(({ addedMs }) => addedMs))!;
    const election = spread(all.flatMap(({ electionMs }) => electionMs ?? []));
    const errors = all.flatMap((each) => each.errors);
    const ownerChanges = all.reduce((total, each) => total + each.ownerChanges, 0);
    if (values.json) {
      console.log(
        JSON.stringify({
          disturbance: kind,
          times: all.length,
          shards: gap.count,
          gap_p50_ms: gap.p50Ms,
          gap_p99_ms: gap.p99Ms,
          gap_max_ms: gap.maxMs,
          added_p50_ms: added.p50Ms,
          added_p99_ms: added.p99Ms,
          added_max_ms: added.maxMs,
          election_p50_ms: election?.p50Ms ?? null,
          election_max_ms: election?.maxMs ?? null,
          errors: errors.length,
          error_codes: [...new Set(errors)],
          owner_changes: ownerChanges,
        }),
      );
      continue;
    }
    const cell = (value: number, width: number): string => value.toFixed(0).padStart(width);
    const elections =
      election === null ? "                   " : `${cell(election.p50Ms, 12)} ${cell(election.maxMs, 6)}`;
    console.log(
      `${title.padEnd(23)} ${cell(all.length, 5)} ${cell(gap.count, 6)} | ${cell(gap.p50Ms, 8)} ${cell(gap.p99Ms, 6)} ${cell(gap.maxMs, 6)} | ${cell(added.p50Ms, 9)} ${cell(added.p99Ms, 6)} ${cell(added.maxMs, 6)} | ${elections} | ${cell(errors.length, 6)} ${cell(ownerChanges, 13)}`,
    );
  }
}

if (values.help) console.log(usage);
else {
  const parent = values.data ?? tmpdir();
  await mkdir(parent, { recursive: true });
  const directory = await mkdtemp(join(parent, "onefold-failover-"));
  try {
    await run(directory);
  } finally {
    // What was seen before something went wrong is of use as well.
    print();
    await rm(directory, { recursive: true, force: true, maxRetries: 10 });
  }
}
