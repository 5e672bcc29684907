/**
 * A tail of a simulated log. It hangs on one replica, like the ordered consumers that it stands for: a replica that is behind or cut
 * off tells nothing, one with a hole skips it without a word.
 *
 * ET1 Nothing is told after `close`, after `ended`, or after the life has ended.
 * ET2 One event tells of all that is due; none is scheduled where nothing is.
 */
import type { TailListener } from "../../log/engine-log.ts";
import type { Scheduled } from "../scheduler.ts";
import type { Replica } from "./replica.ts";
import type { ReplicaGroup } from "./replica-group.ts";
import { type EngineSession, type SessionWorld, unavailable } from "./session.ts";

/** Told in one event at most. */
const recordsPerEventMax = 256;
/** How far back a repetition goes at most. */
const repeatedRecordsMax = 5;

export interface EngineTailOptions {
  /** Undefined where the engine knows no such log: the tail ends. */
  readonly group: ReplicaGroup | undefined;
  readonly sequence: number;
  readonly listener: TailListener;
  readonly onClose: () => void;
}

export class EngineTail {
  readonly #world: SessionWorld;
  readonly #session: EngineSession;
  readonly #options: EngineTailOptions;
  readonly #replica: Replica | undefined;
  readonly #watch: { close(): void } | undefined;
  #next: number;
  #hasTold = false;
  #isTelling = false;
  #isSilent = false;
  #isClosed = false;
  #loss: Scheduled | undefined;

  constructor(world: SessionWorld, session: EngineSession, options: EngineTailOptions) {
    this.#world = world;
    this.#session = session;
    this.#options = options;
    this.#next = options.sequence;
    const { group } = options;
    const home = session.home();
    if (group !== undefined && home !== undefined) {
      this.#replica = group.replicaOf(home) ?? session.random.pick(group.replicas);
      this.#watch = group.watch(() => this.#wake());
    }
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#loss?.cancel();
    this.#watch?.close();
    this.#options.onClose();
  }

  /** To be called at the beginning, and when servers or ways have changed: a tail that has lost its server ends after a while. */
  check(): void {
    if (this.#isClosed) return;
    if (this.#isReached()) {
      this.#loss?.cancel();
      this.#loss = undefined;
      this.#wake();
      return;
    }
    const [from, to] = this.#world.times.tailLossMs;
    this.#loss ??= this.#world.scheduler.at(from + this.#session.random.next() * (to - from), () =>
      this.#end("The tail has lost its server."),
    );
  }

  #isReached(): boolean {
    const { servers, network } = this.#world;
    const server = this.#replica?.server;
    return server !== undefined && servers.isRunning(server) && network.way(server, this.#session.node) === undefined;
  }

  #end(reason: string): void {
    const { life } = this.#session;
    if (this.#isClosed) return;
    this.close();
    life.whenAwake(() => this.#options.listener.ended(unavailable(reason)));
  }

  #wake(): void {
    const replica = this.#replica;
    if (this.#isClosed || this.#isTelling || this.#isSilent || replica === undefined || !this.#isReached()) return;
    if (this.#hasTold && replica.last < this.#next - 1) {
      this.#end("The log is shorter than what was told of it.");
      return;
    }
    if (replica.commit < this.#next) return;
    this.#isTelling = true;
    const afterMs = this.#session.wayMs() + (this.#world.costs?.tellMs(replica.server) ?? 0);
    this.#world.scheduler.at(afterMs, () => this.#session.life.whenAwake(() => this.#tell(replica)));
  }

  #tell(replica: Replica): void {
    this.#isTelling = false;
    if (this.#isClosed) return;
    // What the way has swallowed meanwhile is told again, or lost with the tail.
    if (!this.#isReached()) return;
    const { life } = this.#session;
    const moment = life.count();
    if (moment === "before" || moment === "during") {
      life.end();
      return;
    }
    this.#next = Math.max(this.#next, replica.first);
    for (let told = 0; told < recordsPerEventMax && this.#next <= replica.commit && this.#goesOn(replica); told++) {
      const sequence = this.#next++;
      const bytes = replica.read(sequence);
      if (bytes === undefined || this.#misfires("tail-skip", this.#world.rates.tailSkip)) continue;
      this.#hasTold = true;
      this.#world.costs?.told(replica.server, bytes.length);
      this.#options.listener.record(sequence, bytes.slice());
    }
    if (moment === "after") life.end();
    this.#wake();
  }

  /** Draws what may go wrong before the next record; false if nothing more is told for now. */
  #goesOn(replica: Replica): boolean {
    if (this.#isClosed || this.#isSilent || !this.#session.life.alive) return false;
    const { rates } = this.#world;
    if (this.#misfires("tail-end", rates.tailEnd)) {
      this.#end("The engine has ended the tail.");
      return false;
    }
    if (this.#misfires("tail-silence", rates.tailSilence)) {
      this.#isSilent = true;
      return false;
    }
    if (this.#hasTold && this.#misfires("tail-repeat", rates.tailRepeat)) {
      this.#next = Math.max(replica.first, this.#next - this.#session.random.between(1, repeatedRecordsMax));
    }
    return true;
  }

  #misfires(kind: "tail-skip" | "tail-repeat" | "tail-silence" | "tail-end", probability: number): boolean {
    if (!this.#session.random.chance(probability)) return false;
    this.#world.counts.add(kind);
    return true;
  }
}
