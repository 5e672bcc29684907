/**
 * One attempt of one transaction: its private versions of entities, its locks, its messages, the steps that are under way.
 * Nothing of it is visible to anyone else before it commits (T1), and nothing of it stays if it does not (T2).
 *
 * Most transactions touch two or three entities and do one step at a time. So entities are a linked list that is searched
 * (the limit on participants keeps that cheap for all), and steps a list that is thrown away when it is empty: an array that
 * grows takes room for sixteen at once, and what is allocated per transaction is most of what one costs.
 */
import { OnefoldError } from "../base/errors.ts";
import type { EntityEffect } from "../entity/batch.ts";
import type { Core } from "../entity/core.ts";
import { type Age, EntityLock, type LockHolder, type LockMode, type LockWaiter } from "../entity/locks.ts";
import type { UnnumberedMessage } from "../entity/run-command.ts";
import type { Principal } from "../entity/service.ts";
import type { LiveEntity } from "../entity/working-set.ts";
import type { LockRecord } from "../entity/transaction-parts.ts";
import type { Value } from "../base/value.ts";
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

/** A step on an entity whose slot is another shard's. */
export interface StepElsewhere {
  readonly slot: number;
  readonly kind: string;
  readonly id: string;
  readonly target: "command" | "query";
  readonly name: string;
  readonly input: Value | undefined;
}

/** Has a step run where its slot is. Rejects with what the step threw; never settles where the transaction is over. */
export type Elsewhere = (step: StepElsewhere) => Promise<Value | undefined>;

/** A step from its call to its answer. */
export interface OpenStep {
  /** Answers it with `reason`, unless it has been answered. */
  abandon(reason: Aborted): void;
}

const noMessages: readonly UnnumberedMessage[] = [];
const noSteps: OpenStep[] = [];

export class Transaction implements LockHolder {
  readonly core: Core;
  /** T3: kept through all attempts, so that a transaction gets older than those that wound it. */
  readonly age: Age;
  readonly caller: Principal;
  /** Those whose locks it holds or waits for, in the order in which it asked for them. */
  #first: TransactionEntity | undefined = undefined;
  #last: TransactionEntity | undefined = undefined;
  #entityCount = 0;
  #steps = noSteps;
  /** Those of the open steps that are under way at other shards. */
  #stepsElsewhere = 0;
  /** Where the transaction may leave its own shard: who takes its steps there. */
  elsewhere: Elsewhere | undefined = undefined;
  /** Called once, when it has let go of its locks. */
  readonly #onEnd: (() => void) | undefined;
  #messages: UnnumberedMessage[] | undefined = undefined;
  /** What must be durable before anyone hears of what this attempt has seen (G3). */
  observedSequence = 0;
  #aborted: Aborted | undefined = undefined;
  #isOver = false;

  constructor(
    core: Core,
    parts: { readonly age: Age; readonly caller: Principal; readonly onEnd?: (() => void) | undefined },
  ) {
    this.core = core;
    this.age = parts.age;
    this.caller = parts.caller;
    this.#onEnd = parts.onEnd;
  }

  get aborted(): Aborted | undefined {
    return this.#aborted;
  }

  /** An older transaction wants a lock that this one holds. */
  wound(): void {
    this.abort(wounded);
  }

  /** Gives up everything at once. Steps that are under way, or come later, fail with `reason`. */
  abort(reason: Aborted): void {
    if (this.#isOver) return;
    this.#aborted = reason;
    this.end();
    this.abandonSteps(reason);
  }

  /** Lets go of all locks. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (let entity = this.#first; entity !== undefined; entity = entity.next) entity.lock.release(this);
    this.#first = undefined;
    this.#last = undefined;
    this.#onEnd?.();
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** It is prepared, and over: `holder` has its locks from now on. Returns them. */
  handOver(holder: LockHolder): readonly EntityLock[] {
    this.#isOver = true;
    const locks: EntityLock[] = [];
    for (let entity = this.#first; entity !== undefined; entity = entity.next) {
      entity.lock.handOver(this, holder);
      locks.push(entity.lock);
    }
    return locks;
  }

  /** Its locks, as they are written. */
  lockRecords(): readonly LockRecord[] {
    const records: LockRecord[] = [];
    for (let entity = this.#first; entity !== undefined; entity = entity.next) {
      const { tenant, kind, id } = entity.live;
      records.push({ tenant, kind, id, mode: entity.lock.modeOf(this) });
    }
    return records;
  }

  /** Throws why the transaction can't go on. */
  assertOpen(): void {
    if (this.#aborted !== undefined) throw this.#aborted;
    if (this.#isOver) {
      throw new OnefoldError("command-failed", "A step was begun after its transaction had ended; await every step.");
    }
  }

  // -------------------------------------------------------------------------------------------------------------- steps

  get hasOpenSteps(): boolean {
    return this.#steps.length > 0;
  }

  stepBegan(step: OpenStep): void {
    if (this.#steps.length === 0) this.#steps = [step];
    else this.#steps.push(step);
  }

  /** Whether none of its steps is under way at its own shard. */
  get isAway(): boolean {
    return this.#steps.length === this.#stepsElsewhere;
  }

  /** An open step goes on at another shard. */
  stepLeft(): void {
    this.#stepsElsewhere++;
  }

  stepReturned(): void {
    this.#stepsElsewhere--;
  }

  stepEnded(step: OpenStep): void {
    const at = this.#steps.indexOf(step);
    if (at < 0) return;
    if (this.#steps.length === 1) this.#steps = noSteps;
    else this.#steps.splice(at, 1);
  }

  abandonSteps(reason: Aborted): void {
    const abandoned = this.#steps;
    this.#steps = noSteps;
    for (const step of abandoned) step.abandon(reason);
  }

  // ----------------------------------------------------------------------------------------------- entities and messages

  /**
   * Its private version of an entity, once it holds the lock in that mode. Until then undefined, and `waiter` is told when it
   * does, unless it is aborted first. Throws `too-large`, `overloaded`.
   */
  lock(live: LiveEntity, mode: LockMode, waiter: LockWaiter): TransactionEntity | undefined {
    const entity = this.#find(live);
    const lock = entity?.lock ?? lockOf(live);
    if (!lock.holds(this, mode)) {
      const { limits } = this.core;
      if (entity === undefined && this.#entityCount >= limits.transactionParticipantsMax) {
        throw new OnefoldError(
          "too-large",
          `A transaction may touch ${limits.transactionParticipantsMax} entities at most.`,
        );
      }
      if (lock.waiterCount >= limits.waitingPerEntityMax) {
        throw new OnefoldError("overloaded", "Too many requests wait for this entity.", { retryAfterMs: 100 });
      }
      const added = entity ?? this.#add(new TransactionEntity(live, lock));
      if (!lock.acquire(this, mode, waiter)) return undefined;
      return this.#see(added);
    }
    return this.#see(entity!);
  }

  #see(entity: TransactionEntity): TransactionEntity {
    const { lastSequence } = entity.live;
    if (lastSequence > this.observedSequence) this.observedSequence = lastSequence;
    entity.see();
    return entity;
  }

  #find(live: LiveEntity): TransactionEntity | undefined {
    let entity = this.#first;
    while (entity !== undefined && entity.live !== live) entity = entity.next;
    return entity;
  }

  #add(entity: TransactionEntity): TransactionEntity {
    if (this.#last === undefined) this.#first = entity;
    else this.#last.next = entity;
    this.#last = entity;
    this.#entityCount++;
    return entity;
  }

  get messages(): readonly UnnumberedMessage[] {
    return this.#messages ?? noMessages;
  }

  send(messages: readonly UnnumberedMessage[]): void {
    if (messages.length === 0) return;
    this.#messages ??= [];
    for (const message of messages) this.#messages.push(message);
  }

  /** What it did to all entities. */
  effects(): readonly EntityEffect[] {
    const effects: EntityEffect[] = [];
    for (let entity = this.#first; entity !== undefined; entity = entity.next) entity.addEffects(effects);
    // Without the room that it grew into: it stays in memory until the store has it.
    return effects.slice();
  }

  /** Its effects have been taken in: what it has decoded serves whoever comes next. */
  committed(): void {
    for (let entity = this.#first; entity !== undefined; entity = entity.next) entity.giveBackDraft();
    this.end();
  }
}

/** Kept with the entity: whoever waits for a lock must find the same one as its holder. */
function lockOf(live: LiveEntity): EntityLock {
  live.lock ??= new EntityLock();
  return live.lock;
}
