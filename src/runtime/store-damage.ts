/**
 * Damage to the store, told apart from damage to anything else: the store can be rebuilt from snapshot and log, the log
 * can't, and both say `damaged`. Who reads the store outside of its shard reads it through this.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Entry, StoreView } from "../store/store.ts";

/** Reading the store has found `damage`. Stays within the runtime: callers of a node never see it. */
export class StoreDamage extends Error {
  override readonly name = "StoreDamage";
  readonly damage: OnefoldError;

  constructor(damage: OnefoldError) {
    super(damage.message, { cause: damage });
    this.damage = damage;
  }
}

/** What `read` gives. Throws `StoreDamage` where it throws `damaged`. */
export function readingStore<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof OnefoldError && error.code === "damaged") throw new StoreDamage(error);
    throw error;
  }
}

/** The same view, whose reads throw `StoreDamage` where those of `view` throw `damaged`. Closing it closes `view`. */
export function watchedView(view: StoreView): StoreView {
  return {
    get position() {
      return view.position;
    },
    get: (key) => readingStore(() => view.get(key)),
    range: (options) => watchedRange(() => view.range(options)),
    close: () => view.close(),
  };
}

function* watchedRange(range: () => Iterable<Entry>): IterableIterator<Entry> {
  const entries = readingStore(() => range()[Symbol.iterator]());
  try {
    for (;;) {
      const next = readingStore(() => entries.next());
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    entries.return?.();
  }
}
