/** How a shard of this node reaches the others of its system: `Neighbours` over the router. */
import { assert } from "../base/assert.ts";
import { encodeValue } from "../base/value.ts";
import type { Neighbours } from "../entity/neighbours.ts";
import type { Clock } from "../host/host.ts";
import type { ShardMap } from "./local-shards.ts";
import { decodeBody } from "./peer-failure.ts";
import type { Router } from "./router.ts";
import { shardOfSlot } from "./system-state.ts";

export interface ShardNeighboursParts {
  readonly clock: Clock;
  readonly map: ShardMap;
  readonly router: Router;
}

/** Of a shard that the map has. */
export function shardNeighbours(shardId: string, { clock, map, router }: ShardNeighboursParts): Neighbours {
  const shard = map.state.shards.get(shardId);
  assert(shard !== undefined, `the map has the shard ${shardId}`);
  const { from, to } = shard;
  return {
    isOwn: (slot) => from <= slot && slot < to,
    ask: (slot, { type, body }, { deadlineMs }) => {
      const bytes = encodeValue(body, { what: `the body of ${type}` });
      return router.route({
        what: type,
        // Whoever asks decides whether to ask again: what is in doubt is told.
        kind: "unidentified",
        deadlineMs: clock.monotonicMs() + deadlineMs,
        sizeBytes: bytes.length,
        shardIn: (state) => shardOfSlot(state, slot),
        local: (owned) => owned.answer(type, decodeBody(bytes)),
        method: "shard.ask",
        body: () => ({ slot, type, body: bytes }),
        reply: (answer) => decodeBody(answer as Uint8Array),
      });
    },
  };
}
