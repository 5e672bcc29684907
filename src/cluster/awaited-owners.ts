/**
 * Calls that have come to a node which is about to own their shard: they wait here until it does, and need not come again.
 *
 * AO1 A wait ends when the node owns the shard, as soon as the map says that it is not to, and after `ownerAwaitedMs`, or half of the time
 *     that the caller waits, so that its caller still hears that nothing was begun. A node that is cut off lets nobody wait, nor does a shard that is
 *     not whole. How many calls other nodes may have here at once bounds how many wait (`asking-peers.ts`).
 */
import type { Limits } from "../base/limits.ts";
import type { Timers } from "../host/host.ts";
import type { LocalShards, OwnedShard, ShardMap, Standing } from "./local-shards.ts";
import type { Peers } from "./peers.ts";
import { ownerToBe } from "./route-outcome.ts";

export interface AwaitedOwnersParts {
  readonly timers: Timers;
  readonly limits: Limits;
  readonly peers: Pick<Peers, "address">;
  readonly map: ShardMap;
  readonly local: Pick<LocalShards, "owned">;
  readonly standing: Standing;
}

export class AwaitedOwners {
  readonly #parts: AwaitedOwnersParts;
  readonly #waits = new Set<() => void>();
  readonly #stopListening: () => void;

  constructor(parts: AwaitedOwnersParts) {
    this.#parts = parts;
    this.#stopListening = parts.map.onChange(() => this.look());
  }

  /** The shard as this node owns it, now or soon; undefined where it is not going to. Never rejects. */
  owned(shardId: string, leftMs: number): Promise<OwnedShard | undefined> | OwnedShard | undefined {
    const { local, timers, limits } = this.#parts;
    const owned = local.owned(shardId);
    if (owned !== undefined || !this.#isExpected(shardId)) return owned;
    return new Promise((resolve) => {
      const end = (): void => {
        this.#waits.delete(look);
        timer.cancel();
        resolve(local.owned(shardId));
      };
      const look = (): void => {
        if (local.owned(shardId) !== undefined || !this.#isExpected(shardId)) end();
      };
      const timer = timers.after(Math.min(limits.ownerAwaitedMs, leftMs / 2), end, { keepsAlive: true });
      this.#waits.add(look);
    });
  }

  /** Something has changed that waits may end by. */
  look(): void {
    for (const look of [...this.#waits]) look();
  }

  /** Who waits goes on to its own end. */
  close(): void {
    this.#stopListening();
  }

  #isExpected(shardId: string): boolean {
    const { map, peers, standing } = this.#parts;
    if (standing.isCutOff || map.state.shards.get(shardId)?.status !== "active") return false;
    const member = ownerToBe(map.state, shardId)?.member;
    return member !== undefined && map.state.members.get(member)?.address === peers.address;
  }
}
