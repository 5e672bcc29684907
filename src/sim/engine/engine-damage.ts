/**
 * Damage to a simulated engine: what no consensus protects from, each as it was measured on a real one. Explicit, so that a test can
 * put it where it wants; what takes no place takes the one where it is seen, the leader's replica.
 *
 * Damage is to what is there: of a log or records that aren't, nothing is damaged, and false is returned.
 */
import type { BlobAddress } from "../../store/blobs.ts";
import { flipped } from "./blob-shelf.ts";
import type { SimulatedEngine } from "./engine.ts";
import type { Replica } from "./replica.ts";
import type { ReplicaGroup } from "./replica-group.ts";

export interface RecordPlace {
  readonly log: string;
  readonly sequence: number;
  /** Whose replica. By default the one that leads the log, else any. */
  readonly server?: string;
}

export class EngineDamage {
  readonly #engine: SimulatedEngine;

  constructor(engine: SimulatedEngine) {
    this.#engine = engine;
  }

  #replica({ log, server }: Omit<RecordPlace, "sequence">): Replica | undefined {
    const group = this.#engine.existing(log);
    if (server !== undefined) return group?.replicaOf(server);
    return group?.leader ?? group?.replicas[0];
  }

  /** Records from `sequence` to `toSequence` can't be found on one replica any more, which goes on counting them. */
  hole({ sequence, toSequence = sequence, ...place }: RecordPlace & { readonly toSequence?: number }): boolean {
    const replica = this.#replica(place);
    let count = 0;
    for (let each = sequence; replica !== undefined && each <= toSequence; each++) {
      if (replica.entry(each) === undefined) continue;
      replica.damage(each, null);
      count++;
    }
    return this.#took("engine-hole", `${count} records of ${place.log} from ${sequence} are gone`, count > 0);
  }

  /** One bit of a record is another on one replica. `bit` is taken modulo those that there are. */
  flip({ sequence, bit, ...place }: RecordPlace & { readonly bit: number }): boolean {
    const replica = this.#replica(place);
    const entry = replica?.entry(sequence);
    if (replica !== undefined && entry !== undefined) replica.damage(sequence, flipped(entry.bytes, bit));
    return this.#took("engine-bit-flip", `a bit of ${place.log} at ${sequence}`, entry !== undefined);
  }

  /** At `sequence` one replica has the record of another sequence of the log: what was written there went elsewhere. */
  misdirect({ sequence, fromSequence, ...place }: RecordPlace & { readonly fromSequence: number }): boolean {
    const replica = this.#replica(place);
    const other = replica?.entry(fromSequence);
    const isThere = replica?.entry(sequence) !== undefined && other !== undefined && sequence !== fromSequence;
    if (isThere) replica.damage(sequence, other.bytes);
    return this.#took("misdirected-record", `${place.log} has ${fromSequence} at ${sequence}`, isThere);
  }

  /**
   * Two replicas end at `toSequence`: the write-ahead log of one was cut, the other was behind. The third, which has everything, is down,
   * for `downMs` if that is given. Who is elected goes on after `toSequence`, and what it commits survives the third's return.
   */
  rollback({ log, toSequence, downMs }: { log: string; toSequence: number; downMs?: number }): boolean {
    const group = this.#engine.existing(log);
    const isShorter = group !== undefined && toSequence < longestOf(group) && toSequence >= firstOf(group) - 1;
    if (isShorter) {
      const third = group.leader ?? group.replicas[0]!;
      const others = group.replicas.filter((replica) => replica !== third).map(({ server }) => server);
      this.#engine.crashServer(third.server);
      group.rollBack(others, toSequence);
      group.changed();
      if (downMs !== undefined) {
        this.#engine.scheduler.at(downMs, () => this.#engine.restartServer(third.server));
      }
    }
    return this.#took("engine-rollback", `${log} is back at ${toSequence}`, isShorter);
  }

  /** The engine answers as if there were no such log, for good or for `durationMs`; healing the engine brings it back. */
  vanish({ log, durationMs }: { readonly log: string; readonly durationMs?: number }): boolean {
    const isThere = this.#engine.group(log) !== undefined;
    if (isThere) {
      this.#engine.hide(log);
      if (durationMs !== undefined) this.#engine.scheduler.at(durationMs, () => this.#engine.show(log));
    }
    return this.#took("vanished-log", `${log} has vanished`, isThere);
  }

  /** One bit of a blob is another. */
  blob({
    name,
    address,
    bit,
  }: {
    readonly name: string;
    readonly address: BlobAddress;
    readonly bit: number;
  }): boolean {
    const shelf = this.#engine.shelf(name);
    const isThere = shelf.addresses.includes(address);
    shelf.damage(address, bit);
    return this.#took("blob-damage", `a bit of blob ${address}`, isThere);
  }

  #took(kind: Parameters<SimulatedEngine["counts"]["add"]>[0], what: string, isTaken: boolean): boolean {
    if (!isTaken) return false;
    this.#engine.counts.add(kind);
    this.#engine.scheduler.note(`damage: ${what}`);
    return true;
  }
}

function longestOf(group: ReplicaGroup): number {
  return Math.max(...group.replicas.map(({ last }) => last));
}

function firstOf(group: ReplicaGroup): number {
  return Math.max(...group.replicas.map(({ first }) => first));
}
