/** Reads that need not be the owner's: from this node's copy of a shard, or another's. */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Position } from "../entity/service.ts";
import type { Clock } from "../host/host.ts";
import { decodeReply, encodeCall, type ForwardedCall } from "./forwarded-call.ts";
import type { LocalShards, ShardMap, Standing } from "./local-shards.ts";
import { hasReached, readCopy } from "./peer-handlers.ts";
import type { Peers } from "./peers.ts";
import { failureClass } from "./route-outcome.ts";
import type { MemberState, ShardState } from "./system-state.ts";

export interface CopyReaderParts {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly peers: Peers;
  readonly map: ShardMap;
  readonly local: LocalShards;
  readonly standing: Standing;
}

/** So long one of several copies is waited for. */
const copyMsMax = 500;

export class CopyReader {
  readonly #parts: CopyReaderParts;

  constructor(parts: CopyReaderParts) {
    this.#parts = parts;
  }

  /**
   * From the copy that this node follows, if it has reached `seen` (G7). Undefined where the owner has to be asked. Rejects with the
   * read's own failure.
   */
  async here(
    shard: ShardState,
    call: ForwardedCall,
    seen: Position | "unknown" | undefined,
  ): Promise<object | undefined> {
    const follower = this.#parts.local.follower(shard.id);
    if (follower === undefined || seen === "unknown" || !hasReached(follower, seen)) return undefined;
    return unlessUnable(readCopy(follower, call));
  }

  /**
   * From any copy, the nearest first: this node's, then those of members in the same zone, in the same region, then the others'. Undefined
   * where none can be reached, or this node owns the shard and can serve it.
   */
  async nearest(shard: ShardState, call: ForwardedCall, deadlineMs: number): Promise<object | undefined> {
    const { local, standing } = this.#parts;
    if (local.owned(shard.id) !== undefined && !standing.isCutOff) return undefined;
    const own = await this.here(shard, call, undefined);
    if (own !== undefined) return own;
    for (const { address } of this.#others(shard)) {
      const remainingMs = deadlineMs - this.#parts.clock.monotonicMs();
      if (remainingMs <= 0) return undefined;
      const answer = this.#parts.peers.call(address, "service.read", encodeCall(call), {
        deadlineMs: Math.min(remainingMs, copyMsMax),
      });
      const reply = await unlessUnable(answer.then((value) => decodeReply(value) as object));
      if (reply !== undefined) return reply;
    }
    return undefined;
  }

  #others(shard: ShardState): readonly MemberState[] {
    const { map, peers } = this.#parts;
    const { members } = map.state;
    const own = [...members.values()].find(({ address, status }) => address === peers.address && status !== "gone");
    return [shard.owner, ...shard.followers]
      .flatMap((id) => (id === undefined ? [] : (members.get(id) ?? [])))
      .filter(({ address, status }) => status !== "gone" && address !== peers.address)
      .sort((a, b) => distance(own, a) - distance(own, b));
  }
}

/** 0 in the same zone, 1 in the same region, 2 elsewhere. A zone is one of its region; members without a region are in one together. */
export function distance(own: MemberState | undefined, other: MemberState): 0 | 1 | 2 {
  if (own === undefined || own.labels.region !== other.labels.region) return 2;
  return own.labels.zone !== undefined && own.labels.zone === other.labels.zone ? 0 : 1;
}

/** Undefined where that copy could not answer, which says nothing of the others: their nodes may also have newer code (G11). */
async function unlessUnable(reply: Promise<object>): Promise<object | undefined> {
  try {
    return await reply;
  } catch (error) {
    if (!(error instanceof OnefoldError)) throw error;
    if (failureClass(error) !== "final" || error.code === "unsupported-version") return undefined;
    throw error;
  }
}
