/**
 * What the simulation of scaling charges processors with (`src/sim/scaling/costs.ts`), measured on this machine: `npm run sim:costs`. Three real
 * servers of the engine, and real nodes in this process, whose main thread's processor time is taken before and after a number of calls; of
 * the servers that of the whole process. Differences between runs, with one caller and with many, are solved for the parts.
 *
 * Processor time, not the time that passes, so that it can run while others work here; what their work does to the caches it has in it.
 * Not measured: how long syncs take, and what a byte costs beyond those of a frame.
 */
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OnefoldError } from "../src/base/errors.ts";
import { NatsCluster } from "../src/cli/cluster/nats-cluster.ts";
import { natsPlan } from "../src/cli/cluster/nats-plan.ts";
import { provideNatsServer } from "../src/cli/cluster/provided-nats-server.ts";
import { nodeHost } from "../src/host/node/host.ts";
import type { Network } from "../src/host/network.ts";
import { logStream } from "../src/log/engine/nats/names.ts";
import { connectNatsEngine } from "../src/log/engine/nats/nats-engine.ts";
import type { StreamInfo } from "../src/log/engine/nats/stream-config.ts";
import { MemberNode } from "../src/runtime/member.ts";
import { memberStores } from "../src/runtime/member-stores.ts";
import { observedNetwork } from "../src/sim/scaling/observed-network.ts";
import { natsBlobs } from "../src/store/engine/nats-blobs.ts";
import { errorsOnly } from "./subject/in-process.ts";
import { benchSystem } from "./system.ts";

const serialCalls = 1500;
const crowdCalls = 30_000;
const crowd = 256;
const attemptsMax = 20;
const busyShards = 8;
const busyCallers = 64;
const warmCalls = 3000;
const recordBytes = 300;

/** Microseconds for which threads have run, as Linux counts them. */
async function threadsUs(pid: number, only?: number): Promise<number> {
  const tasks = only === undefined ? await readdir(`/proc/${pid}/task`) : [String(only)];
  let sum = 0;
  for (const task of tasks) {
    // A thread that has ended meanwhile counts for nothing.
    const text = await readFile(`/proc/${pid}/task/${task}/schedstat`, "utf8").catch(() => "0");
    sum += Number(text.split(" ")[0]) / 1000;
  }
  return sum;
}

const mainUs = (): Promise<number> => threadsUs(process.pid, process.pid);

async function many(count: number, callers: number, call: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < count) await call(next++);
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`In vain: ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// ------------------------------------------------------------------------------------------------------------ servers

const directory = await mkdtemp(join(tmpdir(), "onefold-costs-"));
await mkdir(join(directory, "engine"));
const { path: program } = await provideNatsServer((sentence) => console.error(sentence));
const plan = await natsPlan({ directory: join(directory, "engine"), serverCount: 3 });
const servers = await NatsCluster.start({ program, plan, directory: join(directory, "engine") });

async function serverCosts(): Promise<Record<string, number>> {
  const at = (cluster: string, urls: readonly string[]) =>
    connectNatsEngine({
      servers: urls,
      login: servers.account,
      systemLogin: servers.systemAccount,
      cluster,
      replicaCount: 3,
    });
  const engine = await at("bare", [servers.urls[0]!]);
  const log = await engine.create("bare", { firstSequence: 1 });
  const info = await engine.connection.api<StreamInfo>(`STREAM.INFO.${logStream("bare", "bare")}`);
  const leader = "value" in info ? info.value.cluster?.leader : undefined;
  // The client's own server is to be no leader, so that its part can be told from a leader's.
  const homeAt = servers.names.findIndex((name) => name !== leader);
  const home = servers.names[homeAt]!;
  const other = servers.names.find((name) => name !== leader && name !== home)!;
  const client = await at("bare", [servers.urls[homeAt]!]);
  const mine = (await client.open("bare"))!;
  void log;
  let sequence = 0;
  const bytes = new Uint8Array(recordBytes);
  const append = async (): Promise<void> => {
    const outcome = await mine.append(++sequence, bytes);
    if (outcome.kind !== "appended") throw new Error(`record ${sequence}: ${outcome.kind}`);
  };
  const used = async (run: () => Promise<void>, count: number): Promise<Record<string, number>> => {
    const read = () => Promise.all([leader!, home, other].map((name) => threadsUs(servers.pidOf(name)!)));
    const quiet = await read();
    const quietMs = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const before = await read();
    const beforeMs = performance.now();
    await run();
    const after = await read();
    const idleFor = (performance.now() - beforeMs) / (beforeMs - quietMs);
    const [lead, own, follow] = after.map((value, index) => {
      const idle = (before[index]! - quiet[index]!) * idleFor;
      return (value - before[index]! - idle) / count;
    });
    return { lead: lead!, home: own!, follow: follow! };
  };
  await many(500, 1, append);
  const serial = await used(() => many(serialCalls, 1, append), serialCalls);
  const crowded = await used(() => many(8000, 64, append), 8000);
  let told = 0;
  const tail = mine.tail(1, { record: () => told++, ended: (cause) => console.error("the tail ended", cause) });
  const all = sequence;
  const telling = await used(() => until(() => told >= all, "the tail tells all"), all);
  tail.close();
  await engine.close();
  await client.close();
  const total = (cost: Record<string, number>): number => cost.lead! + cost.home! + cost.follow!;
  return {
    "server, lone append: leader": serial.lead!,
    "server, lone append: follower": serial.follow!,
    "server, lone append: follower and the client's": serial.home!,
    "server, of 64 under way: leader": crowded.lead!,
    "server, of 64 under way: follower": crowded.follow!,
    "server, of 64 under way: follower and the client's": crowded.home!,
    "server, a record that a tail tells (all servers)": total(telling),
  };
}

// -------------------------------------------------------------------------------------------------------------- nodes

interface Frames {
  count: number;
  bytes: number;
}

function counted(network: Network, frames: Frames): Network {
  return observedNetwork(network, ({ length }) => {
    frames.count++;
    frames.bytes += length;
  });
}

async function openNode(
  cluster: string,
  name: string,
  frames: Frames,
  { followerCount = 0, shardCount = 1 }: { readonly followerCount?: number; readonly shardCount?: number } = {},
): Promise<MemberNode> {
  const dataDirectory = join(directory, cluster, name);
  const host = nodeHost({ dataDirectory, trace: errorsOnly });
  const { clock, timers, random, guard, trace, disk, network } = host;
  const node = await MemberNode.open({
    system: benchSystem,
    host: {
      clock,
      timers,
      random,
      guard,
      trace,
      disk,
      network: counted(network, frames),
      newScope: () => host.newScope(),
    },
    name,
    address: "127.0.0.1:0",
    labels: {},
    shardCount,
    followerCount,
    allowsLaxEngine: false,
    storeEngine: memberStores({ directory: join(dataDirectory, "stores"), trace, shardsMax: shardCount }),
    connectEngine: async () => {
      const { account: login, systemAccount: systemLogin, urls } = servers;
      const logs = await connectNatsEngine({ servers: urls, cluster, replicaCount: 3, login, systemLogin });
      return {
        logs,
        blobs: natsBlobs({ connection: logs.connection, cluster, replicaCount: 3 }),
        close: () => logs.close(),
      };
    },
  });
  await node.join("http://127.0.0.1:1");
  return node;
}

interface Used {
  /** Microseconds of the main thread, appends, frames' ends and bytes, each for a call. */
  readonly us: number;
  readonly appends: number;
  readonly frames: number;
  readonly bytes: number;
}

async function nodeCosts(): Promise<Record<string, number>> {
  const frames: Frames = { count: 0, bytes: 0 };
  const principal = { tenant: "default", subject: "costs", scopes: ["*"] };
  const measure = async (at: MemberNode, owner: MemberNode, callers: number): Promise<Used> => {
    const count = callers === 1 ? serialCalls : crowdCalls;
    const increment = (index: number) =>
      at.service.command({ kind: "counter", id: `c${index % 1000}` }, "increment", undefined, { principal });
    // On a busy machine a node may be cut off for a moment; so few calls more are not felt.
    const call = async (index: number): Promise<unknown> => {
      for (let attempt = 1; ; attempt++) {
        try {
          return await increment(index);
        } catch (error) {
          if (!(error instanceof OnefoldError) || error.retry === "never" || attempt === attemptsMax) throw error;
          await new Promise((resolve) => setTimeout(resolve, 500));
        }
      }
    };
    const end = (): number => {
      const { shards, systemLog } = owner.node!;
      const ends = [...systemLog.state.shards.values()].map(({ log }) => shards!.position(log)?.sequence ?? 0);
      return ends.reduce((sum, sequence) => sum + sequence, 0);
    };
    await many(Math.min(count, warmCalls), callers, call);
    const [idleUs, idleMs] = [await mainUs(), performance.now()];
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const idleShare = ((await mainUs()) - idleUs) / (performance.now() - idleMs);
    const [us, ms, at0, frames0, bytes0] = [await mainUs(), performance.now(), end(), frames.count, frames.bytes];
    await many(count, callers, call);
    return {
      us: ((await mainUs()) - us - idleShare * (performance.now() - ms)) / count,
      appends: (end() - at0) / count,
      frames: (frames.count - frames0) / count,
      bytes: (frames.bytes - bytes0) / count,
    };
  };
  const owns = (node: MemberNode, count = 1): boolean => node.node?.shards?.ownedCount === count;
  const alone = await openNode("alone", "a", frames);
  await until(() => owns(alone), "it owns the shard");
  // Until the code is compiled everywhere.
  await measure(alone, alone, crowd);
  const [one, crowded] = [await measure(alone, alone, 1), await measure(alone, alone, crowd)];
  const asking = await openNode("alone", "b", frames);
  await measure(asking, alone, crowd);
  const [oneAsked, crowdAsked] = [await measure(asking, alone, 1), await measure(asking, alone, crowd)];
  await asking.close();
  await alone.close();
  const followed = await openNode("followed", "a", frames, { followerCount: 1 });
  const follower = await openNode("followed", "b", frames, { followerCount: 1 });
  await until(() => owns(followed) && follower.node!.shards!.position("shard-0") !== null, "it is followed");
  const oneFollowed = await measure(followed, followed, 1);
  await follower.close();
  await followed.close();
  const broad = await openNode("broad", "a", frames, { shardCount: busyShards });
  await until(() => owns(broad, busyShards), "it owns all shards");
  await measure(broad, broad, busyCallers);
  const busy = await measure(broad, broad, busyCallers);
  await broad.close();

  const append = (one.us - crowded.us) / (one.appends - crowded.appends);
  const command = crowded.us - append * crowded.appends;
  const beyond = (used: Used): number => used.us - command - append * used.appends;
  const [first, second] = [beyond(oneAsked), beyond(crowdAsked)];
  const determinant = oneAsked.frames * crowdAsked.bytes - crowdAsked.frames * oneAsked.bytes;
  const frame = (first * crowdAsked.bytes - second * oneAsked.bytes) / determinant;
  const byte = (oneAsked.frames * second - crowdAsked.frames * first) / determinant;
  return {
    "node, a lone local call": one.us,
    [`node, a local call of ${crowd}`]: crowded.us,
    [`appends for a local call of ${crowd}`]: crowded.appends,
    "node, a lone forwarded call, both nodes": oneAsked.us,
    [`node, a forwarded call of ${crowd}, both nodes`]: crowdAsked.us,
    [`frames' ends for a forwarded call of ${crowd}`]: crowdAsked.frames,
    [`bytes at frames' ends for a forwarded call of ${crowd}`]: crowdAsked.bytes,
    commandUs: command,
    [`node, a local call of ${busyCallers} on ${busyShards} shards`]: busy.us,
    [`appends for a local call of ${busyCallers} on ${busyShards} shards`]: busy.appends,
    "appendUs, alone": append,
    "appendUs, under load": (busy.us - command) / busy.appends,
    frameUs: frame,
    frameByteUs: byte,
    followUs: oneFollowed.us - one.us,
  };
}

try {
  const costs = { ...(await serverCosts()), ...(await nodeCosts()) };
  console.log("Microseconds of processor time, but where another unit is named:");
  for (const [name, value] of Object.entries(costs)) console.log(`${name.padEnd(60)}${value.toPrecision(3)}`);
} finally {
  await servers.killAll();
  await rm(directory, { recursive: true, force: true });
}
