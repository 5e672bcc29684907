/**
 * Reads of a shard that this node follows: on its own copy, at whatever has been applied (G7).
 *
 * FR1 What is read was durable in the log: nothing but whole batches of the verified copy is applied.
 * FR2 How old it may be is counted from the last moment at which the copy was seen to be all that the engine had.
 * FR3 User code runs in turns of its own, under the watchdog, as the owner's does.
 */
import { toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import type { Limits } from "../base/limits.ts";
import { guardedSlotOf } from "../entity/affinity.ts";
import type { EntityDefinition, SystemDefinition } from "../entity/definition.ts";
import { entityName } from "../entity/keys.ts";
import { readState, runQuery, type Surroundings } from "../entity/run-command.ts";
import type { EntityAddress, Principal, QueryReply, ReadOptions, StateReply } from "../entity/service.ts";
import { type LiveEntity, WorkingSet } from "../entity/working-set.ts";
import type { Host } from "../host/host.ts";
import type { FollowerReads } from "./local-shards.ts";
import type { Replica } from "./replica.ts";
import { UserLookups } from "./user-lookups.ts";

export interface FollowerReaderParts {
  readonly host: Host;
  readonly limits: Limits;
  readonly system: SystemDefinition;
  readonly replica: Replica;
  /** By the monotonic clock; undefined before the first look at the log's end. */
  readonly confirmedAtMs: () => number | undefined;
  /** Names of entities none of whose user code is to run; the same object for as long as nothing changes. */
  readonly quarantined: () => ReadonlySet<string>;
}

export class FollowerReader implements FollowerReads {
  readonly #parts: FollowerReaderParts;
  readonly #turns: UserLookups;
  /** What is decoded of the state at one position. */
  #working: WorkingSet;
  #workingAt = -1;
  #workingWith: ReadonlySet<string> | undefined;

  constructor(parts: FollowerReaderParts) {
    this.#parts = parts;
    const { host, limits } = parts;
    this.#turns = new UserLookups({ guard: host.guard, clock: host.clock, limits });
    this.#working = this.#newWorkingSet();
  }

  get incarnation(): string {
    const end = this.#parts.replica.end;
    return end === null ? "" : toHex(end.incarnation);
  }

  get sequence(): number {
    return this.#parts.replica.store.position?.sequence ?? 0;
  }

  get staleForMs(): number {
    const confirmedAtMs = this.#parts.confirmedAtMs();
    if (confirmedAtMs === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(0, this.#parts.host.clock.monotonicMs() - confirmedAtMs);
  }

  query(address: EntityAddress, name: string, input: unknown, options: ReadOptions): Promise<QueryReply> {
    const definition = this.#definition(address.kind);
    const query = definition.queries.get(name);
    if (query === undefined) {
      return Promise.reject(new OnefoldError("unknown-query", `${definition.name} has no query '${name}'.`));
    }
    return this.#turns.find(`${definition.name}.${name}`, () => {
      const entity = this.#entity(definition, address.id, options.principal);
      const { output } = runQuery(entity, query, input, this.#surroundings(options.principal));
      return { output, sequence: entity.lastSequence };
    });
  }

  state(address: EntityAddress, options: ReadOptions): Promise<StateReply> {
    const definition = this.#definition(address.kind);
    return this.#turns.find(`the state of ${definition.name}`, () => {
      const entity = this.#entity(definition, address.id, options.principal);
      return {
        state: readState(entity, this.#surroundings(options.principal)),
        generation: entity.generation,
        version: entity.version,
        schemaVersion: definition.schemaVersion,
        sequence: entity.lastSequence,
      };
    });
  }

  #definition(kind: string): EntityDefinition {
    const definition = this.#parts.system.entities.get(kind);
    if (definition === undefined) throw new OnefoldError("unknown-kind", `There is no kind '${kind}'.`);
    return definition;
  }

  #entity(definition: EntityDefinition, id: string, { tenant }: Principal): LiveEntity {
    const parsed = parseId(id);
    const slot = guardedSlotOf(this.#guarded, definition, { id: parsed, tenant });
    const name = entityName(tenant, definition.name, parsed);
    const quarantined = this.#parts.quarantined();
    if (this.#workingAt !== this.sequence || this.#workingWith !== quarantined) {
      this.#working = this.#newWorkingSet();
      this.#workingAt = this.sequence;
      this.#workingWith = quarantined;
    }
    return this.#working.cached(name) ?? this.#working.load(definition, slot, name, tenant, parsed);
  }

  get #guarded() {
    const { host, limits } = this.#parts;
    return { guard: host.guard, limits };
  }

  #newWorkingSet(): WorkingSet {
    const { replica, limits, quarantined } = this.#parts;
    return new WorkingSet(replica.store, limits.entityCacheBytesDefault, quarantined());
  }

  #surroundings(caller: Principal): Surroundings {
    const { host, limits, system, replica } = this.#parts;
    return {
      nowMs: replica.timeMs,
      caller,
      random: host.random,
      guard: host.guard,
      limits,
      definitionOf: (kind) => system.entities.get(kind),
    };
  }
}
