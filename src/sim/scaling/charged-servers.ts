/**
 * The engine's servers, charged with what their work costs: each has processors and one disk. A record is taken in by its stream's leader and
 * by two followers, which each sync it by itself; it is committed once the leader and the faster of the two have.
 */
import type { SeededRandom } from "../../base/random.ts";
import type { EngineCosts } from "../engine/engine-costs.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ScalingCosts } from "./costs.ts";
import { WorkQueue } from "./processor.ts";

/** What a server was kept busy with, in milliseconds. */
export interface ServerWork {
  readonly processor: WorkQueue;
  readonly disk: WorkQueue;
  requests: number;
  told: number;
}

export class ChargedServers implements EngineCosts {
  readonly servers: ReadonlyMap<string, ServerWork>;
  readonly #costs: ScalingCosts;
  readonly #random: SeededRandom;

  constructor(
    names: readonly string[],
    world: { readonly scheduler: Scheduler; readonly random: SeededRandom; readonly costs: ScalingCosts },
  ) {
    const { scheduler, costs } = world;
    this.#costs = costs;
    this.#random = world.random;
    this.servers = new Map(
      names.map((name) => [
        name,
        {
          processor: new WorkQueue(scheduler, { speed: costs.server.processors }),
          disk: new WorkQueue(scheduler, { speed: 1 }),
          requests: 0,
          told: 0,
        },
      ]),
    );
  }

  requestMs(server: string, bytes: number): number {
    const { requestUs, byteUs } = this.#costs.server;
    const work = this.#of(server);
    work.requests++;
    return work.processor.work(requestUs + bytes * byteUs);
  }

  commitMs(leader: string, followers: readonly string[], bytes: number): number {
    const { leadUs, followUs, byteUs, syncUs } = this.#costs.server;
    const own = this.#of(leader);
    const takenMs = own.processor.work(leadUs + bytes * byteUs);
    const ownMs = own.disk.work(syncUs, { afterMs: takenMs });
    const theirsMs = followers.map((follower) => {
      const { processor, disk } = this.#of(follower);
      const hereMs = processor.work(followUs + bytes * byteUs, { afterMs: takenMs + this.#wayMs() });
      return disk.work(syncUs, { afterMs: hereMs }) + this.#wayMs();
    });
    return Math.max(ownMs, Math.min(...theirsMs));
  }

  tellMs(server: string): number {
    return this.#of(server).processor.backlogMs;
  }

  told(server: string, bytes: number): void {
    const { tellUs, byteUs } = this.#costs.server;
    const work = this.#of(server);
    work.told++;
    work.processor.work(tellUs + bytes * byteUs);
  }

  #of(server: string): ServerWork {
    return this.servers.get(server)!;
  }

  #wayMs(): number {
    const [from, to] = this.#costs.wayMs;
    return from + this.#random.next() * (to - from);
  }
}
