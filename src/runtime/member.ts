/**
 * A node of a cluster on a real machine: its data directory, its stores, its engine, and its membership, from opening to closing.
 *
 * MN1 There is a service from the beginning. Until the node is a member it says what is waited for (`not-ready`, retry safe).
 * MN2 An engine and peers that can't be reached are waited for, as long as it takes. What no waiting mends (a lax engine, another system's
 *     cluster, damage) ends the node, under its name.
 * MN3 What is held is let go in this order: shards handed over, membership, engine, lock of the directory. Notes of calls end with the calls.
 * MN4 A member of a cluster whose system is still being moved to it serves nobody, so that callers ask where the system is.
 *
 *     opening ──joined──> member ──close──> closed
 *        │                  └── can't go on ──> stopped
 *        └── can't be a member ──> stopped
 */
import { OnefoldError } from "../base/errors.ts";
import { assertLimits, limits as defaultLimits, type Limits } from "../base/limits.ts";
import { ClusterNode, type ClusterNodeOptions } from "../cluster/cluster-node.ts";
import { awaitsSystem } from "../cluster/promotion-fold.ts";
import type { ClusterSource } from "../gateway/cluster-source.ts";
import type { SystemHandle } from "../entity/definition.ts";
import { suspectViews } from "../entity/suspects.ts";
import type { Service } from "../entity/service.ts";
import type { Host } from "../host/host.ts";
import type { Log } from "../log/log.ts";
import type { StoreEngine } from "../store/store.ts";
import type { ClusterView, SuspectView } from "../wire/cluster-view.ts";
import type { ClusterEngine } from "./cluster-engine.ts";
import { assertRole, lockDirectory } from "./directory-role.ts";
import { MemberQuarantine } from "./member-quarantine.ts";
import { ServiceProxy } from "./service-proxy.ts";

/** What a node is told of its place in the cluster; see `ClusterNodeOptions`. */
export type MemberPlace = Pick<
  ClusterNodeOptions,
  | "name"
  | "address"
  | "labels"
  | "shardCount"
  | "followerCount"
  | "regions"
  | "mayFound"
  | "leaseReads"
  | "allowsLaxEngine"
>;

export interface MemberOptions extends MemberPlace {
  readonly system: SystemHandle;
  /** Its disk's root is the data directory. */
  readonly host: Host;
  /** Called again where it throws `unavailable`. */
  readonly connectEngine: () => Promise<ClusterEngine>;
  readonly storeEngine: (log: string) => StoreEngine;
  readonly limits?: Partial<Limits>;
  /** For entities of each shard that it owns. */
  readonly cacheBytes?: number;
  /** The log of an owned shard as it is to be appended to, for metrics. */
  readonly measureLog?: (log: Log) => Log;
  readonly snapshotBytes?: number;
  readonly segmentBytes?: number;
  /** The node has stopped for good; nothing is served any more. */
  readonly onStopped?: (error: OnefoldError) => void;
}

/** Between two attempts to become a member. */
const retryMs = 500;

export class MemberNode implements ClusterSource {
  readonly #options: MemberOptions;
  readonly #lock: { release(): Promise<void> };
  readonly #limits: Limits;
  readonly #proxy = new ServiceProxy();
  #quarantine: MemberQuarantine | undefined;
  #engine: ClusterEngine | undefined;
  #node: ClusterNode | undefined;
  #wait: { readonly end: () => void } | undefined;
  #problem = "";
  #closing: Promise<void> | undefined;
  #joining: Promise<void> | undefined;

  private constructor(options: MemberOptions, lock: { release(): Promise<void> }) {
    this.#options = options;
    this.#lock = lock;
    this.#limits = { ...defaultLimits, ...options.limits };
    assertLimits(this.#limits);
  }

  /** Takes the data directory. Throws `data-directory-busy` (retry safe), `invalid-configuration` (never), `DiskError`. */
  static async open(options: MemberOptions): Promise<MemberNode> {
    const { disk } = options.host;
    const lock = await lockDirectory(disk);
    try {
      await assertRole(disk, "member");
      const node = new MemberNode(options, lock);
      node.#quarantine = await MemberQuarantine.open({ host: options.host, limits: node.#limits });
      return node;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** MN1. */
  get service(): Service {
    return this.#proxy;
  }

  /** For metrics and for what the node tells of its cluster: undefined while it is no member. */
  get node(): ClusterNode | undefined {
    return this.#node;
  }

  /** See `ClusterSource`. Throws `not-ready` (retry safe) while the node is no member. */
  async view(): Promise<ClusterView> {
    return this.#present().view();
  }

  /** See `ClusterSource`. */
  async split(shard: string, parts: number): Promise<void> {
    return this.#present().split(shard, parts);
  }

  /** See `ClusterSource`. Throws `not-ready` (retry safe) while the node is no member. */
  async suspects(): Promise<readonly SuspectView[]> {
    return suspectViews([...this.#present().systemLog.state.suspects.values()], this.#limits);
  }

  /** See `ClusterSource`. */
  async lift(entity: Parameters<ClusterSource["lift"]>[0]): Promise<number> {
    return this.#present().lift(entity);
  }

  #present(): ClusterNode {
    if (this.#node !== undefined) return this.#node;
    throw new OnefoldError("not-ready", "The node is not a member of its cluster yet.", { retryAfterMs: 500 });
  }

  /**
   * Founds the cluster or joins it, once. `httpUrl` is where its port is reached by others. Resolves when the node is a member, or closed;
   * throws what no waiting mends (MN2).
   */
  join(httpUrl: string): Promise<void> {
    this.#joining ??= this.#join(httpUrl);
    return this.#joining;
  }

  async #join(httpUrl: string): Promise<void> {
    const { trace } = this.#options.host;
    while (this.#closing === undefined) {
      try {
        return await this.#joinOnce(httpUrl);
      } catch (error) {
        await this.#dropEngine();
        if (!(error instanceof OnefoldError) || error.retry !== "safe") throw this.#stopped(error);
        const { code, message } = error;
        const problem = `${code}: ${message}`;
        // What it waits for may take long: it is said once.
        if (problem !== this.#problem) {
          trace("warn", "The node can't be a member of the cluster yet; it tries on. Look at what it waits for.", {
            code,
            error: message,
            cause: error.cause,
          });
        }
        this.#problem = problem;
        this.#proxy.disconnect(problem);
        await this.#pause();
      }
    }
  }

  async #joinOnce(httpUrl: string): Promise<void> {
    const { connectEngine, onStopped: _, ...options } = this.#options;
    this.#engine = await connectEngine();
    const engine = this.#engine;
    const node = await ClusterNode.open({
      ...options,
      httpUrl,
      engine: engine.logs,
      blobs: (place, region) => engine.blobs(place, region),
      beforeMember: (log) => this.#quarantine!.tell(log),
      onFailed: (error) => this.#fail(error),
    });
    this.#node = node;
    // `close` may have begun meanwhile; it waits for this, and then ends the node.
    if (this.#closing === undefined) this.#connect(node);
  }

  /** MN4. */
  #connect(node: ClusterNode): void {
    if (!awaitsSystem(node.systemLog.state)) return this.#proxy.connect(node.service);
    this.#proxy.disconnect("The cluster waits for its system, which is being moved to it. Ask where it was.");
    const stop = node.systemLog.onChange((state) => {
      if (awaitsSystem(state)) return;
      stop();
      if (this.#closing === undefined) this.#proxy.connect(node.service);
    });
  }

  #fail(error: unknown): void {
    const failure = this.#stopped(error);
    if (this.#closing !== undefined) return;
    this.#proxy.fail(failure);
    this.#options.onStopped?.(failure);
  }

  #stopped(error: unknown): OnefoldError {
    const failure =
      error instanceof OnefoldError ? error : new OnefoldError("stopped", "The node can't go on.", { cause: error });
    this.#proxy.fail(failure);
    this.#options.host.trace("error", "The node has stopped. Mend the cause, then restart it.", {
      code: failure.code,
      error: failure.message,
      cause: failure.cause,
    });
    return failure;
  }

  async #pause(): Promise<void> {
    if (this.#closing !== undefined) return;
    await new Promise<void>((resolve) => {
      const timer = this.#options.host.timers.after(retryMs, resolve, { keepsAlive: true });
      this.#wait = {
        end: () => {
          timer.cancel();
          resolve();
        },
      };
    });
    this.#wait = undefined;
  }

  async #dropEngine(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    await engine?.close();
  }

  /** MN3. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#wait?.end();
    // What it throws its caller has.
    await Promise.allSettled([this.#joining]);
    await this.#node?.close();
    this.#node = undefined;
    await this.#quarantine?.close();
    this.#proxy.disconnect("The node is stopping.");
    await this.#dropEngine();
    await this.#lock.release();
  }
}
