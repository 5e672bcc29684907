/**
 * A cluster's system log as an embedded node has it that moves there: it founds the cluster, and decides with it who of the two is alive.
 * The node is no member, and repairs nothing: it only says what it has to say, by compare-and-set.
 *
 * PL1 `activated` and `abandoned` are said only of what a committed record of the system log says, for good (PF1).
 * PL2 Nothing is decided on a log that was not read to its end; a log of another cluster, or none where there was one, decides nothing.
 */
import { toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Host } from "../host/host.ts";
import type { LogEngine } from "../log/engine-log.ts";
import { mayBegin } from "./promotion-fold.ts";
import { SystemLog } from "./system-log.ts";
import type { SystemPeers } from "./system-positions.ts";
import type { SystemRecord } from "./system-records.ts";
import {
  type ClusterIdentity,
  isPresent,
  presentMembers,
  type RegionsState,
  type SystemState,
} from "./system-state.ts";

export interface PromotionLogParts {
  readonly host: Pick<Host, "clock" | "timers" | "random" | "disk" | "trace">;
  readonly limits: Limits;
  readonly engine: LogEngine;
  /** Of this node's copy of the system log. */
  readonly directory: string;
}

/** `activated`: the cluster has the system. `abandoned`: this attempt never takes hold. */
export type PromotionFate = "activated" | "abandoned";

export type Activation = Omit<Extract<SystemRecord, { readonly type: "promotion-activated" }>, "type" | "attempt">;

const roundMs = 2000;

/** Nobody asks it, and it asks nobody: where members exist, they repair their log. */
const noPeers: SystemPeers = {
  others: (state) => presentMembers(state).map(({ name }) => name),
  known: (state) => [...state.members.values()].map(({ name }) => name),
  ask: () => Promise.resolve([]),
};

export class PromotionLog {
  readonly #log: SystemLog;
  #failure: unknown;
  #hasFailed = false;

  private constructor(log: SystemLog) {
    this.#log = log;
  }

  /** Throws `unsupported-version` (retry never), `DiskError`. */
  static async open({ host, limits, engine, directory }: PromotionLogParts): Promise<PromotionLog> {
    let opened: PromotionLog | undefined;
    let early: { readonly error: unknown } | undefined;
    const log = await SystemLog.open({
      host,
      limits,
      engine,
      peers: noPeers,
      // Sorts behind the names of nodes, so that a member's copy is preferred to this one.
      node: "~embedded",
      directory,
      segmentBytes: limits.shortSegmentBytes,
      onFailed: (error) => {
        early = { error };
        opened?.fail(error);
      },
    });
    opened = new PromotionLog(log);
    if (early !== undefined) opened.fail(early.error);
    return opened;
  }

  fail(error: unknown): void {
    this.#hasFailed = true;
    this.#failure = error;
  }

  get state(): SystemState {
    return this.#log.state;
  }

  /** The log that an earlier attempt has copied to, once the system log was read to its end. Throws `unavailable` (retry safe). */
  async earlierCopy(cluster: string, { deadlineMs }: { readonly deadlineMs: number }): Promise<string | undefined> {
    await this.#propose(() => undefined, { deadlineMs });
    if (!this.#log.isReady) throw unreachable();
    return this.state.cluster?.id === cluster ? this.state.promotion?.log : undefined;
  }

  /**
   * Founds the cluster, without shards, or begins another attempt in it; returns its state then. Throws `invalid-configuration` (retry
   * never) where another system is there, or this one already; `unavailable` (retry safe) where that can't be known in time.
   */
  async begin(
    cluster: ClusterIdentity,
    {
      regions,
      ...attempt
    }: { readonly attempt: string; readonly log: string; readonly regions: RegionsState | undefined },
    options: { readonly deadlineMs: number },
  ): Promise<void> {
    const records: readonly SystemRecord[] = [
      { type: "promotion-begun", cluster, ...attempt },
      ...(regions === undefined ? [] : [{ type: "regions-founded", regions } as const]),
    ];
    await this.#propose((state) => (mayBegin(state, cluster.id) ? records : undefined), options);
    const { promotion, cluster: found, regions: founded } = this.state;
    if (promotion?.attempt === attempt.attempt) {
      const known = founded?.list.map(({ name }) => name) ?? [];
      const lacking = regions?.list.find(({ name }) => !known.includes(name));
      if (lacking === undefined) return;
      // An attempt before this one has founded it, and nodes have joined since.
      const message = `That cluster was founded without the region ${lacking.name}, by an earlier attempt. Give another --engine-name.`;
      throw new OnefoldError("invalid-configuration", message);
    }
    if (found === undefined || mayBegin(this.state, cluster.id)) throw unreachable();
    const message =
      found.id === cluster.id
        ? "This system has moved to that cluster already."
        : `That cluster has been founded already, with the system ${found.systemName}. A system moves to a cluster that is founded by its move: begin it before the cluster's nodes are started, or give another --engine-name.`;
    throw new OnefoldError("invalid-configuration", message);
  }

  /** Resolves with what has become of the attempt; undefined where that can't be known now. Throws as `settle`. */
  async activate(cluster: string, attempt: string, activation: Activation): Promise<PromotionFate | undefined> {
    await this.#propose(
      (state) => {
        const isOpen = fateOf(state, cluster, attempt) === undefined && state.promotion?.attempt === attempt;
        return isOpen ? [{ type: "promotion-activated", attempt, ...activation }] : undefined;
      },
      { deadlineMs: roundMs },
    );
    return fateOf(this.state, cluster, attempt);
  }

  /**
   * Ends the attempt if nothing has ended it yet, so that no activation can come late. Undefined where the engine can't say so now. Throws
   * `invalid-configuration` (retry never) where the log that is there knows nothing of the attempt, `damaged` for one that can't be read on.
   */
  async settle(cluster: string, attempt: string): Promise<PromotionFate | undefined> {
    if (this.#hasFailed) throw this.#failure;
    if (this.#log.isReady) assertKnown(this.state, cluster);
    await this.#propose(
      (state) => {
        const isOpen = state.cluster?.id === cluster && fateOf(state, cluster, attempt) === undefined;
        return isOpen ? [{ type: "promotion-abandoned", attempt }] : undefined;
      },
      { deadlineMs: roundMs },
    );
    if (this.#log.isReady) assertKnown(this.state, cluster);
    return fateOf(this.state, cluster, attempt);
  }

  /** Members that could take the system over now. */
  get liveMembers(): number {
    const { members } = this.state;
    return [...members.values()].filter(({ id, status }) => status === "live" && isPresent(this.state, id)).length;
  }

  /** Where clients reach the cluster's nodes. */
  get httpUrls(): readonly string[] {
    return presentMembers(this.state).flatMap(({ httpUrl }) => httpUrl ?? []);
  }

  async #propose(
    decide: (state: SystemState) => readonly SystemRecord[] | undefined,
    options: { readonly deadlineMs: number },
  ): Promise<void> {
    if (this.#hasFailed) throw this.#failure;
    // Whatever comes of it: what the log says then is looked at.
    await this.#log.propose(decide, options);
  }

  close(): Promise<void> {
    return this.#log.close();
  }
}

/** PL1. Undefined: nothing has been decided, as far as this state goes. */
export function fateOf(state: SystemState, cluster: string, attempt: string): PromotionFate | undefined {
  const { promotion } = state;
  if (state.cluster?.id !== cluster || promotion === undefined) return undefined;
  // Whichever attempt it was: the system is there.
  if (promotion.status === "activated") return "activated";
  return promotion.attempt !== attempt || promotion.status === "abandoned" ? "abandoned" : undefined;
}

/** PL2. */
function assertKnown(state: SystemState, cluster: string): void {
  if (state.cluster?.id === cluster) return;
  const found = state.cluster === undefined ? "holds no cluster" : `holds another cluster, ${state.cluster.id}`;
  throw new OnefoldError(
    "invalid-configuration",
    `The engine ${found}, though this system's move to it was begun there (${cluster}). Look at the engine: if what was there is lost for good, restore a backup of this data directory.`,
  );
}

function unreachable(): OnefoldError {
  return new OnefoldError("unavailable", "The cluster's system log can't be reached.", { retryAfterMs: 1000 });
}

/** The cluster that a system with this log and this secret moves to: its sessions go on, because their tokens are of this identity. */
export function identityOf(
  incarnation: Uint8Array,
  genesis: { readonly systemName: string; readonly secret: Uint8Array },
  { shardCount, followerCount }: { readonly shardCount: number; readonly followerCount: number },
): ClusterIdentity {
  return {
    id: toHex(incarnation),
    systemName: genesis.systemName,
    secret: genesis.secret,
    shardCount,
    followerCount,
  };
}
