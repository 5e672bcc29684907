/** The locks of what a transaction has prepared at one slot: held until its outcome is known, by whoever owns the shard. */
import { assert } from "../base/assert.ts";
import type { Core } from "../entity/core.ts";
import type { LivePrepared } from "../entity/live-transactions.ts";
import { type Age, EntityLock, type LockHolder } from "../entity/locks.ts";
import type { TransactionId } from "../entity/transaction-parts.ts";
import type { Inquirer } from "./inquiries.ts";
import type { Transaction } from "./transaction.ts";

export class PreparedLocks implements LockHolder, Inquirer {
  readonly id: TransactionId;
  readonly slot: number;
  readonly age: Age;
  readonly isPrepared = true;
  heardMs: number;
  isAsking = false;
  #locks: readonly EntityLock[] = [];

  private constructor({ part }: Pick<LivePrepared, "part">, heardMs: number) {
    this.id = part.id;
    this.slot = part.slot;
    this.age = part.age;
    this.heardMs = heardMs;
  }

  /** From the transaction that has just been prepared. */
  static takenOver(prepared: Pick<LivePrepared, "part">, transaction: Transaction, nowMs: number): PreparedLocks {
    const locks = new PreparedLocks(prepared, nowMs);
    locks.#locks = transaction.handOver(locks);
    return locks;
  }

  /** As the log says, in a memory where nobody else has a lock yet. Throws `damaged`. */
  static taken(core: Core, prepared: LivePrepared): PreparedLocks {
    const locks = new PreparedLocks(prepared, Number.NEGATIVE_INFINITY);
    const taken: EntityLock[] = [];
    for (const { tenant, kind, id, mode } of prepared.part.locks) {
      const definition = core.definitionOf(kind);
      // Nothing runs on a kind that the system does not have any more.
      if (definition === undefined) continue;
      const live = core.entityAt(definition, prepared.part.slot, tenant, id);
      live.lock ??= new EntityLock();
      const isGranted = live.lock.acquire(locks, mode, { granted: () => undefined });
      assert(isGranted, "what is prepared at the same time does not conflict");
      taken.push(live.lock);
    }
    locks.#locks = taken;
    return locks;
  }

  /** Is waited for: it has all its locks, and waits for nobody's. */
  wound(): void {
    // Nothing: its home alone can end it.
  }

  release(): void {
    for (const lock of this.#locks) lock.release(this);
    this.#locks = [];
  }
}
