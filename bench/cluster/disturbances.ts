/**
 * What a cluster under a light load goes through: nodes killed, nodes that leave in good order, a server of the engine killed that leads
 * shards' streams. Each waits until the cluster is whole again before the next begins.
 */
import { type NatsConnection, connect, errors } from "@nats-io/transport-node";
import type { ClusterView, ShardView } from "../../src/wire/cluster-view.ts";
import { logStream } from "../../src/log/engine/nats/names.ts";
import { type BenchCluster, engineName } from "./bench-cluster.ts";
import { longestGapMs, slowestMs } from "./gaps.ts";
import type { LightLoad } from "./light-load.ts";

export type DisturbanceKind = "node-kill" | "controller-kill" | "handoff" | "engine-leader-kill";

export interface Disturbance {
  readonly kind: DisturbanceKind;
  /** Of each shard that was affected: the longest time without an acknowledged write. */
  readonly gapsMs: readonly number[];
  /** Of each: its slowest write, less what a write took before. */
  readonly addedMs: readonly number[];
  /** Codes of writes that failed, of all shards. */
  readonly errors: readonly string[];
  /** Shards that had another owner or epoch afterwards. */
  readonly ownerChanges: number;
  /** Of an engine's leader: how long a plain stream that it led took no messages. */
  readonly electionMs: number | null;
}

const resumeMsMax = 60_000;
const calmMs = 700;
const plainStream = "PLAIN";

export class Disturbances {
  readonly #cluster: BenchCluster;
  readonly #load: LightLoad;

  constructor(cluster: BenchCluster, load: LightLoad) {
    this.#cluster = cluster;
    this.#load = load;
  }

  /** `victim` by its name; killed without a word. */
  async killNode(victim: string, before: ClusterView): Promise<Disturbance> {
    const kind = before.controller === victim ? "controller-kill" : "node-kill";
    const affected = before.shards.filter(({ owner }) => owner === victim);
    return this.#disturb({ kind, before, affected, restore: () => this.#cluster.startNode(victim) }, async () => {
      await this.#cluster.killNode(victim);
      return null;
    });
  }

  /** `victim` finishes and hands over. */
  async handOff(victim: string, before: ClusterView): Promise<Disturbance> {
    const affected = before.shards.filter(({ owner }) => owner === victim);
    const restore = (): Promise<void> => this.#cluster.startNode(victim);
    return this.#disturb({ kind: "handoff", before, affected, restore }, async () => {
      await this.#cluster.stopNode(victim);
      return null;
    });
  }

  /** The server that leads the shard's stream is killed; all that it led are affected. */
  async killLeaderOf(shard: ShardView, before: ClusterView): Promise<Disturbance> {
    const { servers } = this.#cluster;
    const nats = await connect({ servers: [...servers.urls], ...servers.account, maxReconnectAttempts: -1 });
    try {
      const leaders = new Map<string, string>();
      for (const { id, log } of before.shards) leaders.set(id, await someLeaderOf(nats, logStream(engineName, log)));
      const victim = leaders.get(shard.id);
      if (victim === undefined) throw new Error(`nobody leads the stream of ${shard.id}`);
      await leadPlain(nats, victim);
      const affected = before.shards.filter(({ id }) => leaders.get(id) === victim);
      const restore = async (): Promise<void> => {
        await servers.startServer(victim);
        await servers.untilHealthy();
      };
      return await this.#disturb({ kind: "engine-leader-kill", before, affected, restore }, async () => {
        await servers.killServer(victim);
        return plainGapMs(nats);
      });
    } finally {
      await nats.close();
    }
  }

  async #disturb(
    {
      kind,
      before,
      affected,
      restore,
    }: {
      readonly kind: DisturbanceKind;
      readonly before: ClusterView;
      readonly affected: readonly ShardView[];
      readonly restore: () => Promise<void>;
    },
    act: () => Promise<number | null>,
  ): Promise<Disturbance> {
    const load = this.#load;
    const fromMs = performance.now();
    const usual = median(
      before.shards.flatMap(({ id }) =>
        load
          .answers(id)
          .slice(-50)
          .map(({ beganMs, endedMs }) => endedMs - beganMs),
      ),
    );
    const electionMs = await act();
    await load.untilAcknowledged(
      affected.map(({ id }) => id),
      performance.now(),
      resumeMsMax,
    );
    // What was about to be written when it happened has been answered as well.
    await new Promise((resolve) => setTimeout(resolve, calmMs));
    const gapsMs = affected.map(({ id }) => longestGapMs(load.answers(id), fromMs)!);
    const addedMs = affected.map(({ id }) => Math.max(0, slowestMs(load.answers(id), fromMs)! - usual));
    const errors = before.shards.flatMap(({ id }) =>
      load.answers(id).flatMap(({ endedMs, error }) => (endedMs > fromMs && error !== undefined ? [error] : [])),
    );
    const after = await this.#cluster.view();
    const ownerChanges = before.shards.filter((shard) => {
      const now = after.shards.find(({ id }) => id === shard.id);
      return now?.owner !== shard.owner || (now.epoch !== null && shard.epoch !== null && now.epoch !== shard.epoch);
    }).length;
    await restore();
    return { kind, gapsMs, addedMs, errors, ownerChanges, electionMs };
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

interface LeaderInfo {
  readonly cluster?: { readonly leader?: string };
}

/** Undefined where there is none, so that nobody answers. */
async function leaderOf(nats: NatsConnection, stream: string): Promise<string | undefined> {
  try {
    const answer = await nats.request(`$JS.API.STREAM.INFO.${stream}`, undefined, { timeout: 1000 });
    return answer.json<LeaderInfo>().cluster?.leader;
  } catch (error) {
    if (error instanceof errors.TimeoutError) return undefined;
    throw error;
  }
}

/** Once there is one. */
async function someLeaderOf(nats: NatsConnection, stream: string): Promise<string> {
  const untilMs = performance.now() + resumeMsMax;
  for (;;) {
    const leader = await leaderOf(nats, stream);
    if (leader !== undefined) return leader;
    if (performance.now() > untilMs) throw new Error(`nobody leads the stream ${stream}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Makes the plain stream, where it isn't there, and has this server lead it. */
async function leadPlain(nats: NatsConnection, server: string): Promise<void> {
  const config = { name: plainStream, subjects: ["plain"], num_replicas: 3, storage: "file" };
  await nats.request(`$JS.API.STREAM.CREATE.${plainStream}`, JSON.stringify(config), { timeout: 10_000 });
  await someLeaderOf(nats, plainStream);
  const untilMs = performance.now() + resumeMsMax;
  for (let tries = 0; (await leaderOf(nats, plainStream)) !== server; tries++) {
    if (performance.now() > untilMs) throw new Error(`the server ${server} does not come to lead the plain stream`);
    if (tries % 100 === 0) {
      const wanted = JSON.stringify({ placement: { preferred: server } });
      await nats.request(`$JS.API.STREAM.LEADER.STEPDOWN.${plainStream}`, wanted, { timeout: 5000 });
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** From now until the plain stream takes a message again: the engine's own election. */
async function plainGapMs(nats: NatsConnection): Promise<number> {
  const fromMs = performance.now();
  while (performance.now() < fromMs + resumeMsMax) {
    const isTaken = await nats.request("plain", "x", { timeout: 250 }).then(
      (answer) => answer.json<{ readonly stream?: string }>().stream === plainStream,
      // Nobody leads it, or the connection is just moving to another server.
      () => false,
    );
    if (isTaken) return performance.now() - fromMs;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error("the plain stream takes no messages any more");
}
