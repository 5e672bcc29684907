/**
 * One server's copy of a log, with whatever damage it has suffered. What is read of it is what a client would be given; what it
 * replicates is the truth, as replicas exchange write-ahead logs, and damage is to what was applied from them.
 *
 * RP1 Entries are contiguous from `first` to `last`; what is committed is a prefix, as far as this replica knows.
 * RP2 Replicas that accepted one term hold prefixes of its leader's entries: the same objects, so that they are compared by identity.
 * RP3 Damage is this replica's alone, until another is rebuilt from it and takes the damage along (as was measured).
 */
import { assert } from "../../base/assert.ts";

/** A record as a leader took it. Replicas share it. */
export interface Entry {
  readonly sequence: number;
  readonly bytes: Uint8Array;
  /** The term of the leader that took it from a client. */
  readonly term: number;
  /** Tells the client, once, that it is committed. Given up with that leader's term. */
  waiter: (() => void) | undefined;
  isCommitted: boolean;
}

/** Wrong bytes, or null where nothing is found. */
type Damage = Uint8Array | null;

export class Replica {
  readonly server: string;
  /** The newest term whose leader this replica has followed, or led; with `last` it says whose log is newer (Raft, 5.4.1). */
  acceptedTerm = 0;
  /** The term in which this replica believes to lead. Several may believe so at once, each in a term of its own. */
  leadsTerm: number | undefined;
  /** It has missed what the leader sent, and will be told later. */
  isBehind = false;
  #first: number;
  #entries: Entry[] = [];
  /** What it knows to be committed. */
  #commit: number;
  /** What it has synced: it keeps at least that through a crash. */
  #durable: number;
  readonly #damage = new Map<number, Damage>();

  constructor(server: string, firstSequence: number) {
    this.server = server;
    this.#first = firstSequence;
    this.#commit = firstSequence - 1;
    this.#durable = firstSequence - 1;
  }

  get first(): number {
    return this.#first;
  }

  get last(): number {
    return this.#first + this.#entries.length - 1;
  }

  get commit(): number {
    return this.#commit;
  }

  entry(sequence: number): Entry | undefined {
    return this.#entries[sequence - this.#first];
  }

  /** What a client is given: the damage where there is some, and nothing that is not committed. */
  read(sequence: number): Uint8Array | undefined {
    if (sequence > this.#commit) return undefined;
    const damage = this.#damage.get(sequence);
    return damage === undefined ? this.entry(sequence)?.bytes : (damage ?? undefined);
  }

  /** The leader takes a record; not yet synced. */
  push(entry: Entry): void {
    assert(entry.sequence === this.last + 1, "entries are contiguous (RP1)");
    this.#entries.push(entry);
  }

  /** All up to `sequence` is synced. */
  sync(sequence: number): void {
    this.#durable = Math.max(this.#durable, Math.min(sequence, this.last));
  }

  /** Learns that all up to `sequence` is committed, as far as it has it; gives the entries that this is news of. */
  learnCommit(sequence: number): readonly Entry[] {
    const known = Math.min(sequence, this.last);
    if (known <= this.#commit) return [];
    const news = this.#entries.slice(Math.max(0, this.#commit + 1 - this.#first), known + 1 - this.#first);
    this.#commit = known;
    return news;
  }

  /** Takes from the leader what it lacks up to `through`, drops what the leader doesn't have; gives what was dropped. */
  follow(leader: Replica, through: number): readonly Entry[] {
    const dropped = leader.acceptedTerm === this.acceptedTerm ? [] : this.#dropOthers(leader);
    this.acceptedTerm = leader.acceptedTerm;
    this.leadsTerm = undefined;
    // What has nothing in common with the leader's begins where that does: a snapshot is sent.
    if (this.#entries.length === 0 || this.last < leader.first - 1) {
      this.#entries = [];
      this.#first = leader.first;
      this.#commit = leader.first - 1;
    } else this.trim(leader.first);
    for (let sequence = this.last + 1; sequence <= Math.min(through, leader.last); sequence++) {
      this.#entries.push(leader.entry(sequence)!);
      const damage = leader.#damage.get(sequence);
      if (damage !== undefined) this.#damage.set(sequence, damage);
    }
    this.sync(this.last);
    return dropped;
  }

  #dropOthers(leader: Replica): readonly Entry[] {
    let sequence = Math.min(this.last, leader.last);
    while (sequence >= this.#first && sequence >= leader.first && this.entry(sequence) !== leader.entry(sequence)) {
      sequence--;
    }
    return this.truncate(sequence);
  }

  /** Forgets all after `sequence`, be it committed or not; gives what that was. */
  truncate(sequence: number): readonly Entry[] {
    const kept = Math.max(0, sequence + 1 - this.#first);
    const dropped = this.#entries.splice(kept);
    this.#commit = Math.min(this.#commit, this.last);
    this.#durable = Math.min(this.#durable, this.last);
    for (const entry of dropped) this.#damage.delete(entry.sequence);
    return dropped;
  }

  /** The server's process died: of what it had not synced, it keeps `keep(count)` of `count` entries. */
  crash(keep: (count: number) => number): void {
    this.leadsTerm = undefined;
    const unsynced = this.last - Math.max(this.#durable, this.#commit);
    if (unsynced > 0) this.truncate(this.last - unsynced + keep(unsynced));
  }

  /** Forgets what is before `sequence`. */
  trim(sequence: number): void {
    const end = Math.min(sequence, this.#commit + 1);
    if (end <= this.#first) return;
    this.#entries.splice(0, end - this.#first);
    this.#first = end;
    for (const damaged of this.#damage.keys()) if (damaged < end) this.#damage.delete(damaged);
  }

  /** What reads find at `sequence` from now on. */
  damage(sequence: number, damage: Damage): void {
    assert(this.entry(sequence) !== undefined, "only what is there can be damaged");
    this.#damage.set(sequence, damage);
  }
}
