/**
 * The shards of one node, as the system log wants them: a host for each shard that this member is to own or follow, another one when
 * the shard goes on in another log, none where it is not this member's.
 *
 * NS1 One host at a time works on a log's files here: a host ends before another of the same log begins.
 * NS2 What a shard's status asks for beyond roles (repair, split) is done by whoever the protocol says, again and again until the system
 *     log says that it is done.
 */
import { fromHex, toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { SystemDefinition } from "../entity/definition.ts";
import type { Neighbours } from "../entity/neighbours.ts";
import { stateDigest } from "../entity/state-digest.ts";
import type { Host } from "../host/host.ts";
import type { LogEngine } from "../log/engine-log.ts";
import type { Log, LogPosition } from "../log/log.ts";
import type { Blobs } from "../store/blobs.ts";
import type { StoreEngine } from "../store/store.ts";
import { seal } from "./claim.ts";
import { firstPlace } from "./continuing-log.ts";
import { askPositions } from "./copy-positions.ts";
import type { CopyReach } from "./copy-reach.ts";
import { isDiskRefusal } from "./disk-refusal.ts";
import { FoldPace } from "./fold-pace.ts";
import { FollowerReader } from "./follower-reader.ts";
import { type HandoverReceiver, HandoverSender } from "./handover.ts";
import { copyDirectory, type KeptCopies } from "./kept-copies.ts";
import type { FollowerReads, LocalShards, OwnedShard } from "./local-shards.ts";
import type { LogFault } from "./log-fault.ts";
import type { Membership } from "./membership.ts";
import { PastLog } from "./past-log.ts";
import type { Peers } from "./peers.ts";
import { movedShard } from "./promotion-fold.ts";
import { QuarantinedNames } from "./quarantined-names.ts";
import type { Anchor, Replica } from "./replica.ts";
import { type Handed, ShardHost, type ShardRole } from "./shard-host.ts";
import { positionAsText, repairShard } from "./shard-repair.ts";
import type { ShardSnapshots } from "./shard-snapshots.ts";
import { splitShard } from "./shard-split.ts";
import type { SystemLog } from "./system-log.ts";
import type { SystemRecord } from "./system-records.ts";
import {
  type ClusterIdentity,
  isInReach,
  type ParentPosition,
  presentShards,
  regionOfShard,
  type ShardState,
  type SystemState,
} from "./system-state.ts";

export interface NodeShardsParts {
  readonly host: Host;
  readonly limits: Limits;
  readonly system: SystemDefinition;
  readonly cluster: ClusterIdentity;
  readonly engine: LogEngine;
  /** Places for blobs, by name: made when they are first written to. */
  readonly blobs: (place: string, region?: string) => Blobs;
  readonly storeEngine: (log: string) => StoreEngine;
  readonly systemLog: SystemLog;
  readonly membership: Membership;
  readonly peers: Peers;
  readonly neighboursOf: (shardId: string) => Neighbours;
  /** This node owns one more shard. */
  readonly onOwned: () => void;
  readonly segmentBytes: number;
  readonly snapshotBytes: number;
  readonly cacheBytes: number | undefined;
  readonly measureLog: ((log: Log) => Log) | undefined;
  readonly kept: KeptCopies;
  /** See `Committer`, M5. */
  readonly mayTellDurable: () => boolean;
}

interface Hosted {
  readonly shardId: string;
  readonly log: string;
  host: ShardHost | undefined;
  reader: { readonly reads: FollowerReader; readonly of: object } | undefined;
  isClosing: boolean;
  /** How far the copy reached when somebody asked last. */
  lastReach: CopyReach | null;
  repairing: Promise<void> | undefined;
}

const proposeMs = 5000;
/** Between two looks whether a log that somebody asks about has been opened. */
const openLookMs = 10;
const repairGraceMs = 5000;
const repairRetryMs = 1000;
const repairWaitsMessage =
  "A shard's repair can't be done now; it is tried on. A new log needs as many of the engine's servers as each log is kept on.";
const lackingMessage =
  "A shard can't be repaired: no node that is here has all that was acknowledged. Bring back the nodes that had it, with their data.";

export class NodeShards implements LocalShards, HandoverReceiver {
  readonly #parts: NodeShardsParts;
  readonly #handovers: HandoverSender;
  readonly #hosted = new Map<string, Hosted>();
  readonly #foldPace: FoldPace;
  readonly #tasks = new Set<Promise<void>>();
  readonly #tidying = new Set<string>();
  readonly #quarantined: QuarantinedNames;
  readonly #stopListening: () => void;
  /** What the shards were when they were reconciled last, if they are to be left alone until they change. */
  #reconciled: SystemState["shards"] | undefined;
  #isClosed = false;

  constructor(parts: NodeShardsParts) {
    this.#parts = parts;
    this.#handovers = new HandoverSender(parts.peers, parts.limits);
    this.#quarantined = new QuarantinedNames(parts.system);
    this.#foldPace = new FoldPace(parts.host.clock);
    this.#stopListening = parts.systemLog.onChange((state) => this.#changed(state));
  }

  start(): void {
    this.#reconcile(this.#parts.systemLog.state);
  }

  /** Whether this member may claim has changed. */
  reconsider(): void {
    for (const { host } of this.#hosted.values()) host?.reconsider();
  }

  owned(shardId: string): OwnedShard | undefined {
    return this.#of(shardId)?.host?.owned?.shard;
  }

  /** Of a shard that this node owns in this log. */
  snapshotsOf(shardId: string, log: string): ShardSnapshots | undefined {
    const hosted = this.#of(shardId);
    return hosted?.log === log ? hosted.host?.owned?.snapshots : undefined;
  }

  follower(shardId: string): FollowerReads | undefined {
    const hosted = this.#of(shardId);
    const replica = hosted?.host?.replica;
    if (hosted === undefined || replica === undefined || hosted.host?.owned !== undefined) return undefined;
    // Before its first look at the log's end nobody can say how old it is.
    if (replica.store.position === null || hosted.host?.confirmedAtMs === undefined) return undefined;
    if (hosted.reader?.of !== replica) {
      const { host, limits, system } = this.#parts;
      const confirmedAtMs = () => hosted.host?.confirmedAtMs;
      const quarantined = () => this.#quarantinedIn(shardId);
      const reads = new FollowerReader({ host, limits, system, replica, confirmedAtMs, quarantined });
      hosted.reader = { reads, of: replica };
    }
    return hosted.reader.reads;
  }

  async hasReached(log: string, sequence: number, atMostMs: number): Promise<void> {
    const { clock, timers } = this.#parts.host;
    const endMs = clock.monotonicMs() + atMostMs;
    // Who was just told to follow it may not have opened it, or not even have read that yet.
    for (;;) {
      const { host } = this.#hosted.get(log) ?? {};
      const leftMs = endMs - clock.monotonicMs();
      if (host !== undefined) return host.hasReached(sequence, leftMs);
      if (leftMs <= 0 || this.#isClosed) return;
      await new Promise<void>((resolve) => timers.after(openLookMs, resolve));
    }
  }

  handed(log: string, handed: Handed): void {
    this.#hosted.get(log)?.host?.handed(handed);
  }

  /** How far this node's copy of a log reaches. */
  position(log: string): LogPosition | null {
    return this.reach(log)?.end ?? null;
  }

  /** The same, and how far it has content. */
  reach(log: string): CopyReach | null {
    const hosted = this.#hosted.get(log);
    const replica = hosted?.host?.replica;
    if (hosted === undefined || replica === undefined) {
      // While its files are closed and opened again, what was there is still there.
      return further(this.#parts.kept.reach(log), hosted?.lastReach ?? null);
    }
    hosted.lastReach = replica.reach;
    return replica.reach;
  }

  /** How far this node's copies reach, by shard. */
  get reaches(): Readonly<Record<string, number>> {
    const reaches: Record<string, number> = {};
    for (const { shardId, host } of this.#hosted.values()) {
      const sequence = host?.replica?.end?.sequence;
      if (sequence !== undefined) reaches[shardId] = sequence;
    }
    return reaches;
  }

  /**
   * Logs of present shards of which this node's copy has more than any other member that answers, and than any snapshot: who takes it away
   * takes away what a repair may need.
   */
  async indispensable(): Promise<readonly string[]> {
    const { systemLog, peers, membership } = this.#parts;
    const logs = presentShards(systemLog.state).map(({ log }) => log);
    const found = await Promise.all(
      logs.map(async (log) => {
        const reach = this.reach(log);
        if (reach === null || isSuperfluous(systemLog.state, log, reach)) return [];
        const { told } = await askPositions(peers, systemLog.state, membership.id, log);
        return told.some(({ contentSequence }) => contentSequence >= reach.content.sequence) ? [] : [log];
      }),
    );
    return found.flat();
  }

  /** How many shards this node owns now. */
  get ownedCount(): number {
    let count = 0;
    for (const { host } of this.#hosted.values()) if (host?.owned !== undefined) count++;
    return count;
  }

  /** Gives up what it owns, and ends all hosts. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopListening();
    await Promise.all([...this.#hosted.values()].map((hosted) => this.#end(hosted)));
    await Promise.all(this.#tasks);
  }

  #quarantinedIn(shardId: string): ReadonlySet<string> {
    const { state } = this.#parts.systemLog;
    const shard = state.shards.get(shardId);
    return shard === undefined ? new Set() : this.#quarantined.of(state, shard);
  }

  #of(shardId: string): Hosted | undefined {
    const log = this.#parts.systemLog.state.shards.get(shardId)?.log;
    return log === undefined ? undefined : this.#hosted.get(log);
  }

  // --------------------------------------------------------------------------------------------------------- reconciling

  /** Most of what the system log says is renewals, which change no shard: only who may claim, as clocks go. Hosts look for what else is there. */
  #changed(state: SystemState): void {
    if (state.shards === this.#reconciled) this.reconsider();
    else this.#reconcile(state);
  }

  #reconcile(state: SystemState): void {
    if (this.#isClosed) return;
    const isAllWhole = [...state.shards.values()].every(({ status }) => status !== "quarantined");
    this.#reconciled = isAllWhole ? state.shards : undefined;
    const wanted = new Map<string, { readonly shard: ShardState; readonly role: ShardRole }>();
    for (const shard of state.shards.values()) {
      const role = this.#roleIn(shard);
      if (role !== undefined) wanted.set(shard.log, { shard, role });
    }
    for (const hosted of this.#hosted.values()) {
      if (!wanted.has(hosted.log)) this.#own(this.#end(hosted));
    }
    for (const { shard, role } of wanted.values()) {
      const hosted = this.#hosted.get(shard.log);
      if (hosted === undefined) this.#own(this.#begin(shard, role));
      else if (!hosted.isClosing) hosted.host?.assign(role);
      if (shard.status !== "quarantined") continue;
      hosted?.host?.seal();
      this.#repair(shard.id);
    }
    this.#tidy(state);
  }

  /** Copies that nobody works on go once everything in them is in a snapshot that the system log tells of. */
  #tidy(state: SystemState): void {
    const { kept } = this.#parts;
    for (const log of kept.logs) {
      if (this.#hosted.has(log) || this.#tidying.has(log) || !isSuperfluous(state, log, kept.reach(log))) continue;
      this.#tidying.add(log);
      this.#own(this.#remove(log).finally(() => this.#tidying.delete(log)));
    }
  }

  async #remove(log: string): Promise<void> {
    const { kept, storeEngine } = this.#parts;
    await storeEngine(log).destroy();
    await kept.remove(log);
  }

  #roleIn(shard: ShardState): ShardRole | undefined {
    const self = this.#parts.membership.id;
    if (shard.status === "retired") return undefined;
    if (shard.owner === self) {
      const intent = shard.status === "splitting" ? "split" : shard.movingTo === undefined ? "serve" : "move";
      return { kind: "owner", assignment: shard.assignment, intent };
    }
    // Whoever has a copy of a log that is not whole may have what a repair needs.
    const isNeeded = shard.status === "quarantined" && this.#parts.kept.has(shard.log);
    if (shard.movingTo === self) return { kind: "next", assignment: shard.assignment };
    return shard.followers.includes(self) || isNeeded ? { kind: "follower" } : undefined;
  }

  async #begin(shard: ShardState, role: ShardRole): Promise<void> {
    const hosted: Hosted = {
      shardId: shard.id,
      log: shard.log,
      host: undefined,
      reader: undefined,
      isClosing: false,
      lastReach: null,
      repairing: undefined,
    };
    this.#hosted.set(shard.log, hosted);
    // Its files are just being removed: it begins behind the snapshot that makes them superfluous.
    while (this.#tidying.has(shard.log))
      await new Promise<void>((resolve) => this.#parts.host.timers.after(10, resolve));
    const host = await this.#open(hosted, shard, role);
    if (host === undefined || hosted.isClosing) {
      this.#hosted.delete(shard.log);
      return;
    }
    hosted.host = host;
    host.start();
    // It may have changed meanwhile.
    this.#reconcile(this.#parts.systemLog.state);
  }

  async #open(hosted: Hosted, shard: ShardState, role: ShardRole): Promise<ShardHost | undefined> {
    const { engine, host } = this.#parts;
    while (!hosted.isClosing) {
      try {
        const region = regionOfShard(this.#parts.systemLog.state, shard);
        const log = await engine.create(shard.log, { firstSequence: (shard.parent?.sequence ?? 0) + 1, region });
        return new ShardHost(this.#hostParts(shard, log), role);
      } catch (error) {
        if (!(error instanceof OnefoldError) || error.code !== "unavailable") throw error;
        await new Promise<void>((resolve) => host.timers.after(repairRetryMs, resolve));
      }
    }
    return undefined;
  }

  async #end(hosted: Hosted): Promise<void> {
    if (hosted.isClosing) return;
    hosted.isClosing = true;
    if (hosted.host === undefined) return;
    await hosted.repairing;
    const { replica } = hosted.host;
    hosted.lastReach = replica?.reach ?? hosted.lastReach;
    await hosted.host.close();
    if (replica !== undefined) this.#parts.kept.note(hosted.log, replica.reach);
    this.#hosted.delete(hosted.log);
    this.#reconcile(this.#parts.systemLog.state);
  }

  #hostParts(
    shard: ShardState,
    log: Awaited<ReturnType<LogEngine["create"]>>,
  ): ConstructorParameters<typeof ShardHost>[0] {
    const { host, limits, system, cluster, membership, blobs, storeEngine } = this.#parts;
    const { id } = shard;
    // For ever: neither the shard's slots change nor the regions'.
    const region = regionOfShard(this.#parts.systemLog.state, shard);
    const present = (): ShardState => this.#parts.systemLog.state.shards.get(id) ?? shard;
    return {
      host,
      limits,
      system,
      cluster,
      member: membership.id,
      log,
      directory: copyDirectory(shard.log),
      storeEngine: storeEngine(shard.log),
      foldPace: this.#foldPace,
      newestBlobs: () => newestPlace(present(), shard.log, (place) => blobs(place, region)),
      blobsOfEpoch: (epoch) => blobs(`${shard.log}.${epoch}`, region),
      newestSnapshotSequence: () => (present().log === shard.log ? (present().snapshot?.sequence ?? 0) : 0),
      publishSnapshot: (position) => this.#publishSnapshot(shard, position),
      segmentBytes: this.#parts.segmentBytes,
      snapshotBytes: this.#parts.snapshotBytes,
      ...(this.#parts.cacheBytes === undefined ? {} : { cacheBytes: this.#parts.cacheBytes }),
      ...(this.#parts.measureLog === undefined ? {} : { measureLog: this.#parts.measureLog }),
      neighbours: this.#parts.neighboursOf(id),
      pastOf: (replica) => {
        const { engine } = this.#parts;
        return new PastLog({ limits, open: (name) => engine.open(name), replica, slots: shard });
      },
      anchors: () => this.#anchors(shard),
      mayClaim: () => membership.mayClaim && isInReach(this.#parts.systemLog.state, present(), membership.id),
      mayTellDurable: this.#parts.mayTellDurable,
      quarantined: () => this.#quarantinedIn(id),
      onOwned: () => this.#parts.onOwned(),
      beforeClaim: (replica) => this.#verifyMoved(shard, replica),
      nextIsReady: (end) => this.#handovers.prepare(this.#parts.systemLog.state, id, shard.log, end),
      tellNext: (handed) => this.#own(this.#handovers.released(this.#parts.systemLog.state, id, shard.log, handed)),
      onReleased: (assignment, reach) => {
        const end = reach === undefined ? undefined : contentAsText(shard.log, reach);
        this.#say({ type: "released", shard: id, member: membership.id, assignment, end });
      },
      onSealed: ({ detail }) => this.#say({ type: "quarantined", shard: id, log: shard.log, detail }),
      onFault: (fault) => this.#own(this.#sealFaulty(shard, fault)),
      split: (replica) => this.#split(present(), replica),
    };
  }

  // ------------------------------------------------------------------------------------------------- saying, repair, split

  /** Tells the system log; again until it is known to say so, or to say something later. */
  #say(record: SystemRecord): void {
    this.#own(this.#publish(record).then(() => undefined));
  }

  async #publish(record: SystemRecord): Promise<boolean> {
    const { systemLog, host } = this.#parts;
    while (!this.#isClosed || record.type === "released") {
      const outcome = await systemLog.propose(() => [record], { deadlineMs: proposeMs });
      if (outcome.kind !== "unknown") return outcome.kind === "committed";
      if (this.#isClosed) return false;
      await new Promise<void>((resolve) => host.timers.after(repairRetryMs, resolve));
    }
    return false;
  }

  async #publishSnapshot({ id, log }: ShardState, { epoch, sequence }: LogPosition): Promise<boolean> {
    const { systemLog } = this.#parts;
    await this.#publish({ type: "snapshot-published", shard: id, log, epoch, sequence });
    const snapshot = systemLog.state.shards.get(id)?.snapshot;
    return snapshot?.epoch === epoch;
  }

  async #anchors(shard: ShardState): Promise<readonly Anchor[]> {
    const { peers, systemLog, membership } = this.#parts;
    const { told } = await askPositions(peers, systemLog.state, membership.id, shard.log);
    const released = releasedAt(systemLog.state.shards.get(shard.id), shard.log);
    return [...told.flatMap(({ position }) => position ?? []), ...(released === undefined ? [] : [released])];
  }

  /** A follower has found the log damaged, and it stays so: nobody may go on with it. */
  async #sealFaulty(shard: ShardState, fault: LogFault): Promise<void> {
    const { host, membership } = this.#parts;
    const replica = this.#hosted.get(shard.log)?.host?.replica;
    if (replica === undefined || this.#isClosed) return;
    const sealed = await seal({ replica, host, member: membership.id }, { reason: "rollback", detail: fault.message });
    if (sealed === undefined) return;
    this.#say({ type: "quarantined", shard: shard.id, log: shard.log, detail: sealed.detail });
  }

  /** The first owner of a system that was moved here tells what it has got, before it changes anything of it. */
  #verifyMoved({ id, parent, log }: ShardState, replica: Replica): void {
    const { store } = replica;
    const { systemLog, membership, host } = this.#parts;
    const { promotion } = systemLog.state;
    const isDue = promotion?.status === "activated" && promotion.verified === undefined && id === movedShard;
    // The log's genesis changes no row that counts.
    if (!isDue || store.position === null || store.position.sequence > (parent?.sequence ?? 0) + 1) return;
    const { attempt } = promotion;
    const view = store.view();
    const takeTurn = async (): Promise<void> => {
      await new Promise<void>((resolve) => host.timers.soon(resolve));
      if (this.#hosted.get(log)?.host?.replica === replica) return;
      throw new OnefoldError("unavailable", "The shard is let go of before its state was looked at.");
    };
    const tell = async (): Promise<void> => {
      try {
        const digest = toHex(await stateDigest(view, takeTurn));
        await this.#publish({ type: "promotion-verified", attempt, member: membership.id, digest });
      } catch (error) {
        // Then it is never told, and whoever waits for it says so.
        if (!(error instanceof OnefoldError) || error.code !== "unavailable") throw error;
        host.trace("warn", "What this node got of a system that moved here could not be compared.", { error });
      } finally {
        view.close();
      }
    };
    this.#own(tell());
  }

  async #split(shard: ShardState, replica: Parameters<typeof splitShard>[0]["replica"]): Promise<void> {
    if (shard.status !== "splitting") return;
    const { host, engine, membership, blobs } = this.#parts;
    const isWanted = (): boolean =>
      !this.#isClosed && this.#parts.systemLog.state.shards.get(shard.id)?.status === "splitting";
    const record = await splitShard({
      host,
      engine,
      member: membership.id,
      shard,
      replica,
      regionOf: (range) => regionOfShard(this.#parts.systemLog.state, range),
      blobsOfNew: (log, range) => blobs(firstPlace(log), regionOfShard(this.#parts.systemLog.state, range)),
      isWanted,
    });
    await this.#publish(record);
  }

  #repair(shardId: string): void {
    const hosted = this.#of(shardId);
    if (hosted === undefined || hosted.repairing !== undefined || hosted.isClosing) return;
    hosted.repairing = this.#repairLoop(hosted).finally(() => {
      hosted.repairing = undefined;
    });
    this.#own(hosted.repairing);
  }

  async #repairLoop(hosted: Hosted): Promise<void> {
    const { host, engine, membership, blobs, peers, systemLog } = this.#parts;
    const present = (): ShardState | undefined => systemLog.state.shards.get(hosted.shardId);
    const isWanted = (): boolean =>
      !hosted.isClosing && !this.#isClosed && present()?.status === "quarantined" && present()?.log === hosted.log;
    await new Promise<void>((resolve) => host.timers.after(repairGraceMs, resolve));
    let hasSaid = false;
    let hasSaidWhy = false;
    while (isWanted()) {
      const shard = present()!;
      const replica = hosted.host?.idleReplica;
      if (replica !== undefined) {
        try {
          const record = await repairShard({
            host,
            engine,
            region: regionOfShard(systemLog.state, shard),
            member: membership.id,
            shard,
            replica,
            anchor: releasedAt(shard, hosted.log),
            onLacking: (facts) => {
              if (!hasSaid) host.trace("error", lackingMessage, { shard: shard.id, log: shard.log, ...facts });
              hasSaid = true;
            },
            positions: () => askPositions(peers, systemLog.state, membership.id, hosted.log),
            blobsOfNew: (log) => blobs(firstPlace(log), regionOfShard(systemLog.state, shard)),
            isWanted,
          });
          if (record !== undefined) await this.#publish(record);
        } catch (error) {
          if (!(error instanceof OnefoldError) || error.code !== "unavailable") throw error;
          if (!hasSaidWhy) host.trace("warn", repairWaitsMessage, { shard: shard.id, log: shard.log, error });
          hasSaidWhy = true;
        }
      }
      await new Promise<void>((resolve) => host.timers.after(repairRetryMs, resolve));
    }
  }

  /** A task of this node: a bug in it is told. */
  #own(task: Promise<void>): void {
    const owned = task
      .catch((error: unknown) => {
        if (this.#isClosed) return;
        const { trace } = this.#parts.host;
        if (isDiskRefusal(error))
          trace("error", "The node's disk refused; check it. Other nodes have the shards.", { error });
        else trace("error", "A task of a cluster node failed; restart the node, and report this.", { error });
      })
      .finally(() => this.#tasks.delete(owned));
    this.#tasks.add(owned);
  }
}

/** What was acknowledged is up to there. Undefined where that is in a snapshot, and no more in the copy. */
function contentAsText(log: string, { end, content: { sequence, hash } }: CopyReach): ParentPosition | undefined {
  return hash === undefined ? undefined : { log, ...positionAsText({ ...end, sequence, hash }) };
}

function further(a: CopyReach | null, b: CopyReach | null): CopyReach | null {
  if (a === null || b === null) return a ?? b;
  return a.end.sequence >= b.end.sequence ? a : b;
}

/** Where an owner that gave the shard up had brought this log. */
function releasedAt(shard: ShardState | undefined, log: string): Anchor | undefined {
  if (shard?.log !== log || shard.anchor === undefined) return undefined;
  return { sequence: shard.anchor.sequence, hash: fromHex(shard.anchor.hash) };
}

function newestPlace(shard: ShardState, log: string, blobs: (place: string) => Blobs): Blobs | undefined {
  if (shard.log !== log) return undefined;
  if (shard.snapshot !== undefined) return blobs(`${log}.${shard.snapshot.epoch}`);
  return shard.parent === undefined ? undefined : blobs(firstPlace(log));
}

/** Whether a copy that reaches `end` has nothing that is not elsewhere for good. */
function isSuperfluous(state: SystemState, log: string, reach: CopyReach | null): boolean {
  const shards = [...state.shards.values()];
  const present = shards.find((shard) => shard.log === log && shard.status !== "retired");
  if (present !== undefined) {
    const isServed = present.status === "active";
    return isServed && reach !== null && (present.snapshot?.sequence ?? 0) >= reach.end.sequence;
  }
  // A log that others continue: their first snapshots have its state, and are followed by one of their own.
  const children = shards.filter(({ parent }) => parent?.log === log);
  return (
    children.length > 0 && children.every(({ status, snapshot }) => status === "retired" || snapshot !== undefined)
  );
}
