/**
 * A `Service` that finds the owner of whatever is asked for, anywhere in the cluster.
 *
 * CL1  The same call through any node comes to the same shard: slots and homes are pure functions (`slot-finder.ts`).
 * CL2  Strong reads and writes are answered by the owner or not at all (`router.ts`).
 * CL3  A session's read comes from a copy only if that has reached what the session has seen of the shard (G7); what can't be known
 *      goes to the owner.
 * CL4  An eventual read is answered while any copy can be reached, also by a node that is cut off, and says how old it may be.
 */
import { fromHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { SystemDefinition } from "../entity/definition.ts";
import type { Neighbours } from "../entity/neighbours.ts";
import { assertPrincipal } from "../entity/principal.ts";
import type {
  CallOptions,
  CallReply,
  ChangesOptions,
  ChangesReply,
  DeadLettersReply,
  EntityAddress,
  Health,
  HistoryReply,
  ListReply,
  PageOptions,
  Position,
  Principal,
  QueryReply,
  ReadOptions,
  Service,
  StateReply,
  Watch,
} from "../entity/service.ts";
import { type SessionToken, SessionTokens, withoutPositions } from "../entity/session-tokens.ts";
import { settleBy } from "../entity/settle.ts";
import type { Clock, Guard, Random, Timers } from "../host/host.ts";
import { AwaitedOwners } from "./awaited-owners.ts";
import { clusterHealth } from "./cluster-health.ts";
import { ClusterWatches } from "./cluster-watches.ts";
import { CopyReader } from "./copy-reader.ts";
import {
  decodeReply,
  encodeCall,
  type ForwardedArguments,
  type ForwardedOperation,
  type ForwardedReply,
} from "./forwarded-call.ts";
import type { LocalShards, OwnedShard, ShardMap, Standing } from "./local-shards.ts";
import { handleForwardedCalls, positioned } from "./peer-handlers.ts";
import type { Peers } from "./peers.ts";
import { Router, type RoutedCall } from "./router.ts";
import { Scatter } from "./scatter.ts";
import { shardNeighbours } from "./shard-neighbours.ts";
import { SlotFinder } from "./slot-finder.ts";
import { shardOfSlot, type ShardState, type SystemState } from "./system-state.ts";
import { handleWatchFeeds } from "./watch-feeds.ts";

export interface ClusterServiceParts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly guard: Guard;
  readonly limits: Limits;
  readonly system: SystemDefinition;
  readonly peers: Peers;
  readonly map: ShardMap;
  readonly local: LocalShards;
  readonly standing: Standing;
}

/** What a call takes besides its input, and a guess at that where the caller doesn't say. */
const callOverheadBytes = 512;
const inputBytesGuess = 256;

type ShardIn = (state: SystemState) => ShardState | undefined;

export class ClusterService implements Service {
  readonly #parts: ClusterServiceParts;
  readonly #slots: SlotFinder;
  readonly #router: Router;
  readonly #scatter: Scatter;
  readonly #copies: CopyReader;
  readonly #watches: ClusterWatches;
  readonly #awaited: AwaitedOwners;
  #tokens: SessionTokens | undefined = undefined;

  /** Registers the handlers of what other nodes ask, at `peers`. */
  constructor(parts: ClusterServiceParts) {
    this.#parts = parts;
    this.#slots = new SlotFinder(parts.system, parts);
    this.#router = new Router(parts);
    this.#copies = new CopyReader(parts);
    this.#scatter = new Scatter({
      ...parts,
      ask: (shardId, operation, args) => this.#askShard(shardId, operation, args),
    });
    this.#watches = new ClusterWatches({ ...parts, slots: this.#slots });
    this.#awaited = new AwaitedOwners(parts);
    handleForwardedCalls({ ...parts, awaited: this.#awaited });
    handleWatchFeeds(parts);
  }

  // ------------------------------------------------------------------------------------------------------------- writes

  async command(address: EntityAddress, name: string, input: unknown, options: CallOptions): Promise<CallReply> {
    const begun = this.#begin(options);
    const slot = await this.#slots.ofEntity(address, options.principal.tenant);
    return this.#write("command", `${address.kind}.${name}`, slot, begun, (forwarded) => [
      address,
      name,
      input,
      forwarded,
    ]);
  }

  async delete(address: EntityAddress, options: CallOptions): Promise<CallReply> {
    const begun = this.#begin(options);
    const slot = await this.#slots.ofEntity(address, options.principal.tenant);
    return this.#write("delete", `${address.kind}.delete`, slot, begun, (forwarded) => [address, forwarded]);
  }

  async transaction(name: string, input: unknown, options: CallOptions): Promise<CallReply> {
    const begun = this.#begin(options);
    const home = await this.#slots.ofHome(name, input, options, begun.session?.id);
    const slot = home ?? this.#anySlot();
    return this.#write("transaction", `transaction ${name}`, slot, begun, (forwarded) => [name, input, forwarded]);
  }

  beginCommand(...[address, name, input, options, settle]: Parameters<Service["beginCommand"]>): void {
    settleBy(this.command(address, name, input, options), settle);
  }

  beginTransaction(...[name, input, options, settle]: Parameters<Service["beginTransaction"]>): void {
    settleBy(this.transaction(name, input, options), settle);
  }

  /** Of a shard that is here, where there is one: a transaction without home and identity may run anywhere. */
  #anySlot(): number {
    const { map, local, random, limits } = this.#parts;
    for (const { id, from, status } of map.state.shards.values()) {
      if (status === "active" && local.owned(id) !== undefined) return from;
    }
    return Math.floor(random.next() * limits.slotCount);
  }

  #begin(options: CallOptions): Begun {
    assertPrincipal(options.principal);
    const token = options.session?.token ?? options.sessionToken;
    // Also the positions: what is wrong with them must not be found once the call has taken hold.
    if (token !== undefined) this.#sessionTokens().seen(token);
    const session =
      options.session === undefined ? undefined : this.#verified(options.session.token, options.principal);
    return { options, session, deadlineMs: this.#deadline(options.deadlineMs) };
  }

  #write<O extends "command" | "delete" | "transaction">(
    operation: O,
    what: string,
    slot: number,
    { options, session, deadlineMs }: Begun,
    argsOf: (options: CallOptions) => ForwardedArguments<O>,
  ): Promise<CallReply> {
    const { sessionToken: _, session: request, ...rest } = options;
    // Positions are this node's business: without them a session's token is the same each time, and checked once by the owner.
    const forwarded: CallOptions =
      request === undefined ? rest : { ...rest, session: { ...request, token: withoutPositions(request.token) } };
    return this.#route(operation, {
      what,
      kind: session !== undefined || options.idempotencyKey !== undefined ? "identified" : "unidentified",
      deadlineMs,
      sizeBytes: callOverheadBytes + (options.inputBytes ?? inputBytesGuess),
      shardIn: (state) => shardOfSlot(state, slot),
      args: (remainingMs) => argsOf({ ...forwarded, deadlineMs: remainingMs }),
    });
  }

  // -------------------------------------------------------------------------------------------------------------- reads

  async query(address: EntityAddress, name: string, input: unknown, options: ReadOptions): Promise<QueryReply> {
    return this.#read("query", `${address.kind}.${name}`, address, options, (left) => [address, name, input, left]);
  }

  async state(address: EntityAddress, options: ReadOptions): Promise<StateReply> {
    return this.#read("state", `the state of ${address.kind}`, address, options, (left) => [address, left]);
  }

  async history(address: EntityAddress, options: PageOptions): Promise<HistoryReply> {
    const { read: _, ...strong } = options;
    return this.#read("history", `the history of ${address.kind}`, address, strong, (left) => [
      address,
      { ...strong, ...left },
    ]);
  }

  async #read<O extends "query" | "state" | "history">(
    operation: O,
    what: string,
    address: EntityAddress,
    options: ReadOptions,
    argsOf: (options: ReadOptions) => ForwardedArguments<O>,
  ): Promise<ForwardedReply<O>> {
    assertPrincipal(options.principal);
    const { sessionToken, read = "strong", ...rest } = options;
    if (sessionToken !== undefined) this.#verified(sessionToken, options.principal);
    const deadlineMs = this.#deadline(options.deadlineMs);
    const slot = await this.#slots.ofEntity(address, options.principal.tenant);
    const args = (remainingMs: number) => argsOf({ ...rest, deadlineMs: remainingMs });
    const shard = shardOfSlot(this.#parts.map.state, slot);
    if (read !== "strong" && shard !== undefined && operation !== "history") {
      const call = { shard: shard.id, operation, args: args(deadlineMs - this.#parts.clock.monotonicMs()) };
      const copy =
        read === "eventual"
          ? await this.#copies.nearest(shard, call, deadlineMs)
          : await this.#copies.here(shard, call, this.#seenOf(sessionToken, shard));
      if (copy !== undefined) return copy as ForwardedReply<O>;
    }
    const sizeBytes = callOverheadBytes + inputBytesGuess;
    return this.#route(operation, {
      what,
      kind: "read",
      deadlineMs,
      sizeBytes,
      shardIn: (state) => shardOfSlot(state, slot),
      args,
    });
  }

  /** CL3. */
  #seenOf(sessionToken: string | undefined, shard: ShardState): Position | "unknown" | undefined {
    if (sessionToken === undefined) throw new OnefoldError("malformed", "A session read needs a session's token.");
    const { positions, isPartial } = this.#sessionTokens().seen(sessionToken);
    return positions.find((position) => position.shard === shard.id) ?? (isPartial ? "unknown" : undefined);
  }

  list(kind: string, options: PageOptions & { readonly prefix?: string }): Promise<ListReply> {
    return this.#overAll(options, kind, (left) => this.#scatter.list(kind, left));
  }

  changes(options: ChangesOptions): Promise<ChangesReply> {
    return this.#overAll(options, options.kind, (left) => this.#scatter.changes(left));
  }

  deadLetters(options: PageOptions & { readonly kind?: string }): Promise<DeadLettersReply> {
    return this.#overAll(options, options.kind, (left) => this.#scatter.deadLetters(left));
  }

  async #overAll<O extends ReadOptions, R>(
    options: O,
    kind: string | undefined,
    read: (options: O) => Promise<R>,
  ): Promise<R> {
    assertPrincipal(options.principal);
    if (options.sessionToken !== undefined) this.#verified(options.sessionToken, options.principal);
    if (kind !== undefined) this.#slots.definition(kind);
    const { sessionToken: _, ...rest } = options;
    return read(rest as O);
  }

  #askShard<O extends "list" | "changes" | "deadLetters">(
    shardId: string,
    operation: O,
    args: ForwardedArguments<O>,
  ): Promise<ForwardedReply<O>> {
    const options = args.at(-1) as ReadOptions;
    return this.#route<O>(operation, {
      what: `${operation} of the shard ${shardId}`,
      kind: "read",
      deadlineMs: this.#deadline(options.deadlineMs),
      sizeBytes: callOverheadBytes,
      shardIn: (state) => {
        const shard = state.shards.get(shardId);
        if (shard?.status !== "retired") return shard;
        throw new OnefoldError("unavailable", "A shard was split meanwhile. Try again.", { retryAfterMs: 100 });
      },
      args: (remainingMs) => [...args.slice(0, -1), { ...options, deadlineMs: remainingMs }] as ForwardedArguments<O>,
    });
  }

  // -------------------------------------------------------------------------------------------------------------- parts

  #route<O extends ForwardedOperation>(
    operation: O,
    call: Pick<RoutedCall<ForwardedReply<O>>, "what" | "kind" | "deadlineMs" | "sizeBytes"> & {
      readonly shardIn: ShardIn;
      readonly args: (remainingMs: number) => ForwardedArguments<O>;
    },
  ): Promise<ForwardedReply<O>> {
    const { what, kind, deadlineMs, sizeBytes, shardIn, args } = call;
    return this.#router.route<ForwardedReply<O>>({
      what,
      kind,
      deadlineMs,
      sizeBytes,
      shardIn,
      local: async (owned, shard, remainingMs) => {
        const reply = await runLocally(owned, operation, args(remainingMs));
        return positioned(shard.id, owned, reply as object) as ForwardedReply<O>;
      },
      method: "service.call",
      body: (shard, remainingMs) => encodeCall({ shard: shard.id, operation, args: args(remainingMs) }),
      reply: (answer) => decodeReply<O>(answer),
    });
  }

  #deadline(deadlineMs: number | undefined): number {
    const { limits, clock } = this.#parts;
    return clock.monotonicMs() + Math.min(deadlineMs ?? limits.deadlineMsDefault, limits.deadlineMsMax);
  }

  /** Throws `not-ready` before the cluster is founded. */
  #sessionTokens(): SessionTokens {
    const { cluster } = this.#parts.map.state;
    if (cluster === undefined)
      throw new OnefoldError("not-ready", "The cluster is not founded yet.", { retryAfterMs: 500 });
    this.#tokens ??= new SessionTokens({
      secret: cluster.secret,
      incarnation: fromHex(cluster.id),
      limits: this.#parts.limits,
    });
    return this.#tokens;
  }

  #verified(token: string, principal: Principal): SessionToken {
    return this.#sessionTokens().verify(token, principal, this.#parts.clock.wallMs());
  }

  // ------------------------------------------------------------------------------------------------ sessions and the rest

  mintSession(principal: Principal): string {
    assertPrincipal(principal);
    const { clock, random } = this.#parts;
    return this.#sessionTokens().mint(principal, clock.wallMs(), random);
  }

  readonly advanceSession = (token: string, position: Position): string =>
    this.#sessionTokens().advanced(token, position);

  watch(tenant: string, address: EntityAddress, onChange: () => void): Watch {
    return this.#watches.watch(tenant, address, onChange);
  }

  health(): Health {
    return clusterHealth(this.#parts, this.#router.openCount);
  }

  /** How a shard of this node reaches the others. The map must have it. */
  neighboursOf(shardId: string): Neighbours {
    return shardNeighbours(shardId, { clock: this.#parts.clock, map: this.#parts.map, router: this.#router });
  }

  /** This node has come to own a shard: calls that wait for that go on. */
  ownsMore(): void {
    this.#router.ownsMore();
    this.#awaited.look();
  }

  /** Ends watches, and stops listening to the map. Calls that are under way go on to their own end. Idempotent. */
  close(): void {
    this.#watches.close();
    this.#router.close();
    this.#awaited.close();
  }
}

/** A write whose caller has been looked at. */
interface Begun {
  readonly options: CallOptions;
  readonly session: SessionToken | undefined;
  readonly deadlineMs: number;
}

/** The types of operation and arguments belong together, which the compiler can't see. */
function runLocally(owned: OwnedShard, operation: ForwardedOperation, args: readonly unknown[]): Promise<unknown> {
  const method = owned[operation] as (...given: readonly unknown[]) => Promise<unknown>;
  return method.apply(owned, [...args]);
}
