/**
 * Watches on entities wherever their owners are: on a shard that is here by its own watches, on others by feeds.
 *
 * CW1  A listener is called after each durable change, and whenever changes may have been missed: once its watch is in place, and
 *      after each change of the owner. Soon, not at once: what a change of owner has hidden is told when the next one serves.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { EntityAddress, Watch } from "../entity/service.ts";
import type { Random, Timer, Timers } from "../host/host.ts";
import type { LocalShards, OwnedShard, ShardMap } from "./local-shards.ts";
import type { Peers } from "./peers.ts";
import { RemoteFeed } from "./remote-feed.ts";
import type { SlotFinder } from "./slot-finder.ts";
import { shardOfSlot } from "./system-state.ts";

export interface ClusterWatchesParts {
  readonly timers: Timers;
  readonly random: Random;
  readonly limits: Limits;
  readonly peers: Peers;
  readonly map: ShardMap;
  readonly local: LocalShards;
  readonly slots: SlotFinder;
}

interface OpenWatch {
  readonly number: number;
  readonly tenant: string;
  readonly address: EntityAddress;
  readonly onChange: () => void;
  /** Undefined until it is known. */
  slot: number | undefined;
  /** On a shard that is here. */
  here: Watch | undefined;
}

/** All watches on one shard, and where they are in place. */
interface WatchedShard {
  readonly id: string;
  readonly watches: Map<number, OpenWatch>;
  owned: OwnedShard | undefined;
  feed: RemoteFeed | undefined;
}

/** Watches in one message to their owner. */
const watchesPerMessage = 256;

export class ClusterWatches {
  readonly #parts: ClusterWatchesParts;
  readonly #shards = new Map<string, WatchedShard>();
  /** Those of no shard yet: their slot is being looked up, or nobody holds it. */
  readonly #homeless = new Set<OpenWatch>();
  readonly #unsubscribe: () => void;
  #lastNumber = 0;
  #openCount = 0;
  #looking: Timer | undefined = undefined;
  #isClosed = false;

  constructor(parts: ClusterWatchesParts) {
    this.#parts = parts;
    this.#unsubscribe = parts.map.onChange(() => this.#look());
  }

  /** As `Service.watch`; throws `overloaded` as well. */
  watch(tenant: string, address: EntityAddress, onChange: () => void): Watch {
    const { map, slots, limits } = this.#parts;
    const { cluster } = map.state;
    if (cluster === undefined || this.#isClosed) {
      throw new OnefoldError("not-ready", "The node is starting or stopping.", { retryAfterMs: 500 });
    }
    if (this.#openCount >= limits.remoteWatchesMax) {
      throw new OnefoldError("overloaded", "As much as this node accepts is watched.", { retryAfterMs: 1000 });
    }
    const slot = slots.ofEntity(address, tenant);
    const watch: OpenWatch = {
      number: ++this.#lastNumber,
      tenant,
      address,
      onChange,
      slot: undefined,
      here: undefined,
    };
    this.#openCount++;
    let isCancelled = false;
    const begin = (found: number): void => {
      if (isCancelled) return;
      watch.slot = found;
      this.#homeless.add(watch);
      this.#look();
    };
    if (typeof slot === "number") begin(slot);
    // What the affinity comes to, every read of the entity says as well.
    else slot.then(begin, () => undefined);
    const logOf = (): string =>
      (watch.slot === undefined ? undefined : shardOfSlot(map.state, watch.slot)?.log) ?? cluster.id;
    return {
      get log() {
        return logOf();
      },
      cancel: () => {
        if (isCancelled) return;
        isCancelled = true;
        this.#openCount--;
        this.#forget(watch);
      },
    };
  }

  /** No listener is called any more. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#unsubscribe();
    this.#looking?.cancel();
    for (const shard of this.#shards.values()) {
      shard.feed?.end();
      for (const { here } of shard.watches.values()) here?.cancel();
    }
    this.#shards.clear();
    this.#homeless.clear();
  }

  #forget(watch: OpenWatch): void {
    this.#homeless.delete(watch);
    watch.here?.cancel();
    for (const shard of this.#shards.values()) {
      if (!shard.watches.delete(watch.number)) continue;
      shard.feed?.drop(watch.number);
      if (shard.watches.size > 0) continue;
      shard.feed?.end();
      this.#shards.delete(shard.id);
    }
  }

  /** Puts in place what is not: after each change of the map, and every now and then, since claims and failures don't show there. */
  #look(): void {
    if (this.#isClosed) return;
    const { map, timers, limits } = this.#parts;
    for (const shard of [...this.#shards.values()]) {
      const state = map.state.shards.get(shard.id);
      if (state !== undefined && state.status !== "retired") this.#attach(shard, state.owner);
      else this.#dissolve(shard);
    }
    for (const watch of [...this.#homeless]) {
      const state = shardOfSlot(map.state, watch.slot!);
      if (state === undefined) continue;
      this.#homeless.delete(watch);
      this.#join(watch, state.id, state.owner);
    }
    if (this.#looking !== undefined || this.#openCount === 0) return;
    this.#looking = timers.after(limits.routeRetryMsMax, () => {
      this.#looking = undefined;
      this.#look();
    });
  }

  #dissolve(shard: WatchedShard): void {
    this.#shards.delete(shard.id);
    shard.feed?.end();
    for (const watch of shard.watches.values()) {
      watch.here?.cancel();
      watch.here = undefined;
      this.#homeless.add(watch);
    }
  }

  #join(watch: OpenWatch, shardId: string, owner: string | undefined): void {
    let shard = this.#shards.get(shardId);
    if (shard === undefined) {
      shard = { id: shardId, watches: new Map(), owned: undefined, feed: undefined };
      this.#shards.set(shardId, shard);
    }
    shard.watches.set(watch.number, watch);
    // Where the others are in place, so is this one; else all of them together.
    if (!this.#isInPlace(shard, owner)) return this.#attach(shard, owner);
    if (shard.owned !== undefined) this.#attachHere(shard.owned, watch);
    else shard.feed?.add([entityOf(watch)]);
  }

  #isInPlace({ id, owned, feed }: WatchedShard, owner: string | undefined): boolean {
    const present = this.#parts.local.owned(id);
    if (present !== undefined || owned !== undefined) return present === owned;
    return feed !== undefined && !feed.isOver && feed.address === this.#addressOf(owner);
  }

  #addressOf(owner: string | undefined): string | undefined {
    const { map, peers } = this.#parts;
    const member = owner === undefined ? undefined : map.state.members.get(owner);
    return member === undefined || member.status === "gone" || member.address === peers.address
      ? undefined
      : member.address;
  }

  #attach(shard: WatchedShard, owner: string | undefined): void {
    if (this.#isInPlace(shard, owner)) return;
    shard.feed?.end();
    shard.feed = undefined;
    shard.owned = this.#parts.local.owned(shard.id);
    const watches = [...shard.watches.values()];
    for (const watch of watches) {
      watch.here?.cancel();
      watch.here = undefined;
      if (shard.owned !== undefined) this.#attachHere(shard.owned, watch);
    }
    const address = this.#addressOf(owner);
    if (shard.owned !== undefined || address === undefined) return;
    const feed = new RemoteFeed({ address, shardId: shard.id }, this.#parts, (numbers) => {
      for (const number of numbers) shard.watches.get(number)?.onChange();
    });
    shard.feed = feed;
    for (let i = 0; i < watches.length; i += watchesPerMessage) {
      feed.add(watches.slice(i, i + watchesPerMessage).map(entityOf));
    }
  }

  #attachHere(owned: OwnedShard, watch: OpenWatch): void {
    const { tenant, address, onChange } = watch;
    try {
      watch.here = owned.watch(tenant, address, onChange);
    } catch (error) {
      // It is stopping: the next owner is found soon.
      if (!(error instanceof OnefoldError)) throw error;
    }
    // Never inside of `watch`, whose caller has not got it yet.
    this.#parts.timers.soon(() => {
      if (!this.#isClosed && watch.here !== undefined) onChange();
    });
  }
}

function entityOf({ number, tenant, address: { kind, id } }: OpenWatch): readonly [number, string, string, string] {
  return [number, tenant, kind, id];
}
