/** The real host: every port as this machine and Node have it. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Host, Scope, Trace } from "../host.ts";
import { nodeClock, nodeTimers } from "./clock.ts";
import { NodeDisk } from "./disk.ts";
import { nodeGuard } from "./guard.ts";
import { NodeNetwork } from "./network.ts";
import type { NetworkTls } from "./network-tls.ts";
import { NodeRandom } from "./random.ts";
import { makeTrace } from "./trace.ts";

export interface NodeHostOptions {
  /** The disk's root; made if need be. */
  readonly dataDirectory: string;
  /** Default: text on standard error, from `info`. */
  readonly trace?: Trace;
  /** Between this node and its peers; see `NetworkTls`. */
  readonly networkTls?: NetworkTls;
  /** Where the network listens, if not at the address that peers know: `NodeNetworkOptions.listenOn`. */
  readonly networkListenOn?: string;
}

class NodeScope<T> implements Scope<T> {
  readonly #storage = new AsyncLocalStorage<T>();

  run<R>(value: T, body: () => R): R {
    return this.#storage.run(value, body);
  }

  current(): T | undefined {
    return this.#storage.getStore();
  }
}

/** Throws `DiskError` where the directory can't be made. Holds no resource that would have to be closed. */
export function nodeHost(options: NodeHostOptions): Host {
  const trace = options.trace ?? makeTrace();
  return {
    clock: nodeClock,
    timers: nodeTimers,
    random: new NodeRandom(),
    guard: nodeGuard(options.dataDirectory),
    trace,
    disk: new NodeDisk(options.dataDirectory),
    network: new NodeNetwork({
      trace,
      ...(options.networkTls === undefined ? {} : { tls: options.networkTls }),
      ...(options.networkListenOn === undefined ? {} : { listenOn: options.networkListenOn }),
    }),
    newScope: <T>() => new NodeScope<T>(),
  };
}
