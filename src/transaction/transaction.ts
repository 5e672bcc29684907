/**
 * One attempt of one transaction: its private versions of entities, its locks, its messages. Nothing of it is visible to
 * anyone else before it commits (T1), and nothing of it stays if it does not (T2).
 */
import { OnefoldError } from "../base/errors.ts";
import type { EntityEffect } from "../entity/batch.ts";
import type { Core } from "../entity/core.ts";
import { EntityLock, type LockHolder, type LockMode } from "../entity/locks.ts";
import type { UnnumberedMessage } from "../entity/run-command.ts";
import type { Principal } from "../entity/service.ts";
import type { LiveEntity } from "../entity/working-set.ts";
import { TransactionEntity } from "./transaction-entity.ts";

/** Why an attempt ended without its body having decided so. */
export class Aborted extends Error {
  override readonly name = "Aborted";
  /** True: the transaction may be tried again. */
  readonly isRetried: boolean;
  constructor(message: string, { isRetried }: { readonly isRetried: boolean }) {
    super(message);
    this.isRetried = isRetried;
  }
}

/** One for all: making an error costs ten microseconds, and under contention it is made often. */
const wounded = new Aborted("An older transaction needed what this one had locked.", { isRetried: true });

export class Transaction implements LockHolder {
  readonly core: Core;
  /** T3: kept through all attempts, so that a transaction gets older than those that wound it. */
  readonly age: number;
  readonly caller: Principal;
  /** When its caller stops waiting. */
  readonly deadlineMs: number;
  readonly #entities = new Map<LiveEntity, TransactionEntity>();
  readonly #locks = new Map<LiveEntity, EntityLock>();
  readonly messages: UnnumberedMessage[] = [];
  /** What must be durable before anyone hears of what this attempt has seen (G3). */
  observedSequence = 0;
  #aborted: Aborted | undefined = undefined;
  #isOver = false;
  readonly #onAbort: (reason: Aborted) => void;

  constructor(parts: {
    readonly core: Core;
    readonly age: number;
    readonly caller: Principal;
    readonly deadlineMs: number;
    readonly onAbort: (reason: Aborted) => void;
  }) {
    this.core = parts.core;
    this.age = parts.age;
    this.caller = parts.caller;
    this.deadlineMs = parts.deadlineMs;
    this.#onAbort = parts.onAbort;
  }

  get aborted(): Aborted | undefined {
    return this.#aborted;
  }

  /** An older transaction wants a lock that this one holds. */
  wound(): void {
    this.abort(wounded);
  }

  /** Gives up everything at once. Steps that come later fail with `reason`. */
  abort(reason: Aborted): void {
    if (this.#isOver) return;
    this.#aborted = reason;
    this.end();
    this.#onAbort(reason);
  }

  /** Lets go of all locks. */
  end(): void {
    if (this.#isOver) return;
    // A stop in the middle of this would leave locks that nobody releases.
    this.core.executor.beginTakingIn();
    this.#isOver = true;
    for (const lock of this.#locks.values()) lock.release(this);
    this.#locks.clear();
    this.#entities.clear();
  }

  /** Throws why the transaction can't go on. */
  assertOpen(): void {
    if (this.#aborted !== undefined) throw this.#aborted;
    if (this.#isOver) {
      throw new OnefoldError("command-failed", "A step was begun after its transaction had ended; await every step.");
    }
  }

  /** True if it holds the lock now; else `granted` is called when it does, unless it is aborted first. */
  lock(entity: LiveEntity, mode: LockMode, granted: () => void): boolean {
    const { limits } = this.core;
    let lock = entity.lock;
    if (lock === undefined) {
      lock = new EntityLock();
      entity.lock = lock;
    }
    if (lock.holds(this, mode)) return true;
    if (!this.#locks.has(entity) && this.#locks.size >= limits.transactionParticipantsMax) {
      throw new OnefoldError(
        "too-large",
        `A transaction may touch ${limits.transactionParticipantsMax} entities at most.`,
      );
    }
    if (lock.waiterCount >= limits.waitingPerEntityMax) {
      throw new OnefoldError("overloaded", "Too many requests wait for this entity.", { retryAfterMs: 100 });
    }
    this.#locks.set(entity, lock);
    return lock.acquire(this, mode, granted);
  }

  entity(live: LiveEntity): TransactionEntity {
    let entity = this.#entities.get(live);
    if (entity === undefined) {
      entity = new TransactionEntity(live);
      this.#entities.set(live, entity);
    }
    this.observedSequence = Math.max(this.observedSequence, live.lastSequence);
    return entity;
  }

  effects(): readonly EntityEffect[] {
    const effects: EntityEffect[] = [];
    for (const entity of this.#entities.values()) effects.push(...entity.effects());
    return effects;
  }
}
