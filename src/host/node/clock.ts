/** The real clock and timers. */
import { assert } from "../../base/assert.ts";
import type { Clock, Timer, Timers } from "../host.ts";

/** The platform takes no longer delay: it would fire at once instead. */
const delayMsMax = 2 ** 31 - 1;

export const nodeClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

/** A timer that never fires early: the platform's own round to whole milliseconds, and may. */
class NodeTimer implements Timer {
  readonly #dueMs: number;
  readonly #callback: () => void;
  readonly #keepsAlive: boolean;
  #timeout: NodeJS.Timeout;

  constructor(delayMs: number, callback: () => void, { keepsAlive = false }: { readonly keepsAlive?: boolean } = {}) {
    this.#keepsAlive = keepsAlive;
    this.#dueMs = performance.now() + delayMs;
    this.#callback = callback;
    this.#timeout = this.#arm(delayMs);
  }

  #arm(delayMs: number): NodeJS.Timeout {
    const timeout = setTimeout(() => this.#fire(), Math.min(Math.ceil(delayMs), delayMsMax));
    if (!this.#keepsAlive) timeout.unref();
    return timeout;
  }

  #fire(): void {
    const leftMs = this.#dueMs - performance.now();
    if (leftMs > 0) this.#timeout = this.#arm(leftMs);
    else this.#callback();
  }

  cancel(): void {
    clearTimeout(this.#timeout);
  }
}

export const nodeTimers: Timers = {
  after: (delayMs, callback, options) => {
    assert(Number.isFinite(delayMs), "a delay must be finite");
    return new NodeTimer(Math.max(0, delayMs), callback, options);
  },
  soon: (callback) => {
    setImmediate(callback);
  },
};
