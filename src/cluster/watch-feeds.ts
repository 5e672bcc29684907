/**
 * The owner's half of watches from other nodes: a feed is what one node watches on one shard. That node asks again and again
 * (`watch.poll`) which of its watches have seen a change since.
 *
 * WF1  A change is told by one answer. Whoever does not get an answer takes the whole feed for lost, and begins another.
 * WF2  A feed ends with the ownership that it began in, and when nobody has polled it for thrice `watchFeedMs`; whoever polls then
 *      learns it by `not-owner`, and begins another.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Value } from "../base/value.ts";
import type { Watch } from "../entity/service.ts";
import type { Clock, Timers } from "../host/host.ts";
import type { LocalShards, OwnedShard, ShardMap } from "./local-shards.ts";
import type { Peers } from "./peers.ts";
import { notOwner } from "./route-outcome.ts";

/** One watch on the wire: its number in the feed, tenant, kind and id. */
export type WatchedEntity = readonly [number: number, tenant: string, kind: string, id: string];

export interface WatchFeedsParts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly limits: Limits;
  readonly peers: Peers;
  readonly map: ShardMap;
  readonly local: LocalShards;
}

class Feed {
  readonly shardId: string;
  readonly owned: OwnedShard;
  readonly watches = new Map<number, Watch>();
  polledMs: number;
  readonly #changed = new Set<number>();
  #wake: (() => void) | undefined = undefined;

  constructor(shardId: string, owned: OwnedShard, nowMs: number) {
    this.shardId = shardId;
    this.owned = owned;
    this.polledMs = nowMs;
  }

  add([number, tenant, kind, id]: WatchedEntity): void {
    const onChange = (): void => {
      this.#changed.add(number);
      this.#wake?.();
    };
    this.watches.get(number)?.cancel();
    this.watches.set(number, this.owned.watch(tenant, { kind, id }, onChange));
  }

  drop(number: number): void {
    this.watches.get(number)?.cancel();
    this.watches.delete(number);
  }

  /** WF1. The numbers of watches that have seen a change since the last poll. Waits for the first one, `forMs` at most. */
  async poll(forMs: number, timers: Timers): Promise<Value> {
    if (this.#changed.size === 0) {
      await new Promise<void>((resolve) => {
        const timer = timers.after(forMs, resolve);
        this.#wake = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    const changed = [...this.#changed].filter((number) => this.watches.has(number));
    this.#changed.clear();
    return changed;
  }

  end(): void {
    for (const watch of this.watches.values()) watch.cancel();
    this.watches.clear();
    this.#wake?.();
  }
}

/** Registers the handlers of `watch.add`, `watch.drop` and `watch.poll`. */
export function handleWatchFeeds({ clock, timers, limits, peers, map, local }: WatchFeedsParts): void {
  const feeds = new Map<string, Feed>();
  let isSweeping = false;
  const end = (key: string, feed: Feed): void => {
    feeds.delete(key);
    feed.end();
  };
  /** WF2. */
  const sweep = (): void => {
    const nowMs = clock.monotonicMs();
    for (const [key, feed] of feeds) {
      const isStale = nowMs - feed.polledMs > 3 * limits.watchFeedMs;
      if (isStale || local.owned(feed.shardId) !== feed.owned) end(key, feed);
    }
    isSweeping = feeds.size > 0;
    if (isSweeping) timers.after(limits.watchFeedMs, sweep);
  };
  const present = (key: string, shardId: string): Feed | undefined => {
    const feed = feeds.get(key);
    if (feed === undefined || local.owned(shardId) === feed.owned) return feed;
    end(key, feed);
    return undefined;
  };

  peers.handle("watch.add", async (body, { address }) => {
    const {
      feed: name,
      shard,
      watches,
    } = body as {
      readonly feed: string;
      readonly shard: string;
      readonly watches: readonly WatchedEntity[];
    };
    const key = `${name} ${address}`;
    const owned = local.owned(shard);
    if (owned === undefined) throw notOwner(map.state, shard, peers.address);
    const count = [...feeds.values()].reduce((sum, feed) => sum + feed.watches.size, 0);
    if (count + watches.length > limits.remoteWatchesMax) {
      throw new OnefoldError("overloaded", "Other nodes watch as much on this one as it accepts.", {
        retryAfterMs: 1000,
      });
    }
    const feed = present(key, shard) ?? new Feed(shard, owned, clock.monotonicMs());
    feeds.set(key, feed);
    for (const watch of watches) feed.add(watch);
    if (!isSweeping) timers.after(limits.watchFeedMs, sweep);
    isSweeping = true;
    return null;
  });
  peers.handle("watch.drop", async (body, { address }) => {
    const { feed, watches } = body as { readonly feed: string; readonly watches: readonly number[] };
    for (const number of watches) feeds.get(`${feed} ${address}`)?.drop(number);
    return null;
  });
  peers.handle("watch.poll", async (body, { address }) => {
    const { feed: name, shard } = body as { readonly feed: string; readonly shard: string };
    const feed = present(`${name} ${address}`, shard);
    if (feed === undefined) throw notOwner(map.state, shard, peers.address);
    feed.polledMs = clock.monotonicMs();
    return feed.poll(limits.watchFeedMs, timers);
  });
}
