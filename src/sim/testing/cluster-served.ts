/** The lives of a simulated cluster, as a client finds them: whichever serves just now. */
import type { SeededRandom } from "../../base/random.ts";
import type { SimulatedCluster } from "../cluster/simulated-cluster.ts";
import { deferred } from "../deferred.ts";
import type { SimulatedHost } from "../host.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ServingLife } from "./lone-node.ts";
import type { Served } from "./patient-service.ts";

export interface ClusterServedOptions {
  readonly cluster: SimulatedCluster;
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  /** A client lets go of a node that has not answered for so long and a little more. */
  readonly patienceMs: number;
}

const pollMs = 20;
const moreMs = 2000;

export class ClusterServed implements Served {
  readonly #options: ClusterServedOptions;
  readonly #ends = new WeakMap<SimulatedHost, Promise<void>>();

  constructor(options: ClusterServedOptions) {
    this.#options = options;
  }

  /** `end` also resolves where the client has waited for long enough: a node that stands still says nothing. */
  async serving(): Promise<ServingLife> {
    const { cluster, scheduler, random, patienceMs } = this.#options;
    for (;;) {
      const { serving } = cluster;
      if (serving.length > 0) {
        const { name, service } = random.pick(serving);
        const host = cluster.host(name)!;
        return { service, end: Promise.race([this.#endOf(host), scheduler.sleep(patienceMs + moreMs)]) };
      }
      await scheduler.sleep(pollMs);
    }
  }

  #endOf(host: SimulatedHost): Promise<void> {
    let end = this.#ends.get(host);
    if (end === undefined) {
      const { promise, resolve } = deferred();
      host.life.onEnd(() => resolve());
      this.#ends.set(host, promise);
      end = promise;
    }
    return end;
  }
}
