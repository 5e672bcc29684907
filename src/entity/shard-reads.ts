/**
 * What is read of a shard: queries and raw state in turns of the executor, beside commands; lists, history, changes and dead letters from the
 * log and the store.
 *
 * SRD1 Nothing is shown before it is durable (G3): what runs in a turn waits for the batches that it rests on, what is read from the store for
 *      everything that was acknowledged before.
 */
import { OnefoldError } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import type { Log } from "../log/log.ts";
import type { Past } from "../log/past.ts";
import type { Store } from "../store/store.ts";
import type { AcceptedWork } from "./accepted-work.ts";
import type { Applier } from "./applier.ts";
import { waitForBarrier } from "./barrier.ts";
import type { Changes } from "./changes.ts";
import { type Core, didYouMean } from "./core.ts";
import type { EntityDefinition } from "./definition.ts";
import { notBegunBecause } from "./failure.ts";
import { history } from "./history.ts";
import { list } from "./listing.ts";
import { ReadCall } from "./read-call.ts";
import { readState, runQuery } from "./run-command.ts";
import type {
  ChangesOptions,
  ChangesReply,
  DeadLettersReply,
  EntityAddress,
  HistoryReply,
  ListReply,
  PageOptions,
  Principal,
  QueryReply,
  ReadOptions,
  StateReply,
} from "./service.ts";
import { callOverheadBytes } from "./work.ts";
import type { LiveEntity } from "./working-set.ts";

export interface ShardReadsParts {
  readonly core: Core;
  readonly log: Log;
  readonly past: Past | undefined;
  readonly changes: Changes;
  readonly accepted: AcceptedWork;
  readonly applier: Applier;
  /** Throws where the shard does not serve this caller now. */
  readonly assertServing: (caller: Principal | "nobody") => void;
  /** By the monotonic clock. */
  readonly deadline: (deadlineMs: number | undefined) => number;
  /** What has stopped the shard. */
  readonly stopped: () => OnefoldError | undefined;
}

/** The methods of `Service` of these names. */
export class ShardReads {
  readonly #parts: ShardReadsParts;

  constructor(parts: ShardReadsParts) {
    this.#parts = parts;
  }

  async query(address: EntityAddress, name: string, input: unknown, options: ReadOptions): Promise<QueryReply> {
    const { core } = this.#parts;
    const definition = core.definition(address.kind);
    const query = definition.queries.get(name);
    if (query === undefined) {
      throw new OnefoldError(
        "unknown-query",
        `${definition.name} has no query '${name}'${didYouMean(name, definition.queries.keys())}.`,
      );
    }
    return this.#read(definition, address.id, `${definition.name}.${name}`, options, (entity) => ({
      output: runQuery(entity, query, input, core.surroundings(options.principal)).output,
      sequence: entity.lastSequence,
    }));
  }

  async state(address: EntityAddress, options: ReadOptions): Promise<StateReply> {
    const { core } = this.#parts;
    const definition = core.definition(address.kind);
    return this.#read(definition, address.id, `the state of ${definition.name}`, options, (entity) => ({
      state: readState(entity, core.surroundings(options.principal)),
      generation: entity.generation,
      version: entity.version,
      schemaVersion: definition.schemaVersion,
      sequence: entity.lastSequence,
    }));
  }

  async list(kind: string, options: PageOptions & { readonly prefix?: string }): Promise<ListReply> {
    const { core, assertServing } = this.#parts;
    assertServing(options.principal);
    const definition = core.definition(kind);
    return this.#readStore((store) => list(store, definition.name, options, core.limits));
  }

  async history(address: EntityAddress, options: PageOptions): Promise<HistoryReply> {
    const { core, log, past } = this.#parts;
    const definition = core.definition(address.kind);
    const latest = await this.#read(definition, address.id, "history", options, ({ name, lastSequence }) => ({
      name,
      lastSequence,
    }));
    return history({ log, past }, latest, options, core.limits);
  }

  async changes(options: ChangesOptions): Promise<ChangesReply> {
    const { core, changes, assertServing } = this.#parts;
    assertServing(options.principal);
    if (options.kind !== undefined) core.definition(options.kind);
    return changes.read(options);
  }

  async deadLetters(options: PageOptions & { readonly kind?: string }): Promise<DeadLettersReply> {
    const { core, assertServing } = this.#parts;
    assertServing(options.principal);
    if (options.kind !== undefined) core.definition(options.kind);
    return this.#readStore((store) => core.mailroom.deadLetters.page(store, options));
  }

  #read<T>(
    definition: EntityDefinition,
    id: string,
    what: string,
    options: ReadOptions,
    read: (entity: LiveEntity) => T,
  ): Promise<T> {
    const { core, accepted, assertServing, deadline } = this.#parts;
    assertServing(options.principal);
    if (options.sessionToken !== undefined) {
      // Its positions are reached: one log, and a read at its end sees all that any session has written or read.
      core.requests.verify(options.sessionToken, options.principal, core.committer.timeMs);
    }
    return accepted.promise((settle) =>
      core.executor.submit(
        new ReadCall<T>({
          core,
          definition,
          tenant: options.principal.tenant,
          id: parseId(id),
          what,
          deadlineMs: deadline(options.deadlineMs),
          sizeBytes: callOverheadBytes,
          read,
          settle,
        }),
      ),
    );
  }

  /** Reads what lives in the store alone: everything acknowledged before this call has to be there. */
  async #readStore<T>(read: (store: Store) => T): Promise<T> {
    const { core, accepted, assertServing, deadline } = this.#parts;
    await accepted.promise<void>((settle) => waitForBarrier(core, deadline(undefined), settle));
    await this.#flush();
    assertServing("nobody");
    try {
      return read(core.store);
    } catch (error) {
      if (error instanceof OnefoldError && error.code === "damaged") core.onDamage(error);
      throw error;
    }
  }

  async #flush(): Promise<void> {
    const { applier, stopped } = this.#parts;
    try {
      await applier.flush();
    } catch (cause) {
      const why = stopped();
      if (why !== undefined) throw notBegunBecause(why);
      throw new OnefoldError("disk-full", "What the store lists can't be brought up to date while the disk is full.", {
        cause,
      });
    }
  }
}
