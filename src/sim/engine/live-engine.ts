/** The simulated engine as one life of a node has it. */
import { encodeUtf8 } from "../../base/bytes.ts";
import type { EngineLog, LogEngine } from "../../log/engine-log.ts";
import type { EngineTail } from "./engine-tail.ts";
import { atLeader, LiveLog, type LiveLogWorld } from "./live-log.ts";
import type { ReplicaGroup } from "./replica-group.ts";
import { type EngineSession, unavailable } from "./session.ts";

export interface LiveEngineWorld extends LiveLogWorld {
  /** Keeps the names of all logs, as entries. */
  readonly directory: ReplicaGroup;
  readonly laxities: readonly string[];
  /** Where the directory names it; undefined for a log that was never made. */
  madeAt(name: string): number | undefined;
  isVanished(name: string): boolean;
  /** Makes a log that the directory names at `madeAt`; nothing if it exists. */
  make(name: string, options: { readonly firstSequence: number; readonly madeAt: number }): void;
}

export class LiveEngine implements LogEngine {
  readonly #world: LiveEngineWorld;
  readonly #session: EngineSession;
  readonly #tails = new Set<EngineTail>();

  constructor(world: LiveEngineWorld, session: EngineSession) {
    this.#world = world;
    this.#session = session;
    session.life.onEnd(() => this.#closeTails());
  }

  /** To be called when servers or ways have changed. */
  changed(): void {
    for (const tail of [...this.#tails]) tail.check();
  }

  async open(name: string): Promise<EngineLog | undefined> {
    const exists = await this.#session.ask<boolean>({
      perform: (server, reply) =>
        atLeader(this.#world, { group: this.#world.directory, server, reply }, (leader) => {
          const madeAt = this.#world.madeAt(name);
          reply.answer({ value: madeAt !== undefined && madeAt <= leader.commit && !this.#world.isVanished(name) });
        }),
      expired: () => ({ error: unavailable("The engine didn't answer in time.") }),
    });
    return exists ? this.#log(name) : undefined;
  }

  async create(name: string, { firstSequence }: { readonly firstSequence: number }): Promise<EngineLog> {
    const { directory } = this.#world;
    await this.#session.ask<void>({
      perform: (server, reply) =>
        atLeader(this.#world, { group: directory, server, reply }, (leader) => {
          const madeAt = this.#world.madeAt(name);
          if (this.#world.isVanished(name)) {
            reply.answer({ error: unavailable("The engine can't make this log now.") });
            return;
          }
          if (madeAt !== undefined && madeAt <= leader.commit) {
            reply.answer({ value: undefined });
            return;
          }
          const entry = leader.last + 1;
          directory.append(leader, entry, encodeUtf8(name), {
            appended: () => {
              this.#world.make(name, { firstSequence, madeAt: entry });
              reply.answer({ value: undefined });
            },
            delayed: () => reply.silence(),
            refused: () => reply.silence(),
          });
        }),
      expired: () => ({ error: unavailable("The engine didn't answer in time.") }),
    });
    return this.#log(name);
  }

  async laxities(): Promise<readonly string[]> {
    return this.#world.laxities;
  }

  async close(): Promise<void> {
    this.#session.close();
    this.#closeTails();
  }

  #log(name: string): EngineLog {
    return new LiveLog(this.#world, this.#session, { name, tails: this.#tails });
  }

  #closeTails(): void {
    for (const tail of [...this.#tails]) tail.close();
  }
}
