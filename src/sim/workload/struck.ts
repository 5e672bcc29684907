/**
 * Ports at which an armed watchdog may strike: a clock and a store that tell the simulated guard of every moment in which the
 * code under guard reaches them. So the stop also falls into the core's own code, as the real watchdog's does.
 */
import type { Clock, Host } from "../../host/host.ts";
import type { RangeOptions, Store, StoreEngine } from "../../store/store.ts";
import type { SimulatedGuard } from "../guard.ts";
import type { SimulatedHost } from "../host.ts";

/** The host with a clock that passes moments. */
export function struckHost(host: SimulatedHost): Host {
  const { clock, guard } = host;
  const struckClock: Clock = {
    wallMs: () => {
      guard.passMoment();
      return clock.wallMs();
    },
    monotonicMs: () => {
      guard.passMoment();
      return clock.monotonicMs();
    },
  };
  return Object.create(host, { clock: { value: struckClock } }) as Host;
}

/** An engine of stores whose reads pass moments. */
export function struckStoreEngine(engine: StoreEngine, guard: SimulatedGuard): StoreEngine {
  return {
    open: async () => struckStore(await engine.open(), guard),
    destroy: () => engine.destroy(),
  };
}

function struckStore(store: Store, guard: SimulatedGuard): Store {
  return {
    get position() {
      return store.position;
    },
    get(key: Uint8Array) {
      guard.passMoment();
      return store.get(key);
    },
    range(options: RangeOptions) {
      guard.passMoment();
      return store.range(options);
    },
    apply: (writes, position) => store.apply(writes, position),
    view: () => store.view(),
    close: () => store.close(),
  };
}
