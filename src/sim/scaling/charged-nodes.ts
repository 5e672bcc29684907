/**
 * Nodes, charged with what they do: each has one processor, on which its code takes turns (`processor.ts`). What is charged is what passes
 * between the node's code and its world: frames of other nodes, records and questions of the engine. Calls and commands the load charges.
 */
import type { Host } from "../../host/host.ts";
import type { Network } from "../../host/network.ts";
import type { EngineLog, LogEngine } from "../../log/engine-log.ts";
import { indexOfName } from "../../cluster/system-names.ts";
import type { NodeMeter } from "../cluster/simulated-cluster.ts";
import type { Scheduler } from "../scheduler.ts";
import type { NodeCosts } from "./costs.ts";
import { observedNetwork } from "./observed-network.ts";
import { Processor } from "./processor.ts";

/** What a node has done so far. */
export interface NodeWork {
  readonly processor: Processor;
  /** Records that it has appended, of shards and of the system log; and attempts that another's record came before. */
  appends: number;
  appendedBytes: number;
  systemAppends: number;
  systemRefusals: number;
  /** Records of others that it has taken in, likewise. */
  followed: number;
  systemFollowed: number;
  frames: number;
}

export class ChargedNodes implements NodeMeter {
  readonly #nodes = new Map<string, NodeWork>();
  readonly #scheduler: Scheduler;
  readonly #costs: NodeCosts;

  constructor(scheduler: Scheduler, costs: NodeCosts) {
    this.#scheduler = scheduler;
    this.#costs = costs;
  }

  of(node: string): NodeWork {
    let work = this.#nodes.get(node);
    if (work === undefined) {
      const processor = new Processor(this.#scheduler, this.#costs);
      const appending = { appends: 0, appendedBytes: 0, systemAppends: 0, systemRefusals: 0 };
      work = { processor, ...appending, followed: 0, systemFollowed: 0, frames: 0 };
      this.#nodes.set(node, work);
    }
    return work;
  }

  turns(node: string): Processor {
    return this.of(node).processor;
  }

  host(node: string, host: Host): Host {
    const { clock, timers, random, guard, trace, disk, network } = host;
    return {
      clock,
      timers,
      random,
      guard,
      trace,
      disk,
      network: this.#network(node, network),
      newScope: <T>() => host.newScope<T>(),
    };
  }

  #network(node: string, network: Network): Network {
    const work = this.of(node);
    const { frameUs, frameByteUs } = this.#costs;
    return observedNetwork(network, ({ length }) => {
      work.frames++;
      work.processor.charge(frameUs + length * frameByteUs);
    });
  }

  engine(node: string, engine: LogEngine): LogEngine {
    const log = (inner: EngineLog): EngineLog => this.#log(node, inner);
    return {
      open: async (name) => {
        const inner = await engine.open(name);
        return inner === undefined ? undefined : log(inner);
      },
      create: async (name, options) => log(await engine.create(name, options)),
      laxities: () => engine.laxities(),
      close: () => engine.close(),
    };
  }

  #log(node: string, log: EngineLog): EngineLog {
    const work = this.of(node);
    const { processor } = work;
    const { appendUs, appendByteUs, followUs, followByteUs, questionUs } = this.#costs;
    const isSystem = indexOfName(log.name) !== undefined;
    const asked = <T>(answer: Promise<T>): Promise<T> => {
      processor.charge(questionUs);
      return answer;
    };
    const followed = (bytes: Uint8Array): void => {
      if (isSystem) work.systemFollowed++;
      else work.followed++;
      processor.charge(followUs + bytes.length * followByteUs);
    };
    return {
      name: log.name,
      append: async (sequence, bytes) => {
        processor.charge(appendUs + bytes.length * appendByteUs);
        const outcome = await log.append(sequence, bytes);
        if (isSystem) {
          work.systemAppends++;
          if (outcome.kind === "refused") work.systemRefusals++;
        } else {
          work.appends++;
          work.appendedBytes += bytes.length;
        }
        return outcome;
      },
      read: (sequence) => asked(log.read(sequence)),
      readMany: async (sequence, bytesMax) => {
        const records = await asked(log.readMany(sequence, bytesMax));
        for (const bytes of records) followed(bytes);
        return records;
      },
      bounds: () => asked(log.bounds()),
      tail: (sequence, listener) =>
        log.tail(sequence, {
          record: (at, bytes) => {
            followed(bytes);
            listener.record(at, bytes);
          },
          ended: (cause) => listener.ended(cause),
        }),
      trim: (sequence) => asked(log.trim(sequence)),
    };
  }
}
