/**
 * Who wants to hear that an entity has changed: told after the change is durable, once for each batch that holds one.
 *
 * WA1  A listener that was there before a change became durable is called after it did, never before.
 * WA2  While nobody watches, a durable batch costs one comparison.
 */
import type { DurableBatch } from "./committer.ts";
import type { BinaryString } from "./keys.ts";

/** Called in the committer's turn: must be short, and must not throw. */
export type ChangeListener = () => void;

export class Watches {
  readonly #listeners = new Map<BinaryString, Set<ChangeListener>>();

  /** Calls `listener` for every durable change of the entity of this name until the returned function is called. */
  add(name: BinaryString, listener: ChangeListener): () => void {
    let listeners = this.#listeners.get(name);
    if (listeners === undefined) {
      listeners = new Set();
      this.#listeners.set(name, listeners);
    }
    const entry = (): void => listener();
    listeners.add(entry);
    return () => {
      listeners.delete(entry);
      if (listeners.size === 0 && this.#listeners.get(name) === listeners) this.#listeners.delete(name);
    };
  }

  durable(batch: Pick<DurableBatch, "entries">): void {
    if (this.#listeners.size === 0) return;
    let changed: Set<BinaryString> | undefined;
    for (const { effects } of batch.entries) {
      for (const { name } of effects) {
        if (!this.#listeners.has(name)) continue;
        changed ??= new Set();
        changed.add(name);
      }
    }
    for (const name of changed ?? []) for (const listener of [...this.#listeners.get(name)!]) listener();
  }
}
