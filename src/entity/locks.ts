/**
 * Locks on one entity: strict two-phase locking with wound-wait (Rosenkrantz, Stearns and Lewis, 1978).
 *
 * K1  Holders that conflict never hold at once. Shared conflicts with exclusive, exclusive with everything.
 * K2  Who waits, waits only for older holders, or for one that ends without waiting for any lock (a plain command): so there
 *     is no cycle, hence no deadlock.
 * K3  Waiters are served oldest first, and nobody overtakes an older waiter that conflicts with him.
 *
 * Nearly every lock is taken by one holder, alone and exclusively, and given back before anyone else asks: that way makes no
 * object.
 */

export type LockMode = "shared" | "exclusive";

export interface LockHolder {
  /** Unique; smaller is older. A transaction that is retried keeps its first. */
  readonly age: number;
  /** Asks a younger holder to give way. It has let go of all its locks when this returns, unless it ends by itself soon. */
  wound(): void;
}

/** What is told when a lock has been granted to the holder that it waits for: the holder itself, or one of its steps. */
export interface LockWaiter {
  granted(): void;
}

interface Place {
  readonly holder: LockHolder;
  readonly mode: LockMode;
  readonly waiter: LockWaiter;
}

export class EntityLock {
  #exclusive: LockHolder | undefined = undefined;
  /** Never one that holds exclusively. */
  readonly #sharers: LockHolder[] = [];
  /** Oldest first. */
  #queue: Place[] = [];

  /** Nobody holds it and nobody waits for it. */
  get isFree(): boolean {
    return this.#exclusive === undefined && this.#sharers.length === 0 && this.#queue.length === 0;
  }

  get waiterCount(): number {
    return this.#queue.length;
  }

  /** Exclusive is shared as well. */
  holds(holder: LockHolder, mode: LockMode): boolean {
    return this.#exclusive === holder || (mode === "shared" && this.#sharers.includes(holder));
  }

  /** True if granted at once. Else the holder waits, younger holders in its way have been wounded, `waiter` is told later. */
  acquire(holder: LockHolder, mode: LockMode, waiter: LockWaiter): boolean {
    if (this.isFree) {
      this.#grant(holder, mode);
      return true;
    }
    if (this.holds(holder, mode)) return true;
    this.#woundYounger(holder, mode);
    if (!this.#isObstructed(holder, mode) && !this.#hasOlderInQueue(holder, mode)) {
      this.#grant(holder, mode);
      return true;
    }
    this.#enqueue({ holder, mode, waiter });
    return false;
  }

  /** Lets go, also of its place in the queue, and grants to whom it frees. Harmless if it holds nothing. */
  release(holder: LockHolder): void {
    if (this.#exclusive === holder) this.#exclusive = undefined;
    else if (this.#sharers.length > 0) this.#removeSharer(holder);
    if (this.#queue.length === 0) return;
    if (this.#queue.some((place) => place.holder === holder)) {
      this.#queue = this.#queue.filter((place) => place.holder !== holder);
    }
    // Read anew each time: who is told may act at once.
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      if (this.#isObstructed(next.holder, next.mode)) return;
      this.#queue.shift();
      // Of two of its waiters the stronger one may have come first.
      if (!this.holds(next.holder, next.mode)) this.#grant(next.holder, next.mode);
      next.waiter.granted();
    }
  }

  #grant(holder: LockHolder, mode: LockMode): void {
    if (mode === "exclusive") {
      // If it was a sharer, it was the only one.
      this.#sharers.length = 0;
      this.#exclusive = holder;
    } else {
      this.#sharers.push(holder);
    }
  }

  #removeSharer(holder: LockHolder): void {
    const at = this.#sharers.indexOf(holder);
    if (at >= 0) this.#sharers.splice(at, 1);
  }

  /** Some holder conflicts with it. */
  #isObstructed(holder: LockHolder, mode: LockMode): boolean {
    if (this.#exclusive !== undefined) return this.#exclusive !== holder;
    return mode === "exclusive" && this.#sharers.some((sharer) => sharer !== holder);
  }

  #hasOlderInQueue(holder: LockHolder, mode: LockMode): boolean {
    return this.#queue.some(
      (place) => place.holder.age < holder.age && (mode === "exclusive" || place.mode === "exclusive"),
    );
  }

  #enqueue(place: Place): void {
    let at = this.#queue.length;
    while (at > 0 && this.#queue[at - 1]!.holder.age > place.holder.age) at--;
    this.#queue.splice(at, 0, place);
  }

  /** One after the other, because what one lets go may be granted to the next younger one. Each is asked once. */
  #woundYounger(holder: LockHolder, mode: LockMode): void {
    let asked: Set<LockHolder> | undefined;
    for (;;) {
      const younger = this.#youngerInTheWay(holder, mode, asked);
      if (younger === undefined) return;
      asked ??= new Set();
      asked.add(younger);
      younger.wound();
    }
  }

  #youngerInTheWay(holder: LockHolder, mode: LockMode, asked: ReadonlySet<LockHolder> | undefined) {
    const isInTheWay = (other: LockHolder) => other.age > holder.age && asked?.has(other) !== true;
    if (this.#exclusive !== undefined) return isInTheWay(this.#exclusive) ? this.#exclusive : undefined;
    return mode === "exclusive" ? this.#sharers.find(isInTheWay) : undefined;
  }
}
