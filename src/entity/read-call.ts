/**
 * Reads of one entity: queries, and its raw state. They take no locks: a transaction's changes show all at once. But one over
 * several shards may be decided and not known here yet, so a prepared one is waited for.
 */
import type { OnefoldError, Refused } from "../base/errors.ts";
import type { Core } from "./core.ts";
import type { EntityDefinition } from "./definition.ts";
import type { StopReason } from "../host/host.ts";
import { failureOf, stoppedFailure } from "./failure.ts";
import type { EntityLock, LockWaiter } from "./locks.ts";
import type { Settle } from "./settle.ts";
import type { Work } from "./work.ts";
import type { LiveEntity } from "./working-set.ts";

/** What a read found, and what must be durable before anyone hears of it (G3). */
export interface Found<T> {
  readonly value: T;
}

export class ReadCall<T> implements Work, LockWaiter {
  readonly #core: Core;
  readonly #definition: EntityDefinition;
  readonly #tenant: string;
  readonly #id: string;
  readonly #what: string;
  readonly #read: (entity: LiveEntity) => T;
  readonly #settle: Settle<T>;
  readonly deadlineMs: number;
  readonly sizeBytes: number;
  isSettled = false;
  /** What a prepared transaction holds that it waits for. */
  #awaited: EntityLock | undefined = undefined;
  #wasStopped = false;
  #found: Found<T> | undefined = undefined;
  #error: OnefoldError | Refused | undefined = undefined;

  constructor(parts: {
    readonly core: Core;
    readonly definition: EntityDefinition;
    readonly tenant: string;
    readonly id: string;
    /** For messages: `account.balance`. */
    readonly what: string;
    readonly deadlineMs: number;
    readonly sizeBytes: number;
    readonly read: (entity: LiveEntity) => T;
    readonly settle: Settle<T>;
  }) {
    this.#core = parts.core;
    this.#definition = parts.definition;
    this.#tenant = parts.tenant;
    this.#id = parts.id;
    this.#what = parts.what;
    this.#read = parts.read;
    this.#settle = parts.settle;
    this.deadlineMs = parts.deadlineMs;
    this.sizeBytes = parts.sizeBytes;
  }

  execute(): void {
    let sequence = 0;
    try {
      const entity = this.#core.entity(this.#definition, this.#tenant, this.#id);
      if (entity.lock?.isUndecided === true) {
        this.#awaited = entity.lock;
        this.#awaited.awaitDecision(this);
        return this.#core.executor.park(this);
      }
      sequence = entity.lastSequence;
      this.#found = { value: this.#read(entity) };
    } catch (error) {
      this.#error = failureOf(error, this.#what);
      this.#core.reportFailure(this.#error, this.#what);
      if (this.#error.code === "damaged") {
        this.release();
        return this.#core.onDamage(this.#error as OnefoldError);
      }
    }
    this.#core.committer.hold(this, sequence);
  }

  /** The entity is decided. */
  granted(): void {
    this.#core.executor.grant(this);
  }

  release(): void {
    if (this.isSettled) return;
    this.isSettled = true;
    if (this.#found !== undefined) this.#settle.resolve(this.#found.value);
    else this.#settle.reject(this.#error!);
  }

  fail(error: OnefoldError): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.#awaited?.stopAwaiting(this);
    this.#settle.reject(error);
  }

  /** Once may have been a pause of this thread alone, or another's memory. */
  stopped(reason: StopReason): void {
    if (!this.#wasStopped) {
      this.#wasStopped = true;
      return this.#core.executor.resubmitFirst(this);
    }
    this.fail(stoppedFailure(this.#what, reason, this.#core.limits));
  }
}
