/**
 * Locks on one entity: strict two-phase locking with wound-wait (Rosenkrantz, Stearns and Lewis, 1978).
 *
 * K1  Holders that conflict never hold at once. Shared conflicts with exclusive, exclusive with everything.
 * K2  Who waits, waits only for older holders, or for one that ends without waiting for any lock (a plain command): so there
 *     is no cycle, hence no deadlock.
 * K3  Waiters are served oldest first, and nobody overtakes an older waiter that conflicts with him.
 */

export type LockMode = "shared" | "exclusive";

export interface LockHolder {
  /** Unique; smaller is older. A transaction that is retried keeps its first. */
  readonly age: number;
  /** Asks a younger holder to give way. It has let go of all its locks when this returns, unless it ends by itself soon. */
  wound(): void;
}

interface Waiter {
  readonly holder: LockHolder;
  readonly mode: LockMode;
  /** Called when the lock has been granted to `holder`. */
  readonly granted: () => void;
}

export class EntityLock {
  readonly #holders = new Map<LockHolder, LockMode>();
  #waiters: Waiter[] = [];

  get isFree(): boolean {
    return this.#holders.size === 0 && this.#waiters.length === 0;
  }

  get waiterCount(): number {
    return this.#waiters.length;
  }

  holds(holder: LockHolder, mode: LockMode): boolean {
    const held = this.#holders.get(holder);
    return held === "exclusive" || (held !== undefined && held === mode);
  }

  #conflicts(holder: LockHolder, mode: LockMode): LockHolder[] {
    const conflicting: LockHolder[] = [];
    for (const [other, held] of this.#holders) {
      if (other !== holder && (mode === "exclusive" || held === "exclusive")) conflicting.push(other);
    }
    return conflicting;
  }

  #hasOlderWaiter(holder: LockHolder, mode: LockMode): boolean {
    return this.#waiters.some(
      (waiter) => waiter.holder.age < holder.age && (mode === "exclusive" || waiter.mode === "exclusive"),
    );
  }

  /** True if granted at once. Else the holder waits, younger holders in its way have been wounded, `granted` is called later. */
  acquire(holder: LockHolder, mode: LockMode, granted: () => void): boolean {
    if (this.holds(holder, mode)) return true;
    if (this.isFree) {
      this.#holders.set(holder, mode);
      return true;
    }
    this.#woundYounger(holder, mode);
    if (this.#conflicts(holder, mode).length === 0 && !this.#hasOlderWaiter(holder, mode)) {
      this.#holders.set(holder, mode);
      return true;
    }
    this.#waiters.push({ holder, mode, granted });
    this.#waiters.sort((a, b) => a.holder.age - b.holder.age);
    return false;
  }

  /** One after the other, because what one lets go may be granted to the next younger one. Each is asked once. */
  #woundYounger(holder: LockHolder, mode: LockMode): void {
    const asked = new Set<LockHolder>();
    for (;;) {
      const younger = this.#conflicts(holder, mode).find((other) => holder.age < other.age && !asked.has(other));
      if (younger === undefined) return;
      asked.add(younger);
      younger.wound();
    }
  }

  /** Lets go, also of its place in the queue, and grants to whom it frees. Harmless if it holds nothing. */
  release(holder: LockHolder): void {
    this.#holders.delete(holder);
    if (this.#waiters.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => waiter.holder !== holder);
    while (this.#waiters.length > 0) {
      const { holder: next, mode, granted } = this.#waiters[0]!;
      if (this.#conflicts(next, mode).length > 0) return;
      this.#waiters.shift();
      // Of two of its waiters the stronger one may have come first.
      if (!this.holds(next, mode)) this.#holders.set(next, mode);
      granted();
    }
  }
}
