/**
 * Locks on one entity: strict two-phase locking with wound-wait (Rosenkrantz, Stearns and Lewis, 1978).
 *
 * K1  Holders that conflict never hold at once. Shared conflicts with exclusive, exclusive with everything.
 * K2  Who waits, waits only for older holders, or for one that ends without waiting for any lock (a plain command, or a
 *     transaction that is prepared and has all its locks): so there is no cycle, hence no deadlock. Ages are ordered over all
 *     shards, so that this holds for what waits at one shard and holds at another.
 * K3  Waiters are served oldest first, and nobody overtakes an older waiter that conflicts with him.
 *
 * Nearly every lock is taken by one holder, alone and exclusively, and given back before anyone else asks: that way makes no
 * object.
 */

export type LockMode = "shared" | "exclusive";

/** Unique, but for the holders of one transaction, which are at different entities. A transaction that is retried keeps its first. */
export interface Age {
  /** Log time of the shard where it began. */
  readonly timeMs: number;
  /** Counts what its owner has begun. */
  readonly count: number;
  readonly owner: string;
}

/** The order of ages, over all shards and whatever their clocks: by time, then by count, then by owner. */
export function isOlder(a: Age, b: Age): boolean {
  if (a.timeMs !== b.timeMs) return a.timeMs < b.timeMs;
  if (a.count !== b.count) return a.count < b.count;
  return a.owner < b.owner;
}

export interface LockHolder {
  readonly age: Age;
  /** It may be decided already, elsewhere: what it will do to the entity can't be known here until it lets go. */
  readonly isPrepared?: boolean;
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
  /** Reads that wait until a prepared holder lets go. */
  #reads: Set<LockWaiter> | undefined = undefined;

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

  /** `to` holds what `from` has held, at once; nobody who waits comes between. */
  handOver(from: LockHolder, to: LockHolder): void {
    if (this.#exclusive === from) this.#exclusive = to;
    const at = this.#sharers.indexOf(from);
    if (at >= 0) this.#sharers[at] = to;
  }

  /** In which mode the holder has it. */
  modeOf(holder: LockHolder): LockMode {
    return this.#exclusive === holder ? "exclusive" : "shared";
  }

  /** A prepared transaction is going to change the entity, or to leave it as it is: a read has to wait. */
  get isUndecided(): boolean {
    return this.#exclusive?.isPrepared === true;
  }

  /** `waiter` is told when it is decided; it holds nothing then. */
  awaitDecision(waiter: LockWaiter): void {
    this.#reads ??= new Set();
    this.#reads.add(waiter);
  }

  /** It waits for the decision no more. */
  stopAwaiting(waiter: LockWaiter): void {
    this.#reads?.delete(waiter);
  }

  #tellReads(): void {
    const reads = this.#reads;
    this.#reads = undefined;
    for (const read of reads ?? []) read.granted();
  }

  /** Lets go, also of its place in the queue, and grants to whom it frees. Harmless if it holds nothing. */
  release(holder: LockHolder): void {
    if (this.#exclusive === holder) this.#exclusive = undefined;
    else if (this.#sharers.length > 0) this.#removeSharer(holder);
    if (this.#reads !== undefined && !this.isUndecided) this.#tellReads();
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
      (place) => isOlder(place.holder.age, holder.age) && (mode === "exclusive" || place.mode === "exclusive"),
    );
  }

  #enqueue(place: Place): void {
    let at = this.#queue.length;
    while (at > 0 && isOlder(place.holder.age, this.#queue[at - 1]!.holder.age)) at--;
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
    const isInTheWay = (other: LockHolder) => isOlder(holder.age, other.age) && asked?.has(other) !== true;
    if (this.#exclusive !== undefined) return isInTheWay(this.#exclusive) ? this.#exclusive : undefined;
    return mode === "exclusive" ? this.#sharers.find(isInTheWay) : undefined;
  }
}
