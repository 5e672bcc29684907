/**
 * Where an armed watchdog may strike: a store that tells the simulated guard of every moment in which user code reaches it, which
 * then stops that code as soon as it has what it asked for.
 */
import type { RangeOptions, Store, StoreEngine } from "../../store/store.ts";
import type { SimulatedGuard } from "../guard.ts";

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
