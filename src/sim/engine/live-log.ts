/** A log of the simulated engine as one life of a node has it: the port, and what goes wrong on it by chance (`engine-faults.ts`). */
import { assert } from "../../base/assert.ts";
import type { EngineAppendOutcome, EngineLog, LogBounds, TailListener } from "../../log/engine-log.ts";
import { EngineTail } from "./engine-tail.ts";
import type { Replica } from "./replica.ts";
import type { AppendListener, ReplicaGroup } from "./replica-group.ts";
import { type EngineSession, type Reply, type SessionWorld, unavailable } from "./session.ts";

/** What logs need of the engine. */
export interface LiveLogWorld extends SessionWorld {
  /** Undefined for a log of which the engine knows nothing. */
  group(name: string): ReplicaGroup | undefined;
}

/** How many records a stale answer is behind at most. */
const staleRecordsMax = 10;

/** Finds who leads `group` as seen from `server`, and does there what is asked; there is no answer where nobody leads. */
export function atLeader<T>(
  { servers }: SessionWorld,
  asked: { readonly group: ReplicaGroup; readonly server: string; readonly reply: Reply<T> },
  perform: (leader: Replica) => void,
): void {
  const { group, server, reply } = asked;
  const leader = group.leaderFrom(server, (other) => servers.isUp(other) && servers.isOpen(server, other));
  const step = () => {
    // It may have been paused, and deposed meanwhile.
    if (leader?.leadsTerm === undefined) reply.silence();
    else perform(leader);
  };
  if (leader === undefined || !servers.arrive(leader.server, step)) reply.silence();
}

export class LiveLog implements EngineLog {
  readonly name: string;
  readonly #world: LiveLogWorld;
  readonly #session: EngineSession;
  readonly #tails: Set<EngineTail>;

  constructor(world: LiveLogWorld, session: EngineSession, options: { name: string; tails: Set<EngineTail> }) {
    this.#world = world;
    this.#session = session;
    this.name = options.name;
    this.#tails = options.tails;
  }

  append(sequence: number, bytes: Uint8Array): Promise<EngineAppendOutcome> {
    assert(Number.isSafeInteger(sequence) && sequence >= 1, "sequences are whole numbers from 1");
    const sent = bytes.slice();
    const { rates, times, counts } = this.#world;
    const { random } = this.#session;
    const [lateMin, lateMax] = times.latenessMs;
    const lateMs = random.chance(rates.lateAppend) ? times.answerMs + lateMin + random.next() * (lateMax - lateMin) : 0;
    return this.#session.ask<EngineAppendOutcome>({
      lateMs,
      bytes: sent.length,
      perform: (server, reply) => {
        const group = this.#world.group(this.name);
        if (group === undefined) {
          reply.answer({ value: { kind: "unknown", cause: unavailable("The engine knows no such log.") } });
          return;
        }
        atLeader(this.#world, { group, server, reply }, (leader) => {
          if (reply.isExpired) counts.add("late-append");
          if (random.chance(rates.falseRefusal)) {
            counts.add("false-refusal");
            reply.answer({ value: { kind: "refused" } });
          } else group.append(leader, sequence, sent, this.#listener(reply));
        });
      },
      expired: () => ({ value: { kind: "unknown", cause: unavailable("The engine didn't answer in time.") } }),
    });
  }

  #listener(reply: Reply<EngineAppendOutcome>): AppendListener {
    const { rates, counts } = this.#world;
    return {
      appended: () => {
        const isLost = this.#session.random.chance(rates.ambiguousAppend);
        if (!isLost && reply.answer({ value: { kind: "appended" } })) return;
        counts.add("ambiguous-append");
        reply.silence();
      },
      refused: () => void reply.answer({ value: { kind: "refused" } }),
      delayed: () => reply.silence(),
    };
  }

  read(sequence: number): Promise<Uint8Array | undefined> {
    return this.#look(sequence, (replica, end) => (sequence > end ? undefined : replica.read(sequence)?.slice()));
  }

  readMany(sequence: number, bytesMax: number): Promise<readonly Uint8Array[]> {
    return this.#look(sequence, (replica, end) => {
      const found: Uint8Array[] = [];
      let bytesCount = 0;
      for (let next = sequence; next <= end && (found.length === 0 || bytesCount < bytesMax); next++) {
        const bytes = replica.read(next);
        if (bytes === undefined || (found.length > 0 && bytesCount + bytes.length > bytesMax)) break;
        found.push(bytes.slice());
        bytesCount += bytes.length;
      }
      return found;
    });
  }

  bounds(): Promise<LogBounds> {
    return this.#look(undefined, (replica, end) => ({ first: replica.first, last: end }));
  }

  /** An answer of the leader, or of a replica, as of `end`; `wanted` is the sequence that it is about, if it is about one. */
  #look<T>(wanted: number | undefined, compute: (replica: Replica, end: number) => T): Promise<T> {
    const { servers, rates, counts } = this.#world;
    const { random } = this.#session;
    return this.#session.ask<T>({
      perform: (server, reply) => {
        const group = this.#world.group(this.name);
        if (group === undefined) {
          reply.answer({ error: unavailable("The engine knows no such log.") });
          return;
        }
        const answer = (replica: Replica) => {
          const behind = random.chance(rates.staleRead) ? random.between(1, staleRecordsMax) : 0;
          const end = Math.max(replica.first - 1, replica.commit - behind);
          const truth = group.leader?.commit ?? end;
          if (end < truth && (wanted === undefined || (wanted > end && wanted <= truth))) counts.add("stale-read");
          reply.answer({ value: compute(replica, end) });
        };
        if (!random.chance(rates.replicaRead)) {
          atLeader(this.#world, { group, server, reply }, answer);
          return;
        }
        const replicas = group.replicas.filter(
          (each) => each.server === server || servers.isConnected(server, each.server),
        );
        if (replicas.length === 0) reply.silence();
        else answer(random.pick(replicas));
      },
      expired: () => ({ error: unavailable("The engine didn't answer in time.") }),
    });
  }

  tail(sequence: number, listener: TailListener): { close(): void } {
    const tail = new EngineTail(this.#world, this.#session, {
      group: this.#world.group(this.name),
      sequence,
      listener,
      onClose: () => this.#tails.delete(tail),
    });
    this.#tails.add(tail);
    tail.check();
    return tail;
  }

  trim(sequence: number): Promise<void> {
    return this.#session.ask<void>({
      perform: (server, reply) => {
        const group = this.#world.group(this.name);
        if (group === undefined) {
          reply.answer({ error: unavailable("The engine knows no such log.") });
          return;
        }
        atLeader(this.#world, { group, server, reply }, (leader) => {
          if (leader !== group.leader || !group.isAvailable) {
            reply.silence();
            return;
          }
          group.trim(leader, sequence);
          reply.answer({ value: undefined });
        });
      },
      expired: () => ({ error: unavailable("The engine didn't answer in time.") }),
    });
  }
}
