/**
 * A command that runs on one entity by itself (not in a transaction), whoever asked for it: a caller, a message, a timer.
 *
 * It waits while a transaction holds the entity, runs speculatively, and is held until its batch is durable. What it throws
 * leaves no trace but what its asker wants kept.
 */
import { OnefoldError, type Refused } from "../base/errors.ts";
import type { EntityEffect } from "./batch.ts";
import type { Core, EntryDraft, KeptResult } from "./core.ts";
import type { CommandDefinition, EntityDefinition } from "./definition.ts";
import type { StopReason } from "../host/host.ts";
import { failureOf, stoppedFailure } from "./failure.ts";
import type { Age, EntityLock, LockHolder, LockWaiter } from "./locks.ts";
import { type CommandResult, effectOf, runCommand } from "./run-command.ts";
import type { Principal } from "./service.ts";
import type { Work } from "./work.ts";
import type { LiveEntity } from "./working-set.ts";

export abstract class EntityCommand implements Work, LockHolder, LockWaiter {
  protected readonly core: Core;
  protected readonly definition: EntityDefinition;
  protected readonly command: CommandDefinition;
  protected readonly tenant: string;
  protected readonly id: string;
  /** Where it is known; otherwise the definition says it. */
  readonly #slot: number | undefined;
  protected readonly input: unknown;
  protected readonly caller: Principal;
  readonly deadlineMs: number;
  readonly sizeBytes: number;
  isSettled = false;
  /** Since it first had to wait. */
  #age: Age | undefined = undefined;
  #stops = 0;
  /** It has been stopped once too often, and fails for that at its next turn. */
  #verdict: OnefoldError | undefined = undefined;
  /** The lock that it waits for or holds. */
  #lock: EntityLock | undefined = undefined;

  constructor(parts: {
    readonly core: Core;
    readonly definition: EntityDefinition;
    readonly command: CommandDefinition;
    readonly tenant: string;
    readonly id: string;
    readonly slot?: number;
    readonly input: unknown;
    readonly caller: Principal;
    readonly deadlineMs: number;
    readonly sizeBytes: number;
  }) {
    this.core = parts.core;
    this.definition = parts.definition;
    this.command = parts.command;
    this.tenant = parts.tenant;
    this.id = parts.id;
    this.#slot = parts.slot;
    this.input = parts.input;
    this.caller = parts.caller;
    this.deadlineMs = parts.deadlineMs;
    this.sizeBytes = parts.sizeBytes;
  }

  // ------------------------------------------------------------------------------------------------ what askers decide

  /** True if there is nothing (more) to do for it; it has settled itself or been held then. */
  protected abstract isDone(entity: LiveEntity): boolean;
  /** The entry of a success. */
  protected abstract entryOf(result: CommandResult, entity: LiveEntity): EntryDraft;
  protected abstract keptOf(result: CommandResult, entity: LiveEntity): KeptResult | undefined;
  /** Its effects are in the open batch, or there were none. `sequence` is what must be durable before anyone hears of it. */
  protected abstract succeeded(result: CommandResult, sequence: number): void;
  /** It failed; `sequence` is what it has observed. `entity` is undefined where it could not even be loaded. */
  protected abstract failed(error: OnefoldError | Refused, sequence: number, entity: LiveEntity | undefined): void;
  abstract release(): void;
  protected abstract refuse(error: OnefoldError): void;

  // --------------------------------------------------------------------------------------------------------- running

  execute(): void {
    let entity: LiveEntity | undefined;
    try {
      entity = this.#entity();
      if (this.isDone(entity)) return this.#unlock();
      if (this.#verdict !== undefined) return this.#afterFailure(this.#verdict, entity);
      if (!this.#acquire(entity)) return;
      const result = runCommand(entity, this.command, this.input, this.core.surroundings(this.caller));
      const sequence = this.#takeIn(entity, result);
      this.#unlock();
      this.succeeded(result, sequence);
    } catch (error) {
      this.#afterFailure(failureOf(error, `${this.definition.name}.${this.command.name}`), entity);
    }
  }

  #entity(): LiveEntity {
    const { core, definition, tenant, id } = this;
    return this.#slot === undefined
      ? core.entity(definition, tenant, id)
      : core.entityAt(definition, this.#slot, tenant, id);
  }

  #takeIn(entity: LiveEntity, result: CommandResult): number {
    const draft = this.entryOf(result, entity);
    const kept = this.keptOf(result, entity);
    const isEmpty =
      draft.effects === undefined &&
      result.messages.length === 0 &&
      draft.consumed === undefined &&
      draft.expired === undefined &&
      kept === undefined;
    if (isEmpty) {
      entity.draft = result.draft;
      return entity.lastSequence;
    }
    const entry = this.core.entry(draft, kept);
    const sequence = this.core.takeIn(entry);
    entity.draft = result.draft;
    return sequence;
  }

  #afterFailure(failure: OnefoldError | Refused, entity: LiveEntity | undefined): void {
    if (entity !== undefined) {
      entity.draft = undefined;
      this.#unlock();
    }
    this.core.reportFailure(failure, `${this.definition.name}.${this.command.name}`);
    if (failure instanceof OnefoldError && failure.code === "damaged") return this.#givenUp(failure);
    this.failed(failure, entity?.lastSequence ?? 0, entity);
  }

  /** Stored data is damaged: nothing is concluded from it, whoever asked; the shard stops (and is rebuilt). */
  #givenUp(failure: OnefoldError): void {
    if (!this.isSettled) this.refuse(failure);
    this.core.onDamage(failure);
  }

  /** What was stopped once may be innocent, and this thread have paused: nothing of it happened, so it may run again. */
  stopped(reason: StopReason): void {
    this.#stops++;
    const failure = stoppedFailure(`${this.definition.name}.${this.command.name}`, reason, this.core.limits);
    // To find the entity is the user's code too where a kind has an affinity, and may be what was stopped.
    if (this.#stops > 2) return this.#afterFailure(failure, undefined);
    if (this.#stops === 2) this.#verdict = failure;
    this.#unlock();
    this.core.executor.resubmitFirst(this);
  }

  /** The shard's own work, for which nobody waits. */
  get #isOwn(): boolean {
    return this.deadlineMs === Number.POSITIVE_INFINITY;
  }

  fail(error: OnefoldError): void {
    if (this.isSettled) return;
    this.#unlock();
    this.refuse(error);
  }

  // ----------------------------------------------------------------------------------------------------------- the lock

  get age(): Age {
    this.#age ??= this.core.nextAge();
    return this.#age;
  }

  /** Waits for nobody once it holds the lock, so it need not give way. */
  wound(): void {
    // Nothing: see above (K2).
  }

  granted(): void {
    this.core.executor.grant(this);
  }

  #acquire(entity: LiveEntity): boolean {
    const lock = entity.lock;
    // Memory was dropped while it waited, and the entity loaded anew: what it waited for is nobody's lock any more.
    if (lock !== this.#lock) this.#unlock();
    if (lock === undefined || lock.isFree) return true;
    // The shard's own works (messages, timers) are bounded elsewhere and must not be lost to a crowd of callers.
    if (!this.#isOwn && lock.waiterCount >= this.core.limits.waitingPerEntityMax) {
      throw new OnefoldError("overloaded", "Too many requests wait for this entity.", { retryAfterMs: 100 });
    }
    this.#lock = lock;
    const isGranted = lock.acquire(this, "exclusive", this);
    if (!isGranted) this.core.executor.park(this);
    return isGranted;
  }

  #unlock(): void {
    const lock = this.#lock;
    if (lock === undefined) return;
    this.#lock = undefined;
    lock.release(this);
  }

  /** The effect on the entity, for an entry; undefined for none. */
  protected effects(result: CommandResult, entity: LiveEntity): readonly EntityEffect[] | undefined {
    const effect = effectOf(entity, result);
    return effect === undefined ? undefined : [effect];
  }
}
