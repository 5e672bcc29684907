/**
 * One log of a simulated engine: its replicas, who of them leads, and what is committed. Raft (Ongaro, Ousterhout 2014) as its
 * clients see it: messages between servers are not simulated one by one, only what came of them.
 *
 * RG1 Committed is what a majority of replicas has under the newest term; it survives every election, damage aside.
 * RG2 A leader is elected only by a majority of servers that run and reach it, none of whom has a newer log.
 * RG3 Entries that a deposed leader took and did not commit are dropped when it follows the next one, or, where they reached that
 *     one, are committed by its election, whatever their clients were told.
 * RG4 A leader that has lost its majority doesn't know: until it gives up it takes records, and answers reads.
 *
 * An append costs one event here. Nothing is scheduled for a group to which nothing happens.
 */
import { assert } from "../../base/assert.ts";
import { equalBytes } from "../../base/bytes.ts";
import type { SeededRandom } from "../../base/random.ts";
import type { FaultCounts } from "../faults.ts";
import type { Scheduled, Scheduler } from "../scheduler.ts";
import type { EngineCosts } from "./engine-costs.ts";
import type { EngineTimes } from "./engine-faults.ts";
import { type Entry, Replica } from "./replica.ts";

/** What a group needs to know of its servers. */
export interface GroupWorld {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly counts: FaultCounts;
  readonly times: EngineTimes;
  readonly costs: EngineCosts | undefined;
  /** Its process runs: it is neither down nor paused. */
  isRunning(server: string): boolean;
  /** Both run, and nothing is in the way between them. */
  isConnected(one: string, other: string): boolean;
  /** It takes nothing of what leaders send for now. */
  isLagging(server: string): boolean;
}

/** How a leader's client learns what became of a record. One of them is called, or none if the server dies. */
export interface AppendListener {
  /** Committed. May be called long after `delayed`. */
  appended(): void;
  /** It isn't committed in the time that this takes when all is well. */
  delayed(): void;
  refused(): void;
}

export class ReplicaGroup {
  readonly name: string;
  readonly replicas: readonly Replica[];
  readonly #world: GroupWorld;
  readonly #random: SeededRandom;
  #term = 0;
  #election: Scheduled | undefined;
  readonly #catchUps = new Map<Replica, Scheduled>();
  readonly #watchers = new Set<() => void>();
  /** Commits are in order of taking. */
  #lastCommitMs = 0;
  /** Followers that the leader was last known to reach. */
  #reached: readonly Replica[] = [];

  constructor(
    world: GroupWorld,
    options: { readonly name: string; readonly servers: readonly string[]; readonly firstSequence: number },
  ) {
    this.#world = world;
    this.#random = world.random.fork(`group-${options.name}`);
    this.name = options.name;
    this.replicas = options.servers.map((server) => new Replica(server, options.firstSequence));
    this.#elect();
    if (this.leader === undefined) this.#callElection(this.#between(this.#world.times.electionMs));
  }

  /** The leader of the newest term, if it still believes to be that. */
  get leader(): Replica | undefined {
    return this.replicas.find((replica) => replica.leadsTerm !== undefined && replica.leadsTerm === this.#term);
  }

  /** Whom `server` sends requests to: it, or one that it believes to lead. The leader may be paused. */
  leaderFrom(server: string, reaches: (other: string) => boolean): Replica | undefined {
    const own = this.replicas.find((replica) => replica.server === server);
    if (own?.leadsTerm !== undefined) return own;
    return this.#newest(this.replicas.filter((replica) => reaches(replica.server)));
  }

  /** True if the log's newest leader has a majority: then what clients send to it gets done. */
  get isAvailable(): boolean {
    const { leader } = this;
    return leader !== undefined && this.#hasMajority(leader);
  }

  replicaOf(server: string): Replica | undefined {
    return this.replicas.find((replica) => replica.server === server);
  }

  #newest(replicas: readonly Replica[]): Replica | undefined {
    let newest: Replica | undefined;
    for (const replica of replicas) {
      if ((replica.leadsTerm ?? 0) > (newest?.leadsTerm ?? 0)) newest = replica;
    }
    return newest;
  }

  get #majority(): number {
    return Math.floor(this.replicas.length / 2) + 1;
  }

  #followers(leader: Replica): readonly Replica[] {
    return this.replicas.filter((each) => each !== leader && this.#world.isConnected(leader.server, each.server));
  }

  #hasMajority(leader: Replica): boolean {
    return this.#world.isRunning(leader.server) && 1 + this.#followers(leader).length >= this.#majority;
  }

  #between([from, to]: readonly [number, number]): number {
    return from + this.#random.next() * (to - from);
  }

  /** Calls `watcher` when something was committed, dropped or trimmed, or a server has caught up. */
  watch(watcher: () => void): { close(): void } {
    this.#watchers.add(watcher);
    return { close: () => void this.#watchers.delete(watcher) };
  }

  #tell(): void {
    for (const watcher of this.#watchers) watcher();
  }

  // ------------------------------------------------------------------------------------------------------- appending

  /** A record reaches `leader`, which believes to lead. */
  append(leader: Replica, sequence: number, bytes: Uint8Array, listener: AppendListener): void {
    const term = leader.leadsTerm;
    assert(term !== undefined, "only who believes to lead takes records");
    if (sequence !== leader.last + 1) {
      this.#refuse(leader.entry(sequence), bytes, listener);
      return;
    }
    let isAnswered = false;
    const waiter = () => {
      isAnswered = true;
      listener.appended();
    };
    leader.push({ sequence, bytes, term, waiter, isCommitted: false });
    const { scheduler } = this.#world;
    this.#lastCommitMs = Math.max(this.#lastCommitMs, scheduler.nowMs + this.#commitMs(leader, bytes.length));
    scheduler.at(Math.max(0, this.#lastCommitMs - scheduler.nowMs), () => {
      if (leader.leadsTerm === term && this.#world.isRunning(leader.server)) {
        leader.sync(sequence);
        this.#replicate(leader, sequence);
      }
      if (!isAnswered) listener.delayed();
    });
  }

  #commitMs(leader: Replica, bytes: number): number {
    const { times, costs } = this.#world;
    if (costs === undefined) return this.#between(times.commitMs);
    const followers = this.replicas.filter((each) => each !== leader).map(({ server }) => server);
    return costs.commitMs(leader.server, followers, bytes);
  }

  /** The log doesn't end there, as this leader sees it. It may remember the very record (and often does: dedup by message id). */
  #refuse(standing: Entry | undefined, bytes: Uint8Array, listener: AppendListener): void {
    const isOwn = standing !== undefined && equalBytes(standing.bytes, bytes);
    if (isOwn && standing.isCommitted && this.#random.chance(0.5)) {
      listener.appended();
      return;
    }
    if (standing?.isCommitted === false) this.#world.counts.add("false-refusal");
    listener.refused();
  }

  /** Sends followers all up to `through`, and commits what a majority has. */
  #replicate(leader: Replica, through: number): void {
    for (const follower of this.#followers(leader)) {
      if (follower.isBehind || this.#world.isLagging(follower.server)) continue;
      this.#follow(follower, leader, through);
    }
    this.#commit(leader);
  }

  #follow(follower: Replica, leader: Replica, through: number): void {
    if (follower.acceptedTerm > leader.acceptedTerm) return;
    const dropped = follower.follow(leader, through);
    for (const entry of dropped) {
      entry.waiter = undefined;
      if (!entry.isCommitted) this.#world.counts.add("discarded-append");
    }
    if (dropped.length > 0) this.#tell();
  }

  #commit(leader: Replica): void {
    // Without a majority to hear from, it can't know what others have.
    if (!this.#hasMajority(leader)) return;
    // Who has accepted another term counts for nothing: its entries may be others (RG1).
    const ends = this.replicas
      .filter((each) => each.acceptedTerm === leader.acceptedTerm)
      .map((each) => each.last)
      .sort((a, b) => b - a);
    const end = ends[this.#majority - 1];
    if (end === undefined) return;
    const news = leader.learnCommit(end);
    for (const follower of this.#followers(leader)) {
      if (follower.acceptedTerm !== leader.acceptedTerm) continue;
      follower.learnCommit(leader.commit);
      follower.trim(leader.first);
    }
    for (const entry of news) {
      if (!entry.isCommitted && entry.term !== leader.leadsTerm) this.#world.counts.add("late-commit");
      entry.isCommitted = true;
      const { waiter } = entry;
      entry.waiter = undefined;
      waiter?.();
    }
    this.#tell();
  }

  /** Forgets records before `sequence`, at the leader and with it everywhere. */
  trim(leader: Replica, sequence: number): void {
    leader.trim(sequence);
    this.#replicate(leader, leader.commit);
  }

  // -------------------------------------------------------------------------------------------------- servers and ways

  /** To be called after whatever the world says of servers has changed. */
  changed(): void {
    const { leader } = this;
    if (leader !== undefined) this.#followThrough(leader);
    if (this.isAvailable) {
      this.#election?.cancel();
      this.#election = undefined;
    } else this.#callElection(this.#between(this.#world.times.electionMs));
    for (const replica of this.replicas) {
      if (replica.leadsTerm !== undefined && !this.#hasMajority(replica)) this.#doubt(replica, replica.leadsTerm);
    }
  }

  #followThrough(leader: Replica): void {
    const followers = this.#followers(leader);
    for (const replica of this.replicas) {
      if (replica === leader) continue;
      if (followers.includes(replica)) {
        if (this.#world.isLagging(replica.server)) replica.isBehind = true;
        else if (replica.isBehind) this.#catchUpLater(replica);
        continue;
      }
      // Of what was on its way when the way broke, some has arrived.
      if (this.#reached.includes(replica) && !replica.isBehind && !this.#world.isLagging(replica.server)) {
        const underWay = Math.max(0, leader.last - replica.last);
        this.#follow(replica, leader, replica.last + this.#random.integer(underWay + 1));
      }
      replica.isBehind = true;
    }
    this.#reached = followers;
    // A majority that has come back finds what had to wait for it.
    if (this.#hasMajority(leader) && leader.commit < leader.last) this.#catchUpLater(leader);
  }

  #catchUpLater(replica: Replica): void {
    if (this.#catchUps.has(replica)) return;
    const delayMs = this.#between(this.#world.times.catchUpMs);
    this.#catchUps.set(
      replica,
      this.#world.scheduler.at(delayMs, () => {
        this.#catchUps.delete(replica);
        const { leader } = this;
        if (leader === undefined || !this.#world.isRunning(leader.server)) return;
        if (replica !== leader) {
          if (!this.#world.isConnected(leader.server, replica.server) || this.#world.isLagging(replica.server)) return;
          replica.isBehind = false;
        }
        leader.sync(leader.last);
        this.#replicate(leader, leader.last);
        this.#tell();
      }),
    );
  }

  /** RG4: the leader goes on for a while. */
  #doubt(replica: Replica, term: number): void {
    this.#world.scheduler.at(this.#between(this.#world.times.giveUpMs), () => {
      if (replica.leadsTerm === term && this.#world.isRunning(replica.server) && !this.#hasMajority(replica)) {
        this.#depose(replica);
      }
    });
  }

  #depose(replica: Replica): void {
    replica.leadsTerm = undefined;
    for (let sequence = replica.commit + 1; sequence <= replica.last; sequence++) {
      replica.entry(sequence)!.waiter = undefined;
    }
  }

  #callElection(delayMs: number): void {
    this.#election ??= this.#world.scheduler.at(delayMs, () => {
      this.#election = undefined;
      this.#elect();
    });
  }

  /** RG2. Nothing if the leader is back, or nobody can be elected: then the next change calls for it again. */
  #elect(wish?: string): void {
    const { leader } = this;
    if (leader !== undefined && this.#hasMajority(leader) && wish === undefined) return;
    const eligible = this.replicas.filter((each) => this.#canWin(each));
    const choices = wish === undefined ? eligible : eligible.filter((each) => each.server === wish);
    if (choices.length === 0) return;
    const winner = this.#random.pick(choices);
    const voters = this.#followers(winner);
    for (const voter of voters) this.#depose(voter);
    for (const catchUp of this.#catchUps.values()) catchUp.cancel();
    this.#catchUps.clear();
    this.#term++;
    winner.leadsTerm = this.#term;
    winner.acceptedTerm = this.#term;
    winner.isBehind = false;
    winner.sync(winner.last);
    for (const replica of this.replicas) {
      if (replica !== winner) replica.isBehind = !voters.includes(replica);
    }
    this.#reached = voters;
    if (this.#term > 1) this.#world.counts.add("election");
    this.#world.scheduler.note(`${this.name}: ${winner.server} leads term ${this.#term} from ${winner.last}`);
    this.#replicate(winner, winner.last);
  }

  #canWin(candidate: Replica): boolean {
    if (!this.#world.isRunning(candidate.server)) return false;
    const isNoNewer = (other: Replica) =>
      other.acceptedTerm < candidate.acceptedTerm ||
      (other.acceptedTerm === candidate.acceptedTerm && other.last <= candidate.last);
    return 1 + this.#followers(candidate).filter(isNoNewer).length >= this.#majority;
  }

  /** The server's process died. Call `changed` once the world knows of it. */
  crash(server: string): void {
    const replica = this.replicaOf(server);
    if (replica === undefined) return;
    if (replica === this.leader) {
      for (const follower of this.#reached) {
        if (follower.isBehind || this.#world.isLagging(follower.server)) continue;
        const underWay = Math.max(0, replica.last - follower.last);
        this.#follow(follower, replica, follower.last + this.#random.integer(underWay + 1));
      }
    }
    this.#depose(replica);
    replica.crash((count) => this.#random.integer(count + 1));
    replica.isBehind = true;
  }

  /** The server is about to stop in good order: if it leads, another one does within a moment. */
  handOver(server: string): void {
    const { leader } = this;
    if (leader?.server !== server) return;
    if (this.#hasMajority(leader)) {
      leader.sync(leader.last);
      this.#replicate(leader, leader.last);
    }
    this.#depose(leader);
    this.#callElection(this.#between(this.#world.times.handoverMs));
  }

  /** Moves the lead to `server`, now, if a majority is for it. Says whether it leads. */
  lead(server: string): boolean {
    const { leader } = this;
    if (leader?.server === server) return true;
    if (leader !== undefined && this.#hasMajority(leader)) {
      leader.sync(leader.last);
      this.#replicate(leader, leader.last);
    }
    this.#elect(server);
    return this.leader?.server === server;
  }

  /** Damage: replicas on `servers` end at `toSequence`, and whatever they acknowledged after it is gone. Nobody leads. */
  rollBack(servers: readonly string[], toSequence: number): void {
    for (const replica of this.replicas) {
      if (replica.leadsTerm !== undefined) this.#depose(replica);
      if (servers.includes(replica.server)) replica.truncate(toSequence);
    }
    this.#tell();
  }
}
