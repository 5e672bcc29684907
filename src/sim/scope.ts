/**
 * Scopes of simulated hosts. All of them are in one storage, each value a link to the one around it: every storage in use makes every
 * promise of the process dearer, and a simulation has one scope for each shard of each life.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Scope } from "../host/host.ts";
import type { NodeLife } from "./life.ts";

interface Frame {
  readonly scope: Scope<unknown>;
  readonly value: unknown;
  readonly outer: Frame | undefined;
}

const frames = new AsyncLocalStorage<Frame>();
/** Lives that have scopes; without any the storage is not in use. */
const lives = new Set<NodeLife>();

/** A scope of this life's code. */
export function newScope<T>(life: NodeLife): Scope<T> {
  if (life.alive && !lives.has(life)) {
    lives.add(life);
    life.onEnd(() => {
      lives.delete(life);
      if (lives.size === 0) frames.disable();
    });
  }
  return new SimulatedScope<T>();
}

class SimulatedScope<T> implements Scope<T> {
  run<R>(value: T, body: () => R): R {
    return frames.run({ scope: this, value, outer: frames.getStore() }, body);
  }

  current(): T | undefined {
    for (let frame = frames.getStore(); frame !== undefined; frame = frame.outer) {
      if (frame.scope === this) return frame.value as T;
    }
    return undefined;
  }
}

/** `callback`, to be run in the scopes that are open now, whatever runs it. */
export function boundToScopes(callback: () => void): () => void {
  const frame = frames.getStore();
  return frame === undefined ? callback : () => frames.run(frame, callback);
}
