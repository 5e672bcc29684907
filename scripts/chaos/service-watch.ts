/**
 * Watches during the run which shards are served, as any of the nodes tells: evidence for what kept calls waiting.
 *
 * SV1 One line of JSON a look, with the shards that nobody serves, in `logs/served.jsonl`.
 * SV2 A shard that nobody serves for long is noted once, and what the nodes tell of themselves is kept beside.
 */
import { appendFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { ClusterView } from "../../src/wire/cluster-view.ts";
import type { ChaosCluster } from "./cluster.ts";
import { get } from "./rest.ts";

const lookMs = 1000;
/** Longer than an engine takes to elect, twice. */
const longMs = 20_000;

export interface ServiceWatchOptions {
  readonly cluster: ChaosCluster;
  readonly path: string;
  readonly nowMs: () => number;
  readonly onUnserved: (sentence: string) => void;
}

export class ServiceWatch {
  readonly #options: ServiceWatchOptions;
  readonly #sinceMs = new Map<string, number>();
  readonly #told = new Set<string>();
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: ServiceWatchOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { cluster, path, nowMs } = this.#options;
    for (let look = 0; !this.#stopping.signal.aborted; look++) {
      const node = cluster.nodes[look % cluster.nodes.length]!;
      const { status, text } = await get(`${cluster.urlOf(node)}/v1/cluster`);
      if (status === 200) {
        const unserved = this.#take(JSON.parse(text) as ClusterView);
        await appendFile(path, `${JSON.stringify({ atMs: Math.round(nowMs()), node, unserved })}\n`);
      }
      // Only the wait is cut short.
      await sleep(lookMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
    }
  }

  #take({ shards, controller }: ClusterView): readonly object[] {
    const nowMs = this.#options.nowMs();
    const unserved = shards.filter(({ isServed }) => !isServed);
    const ids = new Set(unserved.map(({ id }) => id));
    for (const id of [...this.#sinceMs.keys()]) {
      if (ids.has(id)) continue;
      this.#sinceMs.delete(id);
      this.#told.delete(id);
    }
    for (const { id, owner, status } of unserved) {
      const sinceMs = this.#sinceMs.get(id) ?? nowMs;
      this.#sinceMs.set(id, sinceMs);
      if (nowMs - sinceMs < longMs || this.#told.has(id)) continue;
      this.#told.add(id);
      const seconds = Math.round((nowMs - sinceMs) / 1000);
      this.#options.onUnserved(
        `Shard ${id} (${status}, owner ${owner ?? "none"}) has not been served for ${seconds} s.`,
      );
    }
    return unserved.map(({ id, owner, status, epoch, movingTo }) => ({
      id,
      owner,
      status,
      epoch,
      movingTo,
      controller,
    }));
  }
}
