/**
 * A shard: one log's owner at work. Puts the parts together and offers them as a `Service`.
 *
 * H1  A shard's memory is the fold of its store and its unapplied batches, and nothing else: `open` needs only these.
 * H2  After the log or the store has failed, the shard answers every call with the reason, and changes nothing any more.
 */
import { toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import type { Limits } from "../base/limits.ts";
import type { Value } from "../base/value.ts";
import type { Host } from "../host/host.ts";
import type { Log } from "../log/log.ts";
import { AlarmClock } from "./alarm-clock.ts";
import { AcceptedWork } from "./accepted-work.ts";
import { answerTo } from "./answers.ts";
import { Applier } from "./applier.ts";
import { decodeBatch } from "./batch.ts";
import { Changes } from "./changes.ts";
import { CommandCall, deleteCommand } from "./command-call.ts";
import { Committer, type DurableBatch } from "./committer.ts";
import { Core, didYouMean } from "./core.ts";
import type { DeadLetterCounts } from "./dead-letters.ts";
import type { CommandDefinition, EntityDefinition } from "./definition.ts";
import { Executor } from "./executor.ts";
import { notBegunBecause } from "./failure.ts";
import { keepHouse } from "./housekeeping.ts";
import { entityName } from "./keys.ts";
import { Mailroom } from "./mailroom.ts";
import { assertPrincipal } from "./principal.ts";
import { type RequestIdentity, Requests } from "./requests.ts";
import type { ShardOptions } from "./shard-options.ts";
import { ShardReads } from "./shard-reads.ts";
import type {
  CallOptions,
  CallReply,
  ChangesOptions,
  ChangesReply,
  DeadLettersReply,
  EntityAddress,
  Health,
  HistoryReply,
  ListReply,
  PageOptions,
  Principal,
  QueryReply,
  ReadOptions,
  Service,
  StateReply,
  Watch,
} from "./service.ts";
import type { Settle } from "./settle.ts";
import type { TransactionRunner } from "./transaction-runner.ts";
import { callOverheadBytes } from "./work.ts";
import { Watches } from "./watches.ts";
import { WorkingSet } from "./working-set.ts";

/** A guess at what a call's input takes in memory, where the caller doesn't say. */
const inputBytesGuess = 256;

export class Shard implements Service {
  readonly #host: Host;
  readonly #limits: Limits;
  readonly #log: Log;
  readonly #core: Core;
  readonly #committer: Committer;
  readonly #executor: Executor;
  readonly #applier: Applier;
  readonly #mailroom: Mailroom;
  readonly #alarms: AlarmClock;
  readonly #transactions: TransactionRunner;
  readonly #watches = new Watches();
  readonly #changes: Changes;
  readonly #reads: ShardReads;
  readonly #onStopped: ShardOptions["onStopped"];
  #state: Health["state"] = "starting";
  #stopped: OnefoldError | undefined = undefined;
  #isLogFull = false;
  #appendedBytes = 0;
  /** Calls that have not been answered. */
  readonly #accepted = new AcceptedWork();
  readonly #problems = new Map<string, string>();

  constructor(options: ShardOptions) {
    const { host, limits, system, log, store, neighbours } = options;
    this.#host = host;
    this.#limits = limits;
    this.#log = log;
    this.#onStopped = options.onStopped;
    const cacheBytes = options.cacheBytes ?? limits.entityCacheBytesDefault;
    const working = new WorkingSet(store, cacheBytes, options.quarantined);
    working.appliedSequence = store.position?.sequence ?? 0;
    const incarnation = options.sessionsOf ?? log.end!.incarnation;
    const requests = new Requests({ secret: options.secret, incarnation, limits });
    const core = new Core({ host, limits, system, store, working, requests, neighbours, epoch: log.end!.epoch });
    this.#core = core;
    this.#committer = new Committer({
      log,
      clock: host.clock,
      timers: host.timers,
      limits,
      lastTimeMs: options.lastTimeMs,
      ...(options.mayTellDurable === undefined ? {} : { mayTellDurable: options.mayTellDurable }),
      owner: {
        onDurable: (batch) => this.#durable(batch),
        onDropped: (error) => this.#dropped(error),
        onStopped: (error) => this.#stop(error, { isDamage: false }),
      },
    });
    this.#changes = new Changes({
      log,
      past: options.past,
      limits,
      timers: host.timers,
      durableSequence: () => this.#committer.durable.sequence,
    });
    this.#transactions = options.transactions(core);
    this.#executor = new Executor({
      host,
      limits,
      committer: this.#committer,
      afterSlice: () => this.#transactions.afterSlice(),
      onBug: (error) => this.#bug(error),
      elsewhere: {
        hasOpen: () => this.#transactions.openCount > 0,
        failExpired: (nowMs) => this.#transactions.failExpired(nowMs),
      },
    });
    this.#applier = new Applier({
      store,
      timers: host.timers,
      limits,
      trace: host.trace,
      pressure: this.#executor,
      owner: {
        applied: (pinned, sequence) => {
          working.applied(pinned, sequence);
          working.evict();
        },
        onStoreFailed: (cause) =>
          this.#stop(new OnefoldError("stopped", "The store could not be written; restart to rebuild it.", { cause }), {
            isDamage: true,
          }),
      },
    });
    this.#mailroom = new Mailroom(core, () => this.#applier.flush());
    this.#alarms = new AlarmClock(core, () => this.#applier.flush());
    core.committer = this.#committer;
    core.executor = this.#executor;
    core.mailroom = this.#mailroom;
    core.onDamage = (error) => this.#stop(error, { isDamage: true });
    this.#reads = new ShardReads({
      core,
      log,
      past: options.past,
      changes: this.#changes,
      accepted: this.#accepted,
      applier: this.#applier,
      assertServing: (caller) => this.#assertServing(caller),
      deadline: (deadlineMs) => this.#deadline(deadlineMs),
      stopped: () => this.#stopped,
    });
  }

  /** Begins to serve. */
  start(): void {
    this.#core.requests.load(this.#core.store);
    // First of all that may run: what is prepared holds its locks.
    this.#core.working.transactions.load();
    this.#transactions.load();
    this.#mailroom.load();
    this.#alarms.load();
    this.#state = "ready";
    this.#mailroom.start();
    // The first deliveries may have found the store damaged.
    if (this.#stopped !== undefined) return;
    this.#applier.start();
    this.#alarms.start();
    this.#transactions.start();
    keepHouse(this.#core, () => this.#state === "ready" || this.#state === "draining");
  }

  // ------------------------------------------------------------------------------------------------------ the committer

  #durable(batch: DurableBatch): void {
    this.#isLogFull = false;
    this.#appendedBytes += batch.sizeBytes;
    this.#core.requests.durable(batch);
    this.#applier.add(batch);
    this.#mailroom.durable(batch);
    this.#alarms.durable(batch);
    this.#transactions.durable(batch);
    this.#watches.durable(batch);
    this.#changes.durable(batch);
    // A batch that was full has kept the executor waiting.
    this.#executor.wake();
    this.#core.working.evict();
  }

  /** H1: forgets everything speculative, by forgetting everything and absorbing what is durable. */
  #dropped(error: OnefoldError): void {
    if (error.code === "disk-full") {
      if (!this.#isLogFull) this.#host.trace("error", error.message, { cause: error.cause });
      this.#isLogFull = true;
    }
    try {
      this.#forgetSpeculation();
    } catch (cause) {
      // Damage in the store, usually: memory is not the fold any more, so nothing goes on from it.
      this.#bug(cause);
    }
  }

  #forgetSpeculation(): void {
    const { working, entityOf } = this.#core;
    working.clear();
    // What the store has already is read from there.
    const appliedSequence = this.#core.store.position?.sequence ?? 0;
    for (const { payload, position } of this.#applier.pending) {
      if (position.sequence <= appliedSequence) continue;
      for (const entry of decodeBatch(payload)) working.absorb(entry, position.sequence, entityOf);
    }
    this.#mailroom.dropped();
    this.#alarms.dropped();
    this.#transactions.dropped();
    this.#executor.resubmitParked();
    // A batch that was full has kept it waiting.
    this.#executor.wake();
  }

  #bug(error: unknown): void {
    const isDamage = error instanceof OnefoldError && error.code === "damaged";
    if (!isDamage)
      this.#host.trace("error", "A bug in Onefold stopped the shard; restart it, and report this.", { error });
    const reason = isDamage ? error : new OnefoldError("stopped", "A bug stopped the shard.", { cause: error });
    this.#stop(reason, { isDamage });
    this.#committer.abandonOpen(reason);
  }

  #stop(error: OnefoldError, facts: { readonly isDamage: boolean }): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = error;
    this.#state = "stopped";
    this.#alarms.stop();
    this.#changes.end();
    // What is in a batch is in doubt, and the committer answers for it. What has not begun has certainly not happened.
    const notBegun = notBegunBecause(error);
    this.#executor.stop(notBegun);
    this.#transactions.stop(notBegun);
    this.#mailroom.stop(notBegun);
    this.#onStopped(error, facts);
  }

  // ---------------------------------------------------------------------------------------------------------- calls

  /** Also that `caller`, where a call has one, is a principal. */
  #assertServing(caller: Principal | "nobody"): void {
    if (caller !== "nobody") assertPrincipal(caller);
    if (this.#stopped !== undefined) throw notBegunBecause(this.#stopped);
    if (this.#state === "ready") {
      if (!this.#transactions.isInside) return;
      throw new OnefoldError(
        "would-wait-for-itself",
        "The ordinary client was called from inside a transaction, which would wait for itself; use the transaction's own `tx`.",
      );
    }
    throw new OnefoldError("not-ready", "The node is starting or stopping.", { retryAfterMs: 200 });
  }

  #deadline(deadlineMs: number | undefined): number {
    const { deadlineMsDefault, deadlineMsMax } = this.#limits;
    return this.#host.clock.monotonicMs() + Math.min(deadlineMs ?? deadlineMsDefault, deadlineMsMax);
  }

  #identify(options: CallOptions, target: readonly string[], input: unknown): RequestIdentity | undefined {
    if (options.session === undefined && options.idempotencyKey === undefined) return undefined;
    return this.#core.requests.identify(options, { target, input }, this.#committer.timeMs);
  }

  command(address: EntityAddress, name: string, input: unknown, options: CallOptions): Promise<CallReply> {
    return this.#accepted.promise((settle) => this.#submitCommand(address, name, input, options, settle));
  }

  beginCommand(
    address: EntityAddress,
    name: string,
    input: unknown,
    options: CallOptions,
    asker: Settle<CallReply>,
  ): void {
    this.#submitCommand(address, name, input, options, this.#accepted.settlement(asker));
    this.#accepted.accepted();
  }

  #submitCommand(
    address: EntityAddress,
    name: string,
    input: unknown,
    options: CallOptions,
    settle: Settle<CallReply>,
  ): void {
    const definition = this.#core.definition(address.kind);
    const command = definition.commands.get(name);
    if (command === undefined) {
      throw new OnefoldError(
        "unknown-command",
        `${definition.name} has no command '${name}'${didYouMean(name, definition.commands.keys())}.`,
      );
    }
    this.#call(definition, command, address.id, input, options, settle);
  }

  delete(address: EntityAddress, options: CallOptions): Promise<CallReply> {
    return this.#accepted.promise((settle) =>
      this.#call(this.#core.definition(address.kind), deleteCommand, address.id, undefined, options, settle),
    );
  }

  #call(
    definition: EntityDefinition,
    command: CommandDefinition,
    id: string,
    input: unknown,
    options: CallOptions,
    settle: Settle<CallReply>,
  ): void {
    this.#assertServing(options.principal);
    const { principal } = options;
    const call = new CommandCall({
      core: this.#core,
      definition,
      command,
      tenant: principal.tenant,
      id: parseId(id),
      input,
      caller: principal,
      deadlineMs: this.#deadline(options.deadlineMs),
      sizeBytes: callOverheadBytes + (options.inputBytes ?? inputBytesGuess),
      request: this.#identify(options, [definition.name, id, command.name], input),
      settle,
    });
    this.#executor.submit(call);
  }

  transaction(name: string, input: unknown, options: CallOptions): Promise<CallReply> {
    return this.#accepted.promise((settle) => this.#submitTransaction(name, input, options, settle));
  }

  beginTransaction(name: string, input: unknown, options: CallOptions, asker: Settle<CallReply>): void {
    this.#submitTransaction(name, input, options, this.#accepted.settlement(asker));
    this.#accepted.accepted();
  }

  #submitTransaction(name: string, input: unknown, options: CallOptions, settle: Settle<CallReply>): void {
    this.#assertServing(options.principal);
    const definition = this.#core.system.transactions.get(name);
    if (definition === undefined) {
      throw new OnefoldError(
        "unknown-transaction",
        `${this.#core.system.name} has no transaction '${name}'${didYouMean(name, this.#core.system.transactions.keys())}.`,
      );
    }
    this.#transactions.submit({
      definition,
      input,
      caller: options.principal,
      deadlineMs: this.#deadline(options.deadlineMs),
      request: this.#identify(options, [name], input),
      sizeBytes: callOverheadBytes + (options.inputBytes ?? inputBytesGuess),
      settle,
    });
  }

  // ---------------------------------------------------------------------------------------------------- other shards

  /**
   * Answers another shard (`Neighbours.ask`), once what it says is durable. Bears repetition. Rejects with `not-ready` or with
   * what has stopped the shard (both retry safe), and as the one who answers says (`answers.ts`).
   */
  async answer(type: string, body: Value): Promise<Value> {
    if (this.#stopped !== undefined) throw notBegunBecause(this.#stopped);
    if (this.#state !== "ready" && this.#state !== "draining") {
      throw new OnefoldError("not-ready", "The shard is starting or stopping.", { retryAfterMs: 200 });
    }
    return answerTo({ type, body }, { mailroom: this.#mailroom, transactions: this.#transactions });
  }

  // ---------------------------------------------------------------------------------------------------------- reads

  query(address: EntityAddress, name: string, input: unknown, options: ReadOptions): Promise<QueryReply> {
    return this.#reads.query(address, name, input, options);
  }

  state(address: EntityAddress, options: ReadOptions): Promise<StateReply> {
    return this.#reads.state(address, options);
  }

  list(kind: string, options: PageOptions & { readonly prefix?: string }): Promise<ListReply> {
    return this.#reads.list(kind, options);
  }

  history(address: EntityAddress, options: PageOptions): Promise<HistoryReply> {
    return this.#reads.history(address, options);
  }

  changes(options: ChangesOptions): Promise<ChangesReply> {
    return this.#reads.changes(options);
  }

  deadLetters(options: PageOptions & { readonly kind?: string }): Promise<DeadLettersReply> {
    return this.#reads.deadLetters(options);
  }

  watch(tenant: string, address: EntityAddress, onChange: () => void): Watch {
    this.#assertServing("nobody");
    const { name } = this.#core.definition(address.kind);
    const cancel = this.#watches.add(entityName(tenant, name, parseId(address.id)), onChange);
    return { log: toHex(this.#log.end!.incarnation), cancel };
  }

  mintSession(principal: Principal): string {
    this.#assertServing(principal);
    return this.#core.requests.mint(principal, this.#committer.timeMs, this.#host.random);
  }

  health(): Health {
    const problems = [...this.#problems.values()];
    if (this.#stopped !== undefined) problems.push(`${this.#stopped.code}: ${this.#stopped.message}`);
    if (this.#isLogFull) problems.push("disk-full: the log's disk is full; writes are refused until space is freed");
    if (this.#applier.isFull) problems.push("disk-full: the store's disk is full");
    return {
      state: this.#state,
      sequence: this.#committer.durable.sequence,
      appliedSequence: this.#core.working.appliedSequence,
      queuedCalls: this.#executor.queuedCount,
      problems,
    };
  }

  /** Shows a problem that an operator should look at in `health`, until it is set to undefined. */
  setProblem(name: string, problem: string | undefined): void {
    if (problem === undefined) this.#problems.delete(name);
    else this.#problems.set(name, problem);
  }

  /** Somebody beside the shard has found its store damaged: it stops as after damage that it has found itself. */
  reportDamage(error: OnefoldError): void {
    this.#core.onDamage(error);
  }

  /** The ownership that it appends in. */
  get epoch(): number {
    return this.#committer.durable.epoch;
  }

  /** Of its log, in hex. */
  get incarnation(): string {
    return toHex(this.#committer.durable.incarnation);
  }

  /** Bytes of log appended in this life, for the schedule of snapshots. */
  get appendedBytes(): number {
    return this.#appendedBytes;
  }

  get isLogFull(): boolean {
    return this.#isLogFull;
  }

  get applier(): Applier {
    return this.#applier;
  }

  /** For metrics. */
  get deadLetterCounts(): DeadLetterCounts {
    return this.#mailroom.deadLetters.counts;
  }

  /** For metrics: timers in memory, of which the store may hold any number. */
  get timersInMemory(): number {
    return this.#alarms.inMemoryCount;
  }

  /** What is under way, for metrics. */
  get load(): { readonly calls: number; readonly transactions: number; readonly messages: number } {
    const { openCount: transactions } = this.#transactions;
    return { calls: this.#accepted.count, transactions, messages: this.#mailroom.count };
  }

  /** Memory of the entity cache, for metrics and benchmarks. */
  get cache(): { readonly entities: number; readonly bytes: number } {
    return { entities: this.#core.working.entityCount, bytes: this.#core.working.sizeBytes };
  }

  /**
   * Finishes what it has accepted, brings the store up to date and ends. New calls get `not-ready` meanwhile, and what is not finished after
   * `settleMs` (default: its own deadline) gets it too, unless it stands in a batch. Messages and timers that are not done stay for the
   * next life. `onQuiet` is awaited when nothing more is appended, before the store is brought up to date; it must not throw. Where the
   * shard has stopped by itself it is not called.
   */
  async close({
    settleMs,
    onQuiet,
  }: {
    readonly settleMs?: number;
    readonly onQuiet?: () => Promise<void>;
  } = {}): Promise<void> {
    if (this.#state === "ready") this.#state = "draining";
    this.#alarms.stop();
    this.#changes.end();
    await this.#accepted.whenSettled(this.#host.timers, settleMs);
    const closing = new OnefoldError("not-ready", "The node is stopping.", { retryAfterMs: 1000 });
    this.#executor.stop(this.#stopped ?? closing);
    this.#transactions.stop(this.#stopped ?? closing);
    // Also after damage of the store: what is on its way to the log must have ended before that is closed.
    await this.#committer.idle();
    this.#mailroom.stop(this.#stopped ?? closing);
    if (this.#stopped === undefined) await onQuiet?.();
    if (this.#stopped === undefined) {
      await this.#applier.flush().catch((cause: unknown) => {
        // The log has it all; the next start folds it again.
        this.#host.trace("warn", "The store could not be brought up to date; the next start takes longer.", { cause });
      });
    }
    await this.#applier.stop();
    this.#state = "stopped";
  }
}
