/**
 * One node of a cluster, from its start to its end: the system log, membership, peers, the shards that it has, and the service that
 * finds any of them.
 *
 *     opening ──▶ member ──declared gone──▶ (another member life, the same data) ──▶ member
 *                   └──close──▶ draining ──handed over──▶ left ──▶ closed
 *
 * CN1 A node that the cluster has declared gone ends all its shards' hosts and joins as another member, with the copies it has.
 * CN2 Closing hands over what it owns first, for `drainMs` at most, so that callers wait some milliseconds and see no error. It goes on
 *     only when another member has verified all that this one has: a log that turns out to be damaged meanwhile is repaired from that.
 * CN3 A lax engine is refused (G1), unless told otherwise; then that is said.
 */
import { toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { assertClusterLimits, assertLimits, limits as defaultLimits, type Limits } from "../base/limits.ts";
import { version } from "../base/version.ts";
import type { SystemHandle } from "../entity/definition.ts";
import type { Service } from "../entity/service.ts";
import type { Host } from "../host/host.ts";
import type { LogEngine } from "../log/engine-log.ts";
import type { Log } from "../log/log.ts";
import { readableVersionMax } from "../log/record.ts";
import type { Blobs } from "../store/blobs.ts";
import type { StoreEngine } from "../store/store.ts";
import { ClusterService } from "./cluster-service.ts";
import { handlePositions } from "./copy-positions.ts";
import { clockOffsetMs } from "./clock-check.ts";
import { clusterView, handleStandings, type ViewParts } from "./cluster-view.ts";
import { declareKinds, regionsToFound } from "./declared-kinds.ts";
import { CopyReports, handleReaches } from "./copy-reports.ts";
import { lagOf, schemaVersions } from "./deployed-code.ts";
import { handleFarewells, sayFarewell } from "./farewell.ts";
import { foundOrJoin } from "./founding.ts";
import { handleHandovers } from "./handover.ts";
import { KeptCopies } from "./kept-copies.ts";
import { type LiftedEntity, liftQuarantine } from "./lift-request.ts";
import type { FollowerReads, LocalShards, OwnedShard } from "./local-shards.ts";
import { patientLeases } from "./lease.ts";
import { Membership } from "./membership.ts";
import { listenForPeers, type NetworkPeers } from "./network-peers.ts";
import { NodeShards } from "./node-shards.ts";
import { askForSplit } from "./split-request.ts";
import { withSteadyClock } from "./steady-clock.ts";
import { SystemLog } from "./system-log.ts";
import { handleSystemPositions, systemPeers } from "./system-positions.ts";
import type { ClusterIdentity, RegionsState } from "./system-state.ts";
import type { ClusterView } from "../wire/cluster-view.ts";

export interface ClusterNodeOptions {
  readonly system: SystemHandle;
  /** Its disk's root is the node's data directory, which the caller has locked. */
  readonly host: Host;
  readonly engine: LogEngine;
  /** Places for blobs in the engine, by name; made when they are first written to. */
  readonly blobs: (place: string, region?: string) => Blobs;
  /** Of the log of this name, on this node. */
  readonly storeEngine: (log: string) => StoreEngine;
  /** Tells nodes apart; the same for all lives of a node. */
  readonly name: string;
  /** Where peers reach it: `host:port`. */
  readonly address: string;
  readonly httpUrl?: string;
  /** `region`, `zone` and others, for placement. */
  readonly labels?: Readonly<Record<string, string>>;
  /** What a new cluster begins with; a cluster that exists keeps its own. */
  readonly shardCount?: number;
  readonly followerCount?: number;
  /** Regions that kinds may be pinned to later, besides those that they are pinned to now. */
  readonly regions?: readonly string[];
  /** False: joins a cluster that there is, and founds none. */
  readonly mayFound?: boolean;
  readonly limits?: Partial<Limits>;
  /** For entities of each shard that it owns; default as a lone node's. */
  readonly cacheBytes?: number;
  /** The log of an owned shard as it is to be appended to, for metrics. */
  readonly measureLog?: (log: Log) => Log;
  readonly segmentBytes?: number;
  readonly snapshotBytes?: number;
  /**
   * Answers strong reads by this node's lease, without an append for each crowd of them: right only while no clock of a node runs
   * faster or slower than another by more than `clockDriftPpmMax`. By default no clock is trusted.
   */
  readonly leaseReads?: { readonly clockDriftPpmMax: number };
  /** Serves although the engine may lose what it has acknowledged. */
  readonly allowsLaxEngine?: boolean;
  /** Called once, before the node is a member for the first time. What it throws, `open` throws. */
  readonly beforeMember?: (log: SystemLog) => Promise<void>;
  /** The node can't go on: `damaged`, `unsupported-version`, a failed disk. */
  readonly onFailed?: (error: unknown) => void;
}

/** Between two looks at whether a node can leave. */
const leaveLookMs = 20;
/** Besides the time that it may take until a damaged system log goes on. */
const joinMs = 30_000;
const shardCountDefault = 16;
const followerCountDefault = 1;
const segmentBytesDefault = 4 * 1024 * 1024;
const snapshotBytesDefault = 64 * 1024 * 1024;

/** What belongs to one membership. */
interface Life {
  readonly membership: Membership;
  readonly shards: NodeShards;
  readonly reports: CopyReports;
  hasSaidLag: boolean;
}

export class ClusterNode {
  readonly #options: ClusterNodeOptions;
  readonly #limits: Limits;
  readonly #systemLog: SystemLog;
  readonly #peers: NetworkPeers;
  readonly #service: ClusterService;
  readonly #cluster: ClusterIdentity;
  readonly #kept: KeptCopies;
  #life: Life | undefined;
  #renewing: Promise<void> | undefined;
  #isClosing = false;

  private constructor(
    options: ClusterNodeOptions,
    parts: {
      readonly limits: Limits;
      readonly systemLog: SystemLog;
      readonly peers: NetworkPeers;
      readonly cluster: ClusterIdentity;
      readonly kept: KeptCopies;
    },
  ) {
    this.#options = options;
    this.#limits = parts.limits;
    this.#systemLog = parts.systemLog;
    this.#peers = parts.peers;
    this.#cluster = parts.cluster;
    this.#kept = parts.kept;
    const { clock, timers, random, guard } = options.host;
    this.#service = new ClusterService({
      clock,
      timers,
      random,
      guard,
      limits: this.#limits,
      system: options.system.definition,
      peers: this.#peers,
      map: this.#systemLog,
      local: this.#local,
      standing: this.#standing,
    });
    const known = new Set<string>();
    this.#systemLog.onChange(({ members }) => {
      for (const { id, address } of members.values()) {
        if (known.has(id)) continue;
        known.add(id);
        this.#peers.restarted(address);
      }
      for (const id of known) if (!members.has(id)) known.delete(id);
      this.#sayLag();
    });
    handlePositions(this.#peers, (log) => this.#life?.shards.reach(log) ?? null);
    handleFarewells(this.#peers, this.#systemLog, { timers });
    handleHandovers(this.#peers, this.#limits, () => this.#life?.shards);
    handleReaches(this.#peers, () => this.#life?.shards.reaches ?? {});
    handleStandings(this.#viewParts);
  }

  /**
   * Founds the cluster or joins it. At return the node is a member; what it is to own it claims after that. Throws `unavailable` (retry
   * safe) where the engine can't be reached, `invalid-configuration` for a lax engine or another system's cluster, `damaged`, `DiskError`.
   */
  static async open(given: ClusterNodeOptions): Promise<ClusterNode> {
    let node: ClusterNode | undefined;
    const options = { ...given, host: withSteadyClock(given.host, () => node?.clockOffsetMs ?? 0) };
    const limits = { ...defaultLimits, ...options.limits };
    assertLimits(limits);
    assertClusterLimits(limits);
    const regions = regionsToFound(options.system.definition, {
      named: options.regions ?? [],
      shardCount: options.shardCount ?? shardCountDefault,
    });
    await assertStrict(options, regions);
    const { host } = options;
    const { clock, timers, random, trace, network } = host;
    const { segmentBytes = segmentBytesDefault } = options;
    // Before the system log: to be repaired it may need what the other nodes have of it.
    const peers = await listenForPeers(options.address, { network, clock, timers, random, trace, limits });
    let systemLog: SystemLog | undefined;
    try {
      systemLog = await openSystemLog(options, { limits, peers });
      const cluster = await foundOrJoin(
        systemLog,
        host,
        {
          systemName: options.system.definition.name,
          shardCount: options.shardCount ?? shardCountDefault,
          followerCount: options.followerCount ?? followerCountDefault,
          regions,
          mayFound: options.mayFound ?? true,
        },
        { deadlineMs: joinWithinMs(limits) },
      );
      await declareKinds(systemLog, options.system.definition, { deadlineMs: joinWithinMs(limits) });
      await options.beforeMember?.(systemLog);
      const kept = await KeptCopies.open({ disk: host.disk, random, trace, segmentBytes });
      node = new ClusterNode(options, { limits, systemLog, peers, cluster, kept });
      await node.#begin();
      return node;
    } catch (error) {
      await peers.close();
      await systemLog?.close();
      throw error;
    }
  }

  get service(): Service {
    return this.#service;
  }

  /** The system log as this node has read it, and may write to it. */
  get systemLog(): SystemLog {
    return this.#systemLog;
  }

  /** The cluster as this node and those that answer it see it. Throws `not-ready` (retry safe). */
  view(): Promise<ClusterView> {
    return clusterView(this.#viewParts, this.#options.name);
  }

  /** See `askForSplit`. */
  split(shard: string, parts: number): Promise<void> {
    return askForSplit(this.#systemLog, shard, parts);
  }

  /** See `liftQuarantine`. */
  lift(entity: LiftedEntity): Promise<number> {
    return liftQuarantine(this.#systemLog, entity);
  }

  get memberId(): string | undefined {
    return this.#life?.membership.id;
  }

  /** How far its clock is from the others', by its last renewal; 0 where that is not known. */
  get clockOffsetMs(): number {
    const { memberId } = this;
    return memberId === undefined ? 0 : clockOffsetMs(this.#systemLog.state, memberId);
  }

  /** For metrics and tests. */
  get shards(): NodeShards | undefined {
    return this.#life?.shards;
  }

  get isController(): boolean {
    return this.#life?.membership.isController === true;
  }

  get isCutOff(): boolean {
    return this.#standing.isCutOff;
  }

  /** CN2. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    await this.#renewing;
    const life = this.#life;
    if (life !== undefined) await this.#takeLeave(life);
    await this.#service.close();
    // Who has not heard yet that this node is gone may still ask it.
    await this.#peers.drain({ lingerMs: 300, atMostMs: 2000 });
    await this.#peers.close();
    await this.#systemLog.close();
  }

  async #takeLeave({ membership, shards, reports }: Life): Promise<void> {
    const { clock, timers, trace } = this.#options.host;
    const endMs = clock.monotonicMs() + this.#limits.drainMs;
    const sayMs = 2000;
    try {
      await membership.drain({ deadlineMs: sayMs });
      // Looked at each time: where all end at once, nobody is left to hand over to.
      const hasOthers = (): boolean =>
        [...this.#systemLog.state.members.values()].some(({ id, status }) => status === "live" && id !== membership.id);
      const ownsSome = (): boolean =>
        [...this.#systemLog.state.shards.values()].some(({ owner }) => owner === membership.id);
      const mayWait = (): boolean => hasOthers() && !membership.isCutOff && clock.monotonicMs() < endMs;
      const pause = (): Promise<void> =>
        new Promise((resolve) => timers.after(leaveLookMs, resolve, { keepsAlive: true }));
      while (mayWait() && ownsSome()) await pause();
      let needed = await shards.indispensable();
      while (mayWait() && needed.length > 0) {
        await pause();
        needed = await shards.indispensable();
      }
      if (needed.length > 0 && hasOthers()) {
        trace(
          "warn",
          "The node leaves, and no other one has all that it has of some logs. Keep its data directory, and start it again.",
          { logs: needed },
        );
      }
    } catch (error) {
      trace("warn", "The node could not hand over what it owns before it ends; others take it over.", { error });
    }
    reports.close();
    await shards.close();
    try {
      if (!membership.isCutOff) {
        await membership.leave({ deadlineMs: sayMs });
        await sayFarewell(this.#peers, this.#systemLog);
      }
    } catch (error) {
      trace("info", "The cluster could not be told that this node leaves; it will find that out.", { error });
    }
    await membership.close();
    this.#life = undefined;
  }

  readonly #local: LocalShards = {
    owned: (shardId: string): OwnedShard | undefined => this.#life?.shards.owned(shardId),
    follower: (shardId: string): FollowerReads | undefined => this.#life?.shards.follower(shardId),
  };

  readonly #standing = (() => {
    const isCutOff = (): boolean => this.#life?.membership.isCutOff ?? true;
    return {
      get isCutOff(): boolean {
        return isCutOff();
      },
    };
  })();

  get #viewParts(): ViewParts {
    return {
      peers: this.#peers,
      map: this.#systemLog,
      local: this.#local,
      reaches: () => this.#life?.shards.reaches ?? {},
      self: () => this.memberId,
    };
  }

  // --------------------------------------------------------------------------------------------------------- memberships

  async #begin(): Promise<void> {
    const { host, name, httpUrl, labels, system, engine, blobs, storeEngine, leaseReads } = this.#options;
    const reports = new CopyReports({ host, peers: this.#peers, systemLog: this.#systemLog });
    const membership: Membership = new Membership({
      host,
      // All members have the same, since the regions are as they were founded.
      limits: this.#systemLog.state.regions === undefined ? this.#limits : patientLeases(this.#limits),
      log: this.#systemLog,
      member: {
        id: `${name}.${toHex(host.random.bytes(4))}`,
        name,
        address: this.#peers.address,
        httpUrl,
        labels: labels ?? {},
        version,
        readerVersion: readableVersionMax,
        schemas: schemaVersions(system.definition.entities),
      },
      copies: () => reports.copies,
      onChange: () => this.#standingChanged(membership),
      onFailed: (error) => this.#options.onFailed?.(error),
    });
    const shards = new NodeShards({
      host,
      limits: this.#limits,
      system: system.definition,
      cluster: this.#cluster,
      engine,
      blobs,
      storeEngine,
      systemLog: this.#systemLog,
      membership,
      peers: this.#peers,
      neighboursOf: (shardId) => this.#service.neighboursOf(shardId),
      onOwned: () => this.#service.ownsMore(),
      segmentBytes: this.#options.segmentBytes ?? segmentBytesDefault,
      snapshotBytes: this.#options.snapshotBytes ?? snapshotBytesDefault,
      cacheBytes: this.#options.cacheBytes,
      measureLog: this.#options.measureLog,
      kept: this.#kept,
      mayTellDurable: () => leaseReads !== undefined && membership.holdsLease(leaseReads.clockDriftPpmMax),
    });
    try {
      await membership.join({ deadlineMs: joinWithinMs(this.#limits) });
    } catch (error) {
      await shards.close();
      await membership.close();
      throw error;
    }
    this.#life = { membership, shards, reports, hasSaidLag: false };
    shards.start();
    reports.start(membership);
  }

  /** Says once a life that the cluster has gone on to newer code than this node has, so that it can own nothing any more. */
  #sayLag(): void {
    const life = this.#life;
    const member = life && this.#systemLog.state.members.get(life.membership.id);
    if (life === undefined || member === undefined || life.hasSaidLag) return;
    const lag = lagOf(this.#systemLog.state, member);
    if (lag === undefined) return;
    life.hasSaidLag = true;
    this.#options.host.trace(
      "warn",
      "This node's code is older than what the cluster has deployed: it owns nothing until it is upgraded.",
      {
        lag,
      },
    );
  }

  #standingChanged(membership: Membership): void {
    const life = this.#life;
    if (life?.membership !== membership) return;
    life.shards.reconsider();
    if (!membership.isGone || this.#isClosing || this.#renewing !== undefined) return;
    this.#renewing = this.#renew(life)
      .catch((error: unknown) => this.#options.onFailed?.(error))
      .finally(() => {
        this.#renewing = undefined;
      });
  }

  /** CN1. */
  async #renew(life: Life): Promise<void> {
    this.#life = undefined;
    life.reports.close();
    await life.shards.close();
    await life.membership.close();
    const { timers, trace } = this.#options.host;
    while (!this.#isClosing) {
      try {
        return await this.#begin();
      } catch (error) {
        if (!(error instanceof OnefoldError) || error.retry !== "safe") {
          this.#options.onFailed?.(error);
          return;
        }
        trace("info", "The node could not join the cluster again yet; it tries on.", { error });
        await new Promise<void>((resolve) => timers.after(500, resolve, { keepsAlive: true }));
      }
    }
  }
}

async function openSystemLog(
  options: ClusterNodeOptions,
  { limits, peers }: { readonly limits: Limits; readonly peers: NetworkPeers },
): Promise<SystemLog> {
  const { host, engine, name, segmentBytes = segmentBytesDefault, onFailed } = options;
  const systemLog = await SystemLog.open({
    host,
    limits,
    engine,
    peers: systemPeers(peers, name),
    node: name,
    directory: "system",
    segmentBytes: Math.min(segmentBytes, limits.shortSegmentBytes),
    onFailed: (error) => onFailed?.(error),
  });
  handleSystemPositions(peers, (question) => systemLog.stopAt(question));
  return systemLog;
}

function joinWithinMs({ systemLogDoubtMs, systemSuccessionMs }: Limits): number {
  return joinMs + systemLogDoubtMs + systemSuccessionMs;
}

/** CN3. */
async function assertStrict(
  { engine, host, allowsLaxEngine = false }: ClusterNodeOptions,
  regions: RegionsState | undefined,
): Promise<void> {
  const laxities = await engine.laxities({ regions: regions?.list.map(({ name }) => name) ?? [] });
  if (laxities.length === 0) return;
  const what = laxities.join(" ");
  if (!allowsLaxEngine) {
    const message = `The engine may lose what it acknowledges: ${what} Mend that, or pass --unsafe-durability.`;
    throw new OnefoldError("invalid-configuration", message, { details: { laxities: [...laxities] } });
  }
  host.trace("warn", "The engine may lose what it acknowledges, and this node was told to serve all the same.", {
    laxities,
  });
}
