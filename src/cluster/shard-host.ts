/**
 * One shard on one node: follows its log, claims it when the system log says so, owns it, gives it up.
 *
 *     opening ──▶ following ──assigned, handed──▶ claiming ──claimed──▶ owning ──move, stop──▶ releasing ──▶ following
 *                     ▲                               │ unwanted           │ deposed, store damaged
 *                     └───────────────────────────────┴────────────────────┘
 *     sealed: nothing of this log is served any more; what repairs it reads the copy
 *
 * SH1 At most one shard object at a time works on the replica, and the follower doesn't meanwhile.
 * SH2 Calls reach the shard only between its claim (with all that `claim.ts` checks) and the moment it is to be given up.
 * SH3 A live owner gives the shard up in no other way than by a release, after what it has accepted is durable (design 7), or was
 *     not begun: what takes longer than `handoverMs` its next owner does. In a move it serves until the next one is ready (`handover.ts`).
 * SH4 Who is to be the next owner claims as soon as the present one says that it has released, under the assignment that the system log is
 *     about to give it. If the log comes to say something else, it gives the shard up like any owner that is replaced.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { SystemDefinition } from "../entity/definition.ts";
import { appendGenesis } from "../entity/genesis.ts";
import type { Neighbours } from "../entity/neighbours.ts";
import type { Host } from "../host/host.ts";
import type { EngineLog } from "../log/engine-log.ts";
import type { Log, LogPosition } from "../log/log.ts";
import type { Past } from "../log/past.ts";
import type { Blobs } from "../store/blobs.ts";
import type { StoreEngine } from "../store/store.ts";
import { claim } from "./claim.ts";
import type { FoldPace } from "./fold-pace.ts";
import { Follower } from "./follower.ts";
import type { CopyReach } from "./copy-reach.ts";
import { LogFault } from "./log-fault.ts";
import { OwnedLog } from "./owned-log.ts";
import { type OpenOwnedShard, openOwnedShard } from "./owned-shard.ts";
import { type Anchor, Replica, removeCopy } from "./replica.ts";
import { sendUntilKnown } from "./sending.ts";
import { nextRecord, type SealPayload } from "./shard-records.ts";
import type { ClusterIdentity } from "./system-state.ts";

/** What the system log wants of this node for this shard. */
export type ShardRole =
  | { readonly kind: "follower" }
  /** A follower that the shard is to move to: `assignment` is its present owner's. */
  | { readonly kind: "next"; readonly assignment: number }
  | { readonly kind: "owner"; readonly assignment: number; readonly intent: OwnerIntent };

/** What the owner is to do: serve; give the shard up for another node; or end its log and begin its parts' logs. */
export type OwnerIntent = "serve" | "move" | "split";

export interface ShardHostParts {
  readonly host: Host;
  readonly limits: Limits;
  readonly system: SystemDefinition;
  readonly cluster: ClusterIdentity;
  readonly member: string;
  readonly log: EngineLog;
  /** Of this log on this node. */
  readonly directory: string;
  readonly storeEngine: StoreEngine;
  /** Of all shards of this node. */
  readonly foldPace: FoldPace;
  /** Where the newest published snapshot is. */
  readonly newestBlobs: () => Blobs | undefined;
  readonly blobsOfEpoch: (epoch: number) => Blobs;
  /** How far that snapshot reaches; 0 where there is none. */
  readonly newestSnapshotSequence: () => number;
  readonly publishSnapshot: (position: LogPosition) => Promise<boolean>;
  readonly segmentBytes: number;
  readonly snapshotBytes: number;
  readonly cacheBytes?: number;
  /** The log as an owner is to append to it, for metrics. */
  readonly measureLog?: (log: Log) => Log;
  readonly neighbours: Neighbours;
  /** What stands before the copy of its log. */
  readonly pastOf: (replica: Replica) => Past;
  /** What members acknowledged of this log, as far as they can be asked. */
  readonly anchors: () => Promise<readonly Anchor[]>;
  /** False while this node must not become an owner: cut off, or its clock is far from the others'. */
  readonly mayClaim: () => boolean;
  /** See `Committer`, M5. */
  readonly mayTellDurable: () => boolean;
  /** Names of its entities in quarantine; the same object for as long as nothing changes. */
  readonly quarantined: () => ReadonlySet<string>;
  readonly onOwned: (epoch: number) => void;
  /** It is about to claim: nobody changes the replica's store before this has returned. */
  readonly beforeClaim: (replica: Replica) => void;
  /** Resolves when the one it moves to has nearly all of this, or can't be waited for. Never rejects. */
  readonly nextIsReady: (end: LogPosition) => Promise<void>;
  /** The release stands in the log: the one it moves to may claim (SH4). */
  readonly tellNext: (handed: Handed) => void;
  /** The shard was given up in good order, with this in the copy where it had been owned here: the one it moves to may claim. */
  readonly onReleased: (assignment: number, reach: CopyReach | undefined) => void;
  /** A seal stands in the log, because it is not whole. */
  readonly onSealed: (seal: SealPayload) => void;
  /** Splits what this node has just given up, or, where a seal for that stands there already, finishes it. */
  readonly split: (replica: Replica) => Promise<void>;
  /** Something in the engine's log is wrong, seen by a follower. */
  readonly onFault: (fault: LogFault) => void;
}

/** Before anything that failed is tried again. */
const retryMs = 500;

export class ShardHost {
  readonly #parts: ShardHostParts;
  #role: ShardRole;
  #replica: Replica | undefined;
  #follower: Follower | undefined;
  #owned: OpenOwnedShard | undefined;
  /** Of the shard that is owned: what it was opened with. */
  #quarantined: ReadonlySet<string> | undefined;
  /** The last assignment that was given up, or lost for good. */
  #doneWith = 0;
  /** What the owner has said that it released (SH4). */
  #handed: Handed | undefined;
  readonly #readers = new Set<{ readonly sequence: number; readonly reached: () => void }>();
  #isSealed = false;
  #isIdle = false;
  /** Of followers before the present one; and an owner's copy has all there is at its claim. */
  #confirmedAtMs: number | undefined;
  #isClosing = false;
  #changed: (() => void) | undefined;
  #running: Promise<void> | undefined;

  constructor(parts: ShardHostParts, role: ShardRole) {
    this.#parts = parts;
    this.#role = role;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Idempotent; what follows from it happens later. */
  assign(role: ShardRole): void {
    const isNews = !isSameRole(role, this.#role);
    this.#role = role;
    if (isNews) this.#changed?.();
    else this.reconsider();
  }

  /** The system log says that nothing of this log is to be served any more. Idempotent. */
  seal(): void {
    this.#isSealed = true;
    this.#changed?.();
  }

  /** Of a sealed log, once nobody works on it here any more: for its repair. */
  get idleReplica(): Replica | undefined {
    return this.#isIdle ? this.#replica : undefined;
  }

  /** SH4. Idempotent. */
  handed(handed: Handed): void {
    if (handed.assignment < (this.#handed?.assignment ?? 0)) return;
    this.#handed = handed;
    this.#changed?.();
  }

  /** Resolves when the copy has everything up to `sequence`, and after `atMostMs` at the latest. */
  async hasReached(sequence: number, atMostMs: number): Promise<void> {
    if ((this.#replica?.end?.sequence ?? 0) >= sequence || this.#isClosing) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        this.#readers.delete(reader);
        timer.cancel();
        resolve();
      };
      const reader = { sequence, reached: end };
      const timer = this.#parts.host.timers.after(atMostMs, end);
      this.#readers.add(reader);
    });
  }

  /** Looks again whether it may claim, or what it serves is in quarantine by now: anybody may call this as often as they like. */
  reconsider(): void {
    const isDue = this.#owned === undefined ? this.#wantsToOwn : this.#parts.quarantined() !== this.#quarantined;
    if (isDue) this.#changed?.();
  }

  /** Present only while calls may reach it (SH2). */
  get owned(): OpenOwnedShard | undefined {
    return this.#owned;
  }

  get replica(): Replica | undefined {
    return this.#replica;
  }

  /** When the copy was last seen to be all there is, by the monotonic clock; undefined before the first time. */
  get confirmedAtMs(): number | undefined {
    return this.#follower?.confirmedAtMs ?? this.#confirmedAtMs;
  }

  /** Gives up what it owns (SH3), and lets go of its files, whether the disk likes it or not. Idempotent. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#changed?.();
    await this.#running;
    this.#running = undefined;
    await this.#letGo();
  }

  get #intent(): OwnerIntent | undefined {
    return this.#role.kind === "owner" ? this.#role.intent : "serve";
  }

  /** What it is to own the shard under; undefined where it is not to. */
  get #ownAssignment(): number | undefined {
    const role = this.#role;
    if (role.kind === "owner") return role.assignment;
    return role.kind === "next" && this.#handed?.assignment === role.assignment ? role.assignment + 1 : undefined;
  }

  get #wantsToOwn(): boolean {
    const assignment = this.#ownAssignment;
    const isOwner = assignment !== undefined && this.#intent !== "move" && assignment > this.#doneWith;
    return isOwner && !this.#isClosing && !this.#isSealed;
  }

  get #mayOwn(): boolean {
    return this.#wantsToOwn && this.#parts.mayClaim();
  }

  async #run(): Promise<void> {
    while (!this.#isClosing) {
      try {
        this.#replica ??= await this.#open();
        this.#declineMove();
        if (this.#isSealed) await this.#idle();
        else if (this.#mayOwn) await this.#own(this.#replica);
        else await this.#follow(this.#replica);
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  async #open(): Promise<Replica> {
    const { host, log, directory, storeEngine, segmentBytes } = this.#parts;
    const { disk, random, timers, trace } = host;
    const blobs = this.#parts.newestBlobs();
    return Replica.open({ disk, random, timers, trace, log, directory, storeEngine, segmentBytes, blobs });
  }

  /** A damaged store is made anew, a node that can't go on tries again: the other nodes have the shard meanwhile. */
  async #recover(error: unknown): Promise<void> {
    const { host, storeEngine, log } = this.#parts;
    const message = "A shard could not go on here; it is opened anew. Look at the cause if this goes on.";
    host.trace("warn", message, { log: log.name, error });
    try {
      if (!(await this.#letGo())) return await this.#pause(retryMs);
      if (error instanceof OnefoldError && error.code === "damaged") await storeEngine.destroy();
      if (error instanceof LogFault && this.#isOvertaken(error)) {
        // The snapshot has all that the copy has (SS1): both begin anew behind it.
        await storeEngine.destroy();
        await removeCopy(host.disk, this.#parts.directory);
      }
    } catch (cause) {
      // The disk refuses that, too; the next attempt will tell.
      host.trace("warn", "What a shard has here could not be removed. Check the disk.", { log: log.name, cause });
    }
    await this.#pause(retryMs);
  }

  /** Closes what is open. Where the disk refuses that, it is given up, and false is returned. */
  async #letGo(): Promise<boolean> {
    const replica = this.#replica;
    this.#replica = undefined;
    try {
      await replica?.close();
      return true;
    } catch (cause) {
      const { host, log } = this.#parts;
      host.trace("warn", "What a shard had open here could not be closed. Check the disk.", { log: log.name, cause });
      return false;
    }
  }

  /** The log was trimmed beyond what this node has, behind a snapshot (hazard 15): a node that was away reloads. */
  readonly #isOvertaken = ({ kind, sequence }: LogFault): boolean =>
    kind === "trimmed" && this.#parts.newestSnapshotSequence() >= sequence;

  /** What is to move from here and has not been owned here is free at once. */
  #declineMove(): void {
    const role = this.#role;
    if (role.kind !== "owner" || role.intent !== "move" || role.assignment <= this.#doneWith) return;
    this.#doneWith = role.assignment;
    this.#parts.onReleased(role.assignment, undefined);
  }

  // ---------------------------------------------------------------------------------------------------------- following

  async #follow(replica: Replica): Promise<void> {
    const { host } = this.#parts;
    const follower = new Follower({
      host,
      replica,
      foldPace: this.#parts.foldPace,
      onProgress: () => this.#progressed(replica),
      onFault: (fault) => this.#parts.onFault(fault),
      isOvertaken: this.#isOvertaken,
    });
    this.#follower = follower;
    follower.start();
    // Once, not with each change that is waited for: what waits for a promise that lasts as long as the follower is kept as long.
    let hasEnded = false;
    const ended = (): void => {
      hasEnded = true;
      this.#changed?.();
    };
    follower.ended.then(ended, ended);
    try {
      // Some may have waited for the copy to be opened.
      this.#tellReaders(replica);
      while (!this.#isClosing && !this.#isSealed && !this.#mayOwn) {
        if (hasEnded) await follower.ended;
        await this.#change();
        this.#declineMove();
      }
    } finally {
      await follower.stop({ leavesUnfolded: this.#mayOwn });
      this.#confirmedAtMs = follower.confirmedAtMs ?? this.#confirmedAtMs;
      this.#follower = undefined;
    }
  }

  #progressed(replica: Replica): void {
    const { ownership } = replica;
    this.#tellReaders(replica);
    // A split's seal is its owner's business, and whoever is to be the owner next must be able to finish it.
    if (ownership?.kind === "seal" && ownership.payload.reason !== "split") this.#sealed(ownership.payload);
  }

  #tellReaders({ end }: Replica): void {
    for (const { sequence, reached } of [...this.#readers]) if ((end?.sequence ?? 0) >= sequence) reached();
  }

  #sealed(seal: SealPayload): void {
    if (this.#isSealed) return;
    this.#isSealed = true;
    this.#parts.onSealed(seal);
    this.#changed?.();
  }

  // ------------------------------------------------------------------------------------------------------------- owning

  async #own(replica: Replica): Promise<void> {
    const assignment = this.#ownAssignment;
    if (assignment === undefined) return;
    const { host, member, anchors } = this.#parts;
    await this.#beginLog(replica);
    this.#parts.beforeClaim(replica);
    const isWanted = (): boolean => this.#wantsToOwn && this.#ownAssignment === assignment;
    const outcome = await claim({
      host,
      replica,
      member,
      assignment,
      anchors,
      behind: this.#handed?.assignment === assignment - 1 ? this.#handed.end : undefined,
      isWanted,
      isOvertaken: this.#isOvertaken,
    });
    if (outcome.kind === "sealed") {
      const isHalfSplit = outcome.seal.reason === "split" && this.#intent === "split";
      return isHalfSplit ? this.#split(replica) : this.#sealed(outcome.seal);
    }
    if (outcome.kind === "unwanted") {
      // A later assignment's claim stands there, and the system log will tell.
      if (isWanted()) await this.#pause(retryMs);
      return;
    }
    this.#confirmedAtMs = host.clock.monotonicMs();
    await this.#serve(replica, assignment, outcome.epoch, isWanted);
  }

  /** A log without any record: whoever is assigned first writes its genesis. */
  async #beginLog(replica: Replica): Promise<void> {
    if (replica.end !== null) return;
    const { last } = await replica.log.bounds();
    if (last > 0) return;
    const { host, cluster } = this.#parts;
    await appendGenesis(new OwnedLog(replica, host.clock), host, cluster.systemName, cluster.secret);
  }

  async #serve(replica: Replica, assignment: number, epoch: number, isWanted: () => boolean): Promise<void> {
    let stopped: OnefoldError | undefined;
    const quarantined = this.#parts.quarantined();
    const owned = openOwnedShard({ ...this.#parts, quarantined }, replica, epoch, (error) => {
      stopped = error;
      this.#owned = undefined;
      this.#changed?.();
    });
    if (stopped === undefined) {
      this.#owned = owned;
      this.#quarantined = quarantined;
      this.#parts.onOwned(epoch);
    }
    const isStopped = (): boolean => stopped !== undefined;
    const isToGoOn = (): boolean => !isStopped() && isWanted() && this.#intent === "serve";
    do {
      // A shard object's quarantine stays as it is: what waits for its end is looked for when the next one begins.
      while (isToGoOn() && this.#parts.quarantined() === quarantined) await this.#change();
      if (!isStopped() && this.#isMoving) await this.#whileServing(this.#parts.nextIsReady(replica.end!), isStopped);
      // What it was to move to may have gone meanwhile.
    } while (isToGoOn() && this.#parts.quarantined() === quarantined);
    if (!isStopped() && this.#isMoving) await this.#whileServing(owned.snapshots.stop(), isStopped);
    const isToBeginAnew = isToGoOn();
    this.#owned = undefined;
    await owned.snapshots.stop();
    const isToSplit = this.#intent === "split" && !this.#isClosing;
    let failure: { readonly error: unknown } | undefined;
    await owned.shard.close({
      settleMs: this.#parts.limits.handoverMs,
      // As early as possible: the next owner need not wait until the store is brought up to date here.
      onQuiet: async () => {
        try {
          const isKept = isToSplit || (isToBeginAnew && isToGoOn());
          if (!isKept) await this.#release(replica, assignment, epoch);
        } catch (error) {
          failure = { error };
        }
      },
    });
    if (failure !== undefined) throw (failure as { readonly error: unknown }).error;
    if (stopped === undefined && isToSplit) await this.#split(replica);
    else if (stopped !== undefined && (stopped as OnefoldError).code === "damaged") throw stopped;
  }

  get #isMoving(): boolean {
    return this.#intent === "move" && !this.#isClosing && !this.#isSealed;
  }

  /** Until that is done, or nobody waits for it any more. */
  async #whileServing(preparation: Promise<void>, isStopped: () => boolean): Promise<void> {
    let isDone = false;
    const done = preparation.finally(() => {
      isDone = true;
    });
    while (!isDone && !isStopped() && this.#isMoving) await Promise.race([done, this.#change()]);
  }

  async #split(replica: Replica): Promise<void> {
    await replica.fold();
    await this.#parts.split(replica);
    // Until the system log tells what has come of it.
    await this.#pause(retryMs);
  }

  /** SH3. */
  async #release(replica: Replica, assignment: number, epoch: number): Promise<void> {
    const { host, member } = this.#parts;
    const end = { ...replica.end!, timeMs: replica.timeMs };
    const wallMs = host.clock.wallMs();
    const record = nextRecord(end, { kind: "release", epoch, wallMs }, { member });
    const giveUpAtMs = host.clock.monotonicMs() + releaseMs;
    const isWanted = (): boolean => host.clock.monotonicMs() < giveUpAtMs;
    const fate = await sendUntilKnown(replica.log, record.sequence, record, { timers: host.timers, isWanted });
    this.#doneWith = assignment;
    if (fate === "ours") {
      this.#parts.tellNext({ assignment, end: record });
      await replica.take(record.bytes);
    }
    // Whatever has come of the record: this node writes no more, and the next claim needs no release, it only comes later.
    this.#parts.onReleased(assignment, replica.reach ?? undefined);
  }

  // ------------------------------------------------------------------------------------------------------------ waiting

  async #idle(): Promise<void> {
    this.#isIdle = true;
    await this.#change();
    this.#isIdle = false;
  }

  /** Resolves when something has changed that the loop looks at. */
  async #change(): Promise<void> {
    if (this.#isClosing) return;
    await new Promise<void>((resolve) => {
      this.#changed = resolve;
    });
    this.#changed = undefined;
  }

  async #pause(delayMs: number): Promise<void> {
    if (this.#isClosing) return;
    let timer: { cancel(): void } | undefined;
    const passed = new Promise<void>((resolve) => {
      timer = this.#parts.host.timers.after(delayMs, resolve, { keepsAlive: true });
    });
    await Promise.race([passed, this.#change()]);
    timer?.cancel();
  }
}

/** What a shard's owner has said to the one it moves to: it has released the shard, with this as the log's end. */
export interface Handed {
  /** The owner's that has released it. */
  readonly assignment: number;
  readonly end: Pick<LogPosition, "sequence" | "hash">;
}

/** So long an owner that stops waits for its release to be acknowledged. */
const releaseMs = 3000;

function isSameRole(one: ShardRole, other: ShardRole): boolean {
  if (one.kind === "owner" && other.kind === "owner") {
    return one.assignment === other.assignment && one.intent === other.intent;
  }
  if (one.kind === "next" && other.kind === "next") return one.assignment === other.assignment;
  return one.kind === other.kind;
}
