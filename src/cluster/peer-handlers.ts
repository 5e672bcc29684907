/**
 * The receiving side of routing: what other nodes ask of the shards that are here.
 *
 * PH1  A call is handed to a shard only while this node serves it as its owner. Where it is about to, the call waits for that
 *      (`awaited-owners.ts`); otherwise it is refused as `not-owner` (safe), with the member that this node knows as the owner, if any. So is
 *      what a shard has not begun that is given up meanwhile.
 * PH2  A page of a read fits in an answer: one that does not is read again, half as long.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { encodeValue, type Value } from "../base/value.ts";
import type { PageOptions, Position, Service } from "../entity/service.ts";
import type { AwaitedOwners } from "./awaited-owners.ts";
import { decodeCall, encodeReply, type ForwardedCall } from "./forwarded-call.ts";
import type { FollowerReads, LocalShards, OwnedShard, ShardMap } from "./local-shards.ts";
import { decodeBody } from "./peer-failure.ts";
import type { Peers } from "./peers.ts";
import { notOwner } from "./route-outcome.ts";
import { shardOfSlot } from "./system-state.ts";

export interface PeerHandlersParts {
  readonly peers: Peers;
  readonly map: ShardMap;
  readonly local: LocalShards;
  readonly limits: Limits;
  readonly awaited: AwaitedOwners;
}

/** Registers the handlers of `service.call`, `service.read` and `shard.ask`. */
export function handleForwardedCalls(parts: PeerHandlersParts): void {
  const { peers, map, local, awaited } = parts;
  const askOwned = async (
    shardId: string,
    { leftMs }: { readonly leftMs: number },
    ask: (owned: OwnedShard) => Promise<Value>,
  ): Promise<Value> => {
    const owned = local.owned(shardId) ?? (await awaited.owned(shardId, leftMs));
    if (owned === undefined) throw notOwner(map.state, shardId, peers.address);
    try {
      return await ask(owned);
    } catch (error) {
      const isNotBegun = error instanceof OnefoldError && error.code === "not-ready" && error.retry === "safe";
      if (!isNotBegun || local.owned(shardId) === owned) throw error;
      throw notOwner(map.state, shardId, peers.address);
    }
  };
  peers.handle("service.call", async (body, from) => {
    const call = decodeCall(body);
    return askOwned(call.shard, from, (owned) => answerOfOwner(owned, call, parts.limits));
  });
  peers.handle("service.read", async (body) => {
    const call = decodeCall(body);
    const owned = local.owned(call.shard);
    if (owned !== undefined) return answerOfOwner(owned, call, parts.limits);
    return encodeReply(await readCopy(local.follower(call.shard), call));
  });
  peers.handle("shard.ask", async (body, from) => {
    const {
      slot,
      type,
      body: asked,
    } = body as { readonly slot: number; readonly type: string; readonly body: Uint8Array };
    const shard = shardOfSlot(map.state, slot);
    if (shard === undefined)
      throw new OnefoldError("not-owner", `This node knows no shard that holds the slot ${slot}.`);
    return askOwned(shard.id, from, async (owned) => encodeValue(await owned.answer(type, decodeBody(asked))));
  });
}

async function answerOfOwner(owned: OwnedShard, call: ForwardedCall, limits: Limits): Promise<Value> {
  const { operation, args } = call;
  const reply = async (replaced: readonly unknown[]): Promise<Value> => {
    // The types of operation and arguments belong together, which the compiler can't see.
    const method = owned[operation] as (...given: readonly unknown[]) => Promise<object>;
    return encodeReply(positioned(call.shard, owned, await method.apply(owned, [...replaced])));
  };
  if (!isPaged(operation)) return reply(args);
  return fittingPage(args, limits, reply);
}

function isPaged(operation: keyof Service): boolean {
  return operation === "list" || operation === "history" || operation === "changes" || operation === "deadLetters";
}

/** PH2. The options come last. */
async function fittingPage(
  args: readonly unknown[],
  limits: Limits,
  reply: (args: readonly unknown[]) => Promise<Value>,
): Promise<Value> {
  const options = args.at(-1) as PageOptions;
  for (let limit = options.limit ?? limits.listLimitDefault; ; limit = Math.floor(limit / 2)) {
    const page = await reply([...args.slice(0, -1), { ...options, limit }]);
    if (limit <= 1 || encodeValue(page).length <= limits.peerBodyBytesMax) return page;
  }
}

/** A reply that says where it stands, if it stands anywhere. */
export function positioned<R extends object>(
  shardId: string,
  { incarnation }: Pick<OwnedShard, "incarnation">,
  reply: R,
): R & { readonly position?: Position } {
  if (!("sequence" in reply) || typeof reply.sequence !== "number") return reply;
  return { ...reply, position: { shard: shardId, incarnation, sequence: reply.sequence } };
}

/** Throws `unavailable` where there is no copy, none that has reached what is asked for, or none of which is known how old it is. */
export async function readCopy(follower: FollowerReads | undefined, call: ForwardedCall): Promise<object> {
  if (follower === undefined || !hasReached(follower, call.reached)) {
    throw new OnefoldError("unavailable", "This node has no copy of the shard that is new enough.");
  }
  const { staleForMs } = follower;
  if (!Number.isFinite(staleForMs)) {
    throw new OnefoldError("unavailable", "This node has not compared its copy of the shard with the log yet.");
  }
  if (call.operation === "query") {
    const [address, name, input, options] = call.args as ForwardedCall<"query">["args"];
    const reply = await follower.query(address, name, input, options);
    return { staleForMs, ...positioned(call.shard, follower, reply) };
  }
  if (call.operation === "state") {
    const [address, options] = call.args as ForwardedCall<"state">["args"];
    return { staleForMs, ...positioned(call.shard, follower, await follower.state(address, options)) };
  }
  throw new OnefoldError("malformed", "Only queries and states are read from copies.");
}

export function hasReached(
  { incarnation, sequence }: Pick<FollowerReads, "incarnation" | "sequence">,
  position: Position | undefined,
): boolean {
  return position === undefined || (position.incarnation === incarnation && position.sequence <= sequence);
}
