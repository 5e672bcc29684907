/**
 * What all works of one shard share: the working set, the committer, the executor and the rules by which effects get from a
 * work into both.
 *
 * X1  `takeIn` is the only place where effects become visible to later works, and it does so whole: batch and memory together.
 */
import { OnefoldError, type Refused } from "../base/errors.ts";
import { closest, slotOfEntity } from "../base/ids.ts";
import type { Limits } from "../base/limits.ts";
import type { Host } from "../host/host.ts";
import type { Store } from "../store/store.ts";
import { guardedSlotOf } from "./affinity.ts";
import type { EntityEffect, Entry, MessageRecord, ResultEffect } from "./batch.ts";
import type { Committer, MeasuredEntry } from "./committer.ts";
import type { EntityDefinition, SystemDefinition } from "./definition.ts";
import type { Executor } from "./executor.ts";
import { CommandFailure } from "./failure.ts";
import { type BinaryString, binaryOfBytes, entityName } from "./keys.ts";
import type { Age } from "./locks.ts";
import type { Mailroom } from "./mailroom.ts";
import type { Neighbours } from "./neighbours.ts";
import { quarantined } from "./out-of-reach.ts";
import { keepOutcome, type Outcome } from "./outcome.ts";
import type { RequestIdentity, Requests } from "./requests.ts";
import type { Surroundings, UnnumberedMessage } from "./run-command.ts";
import type { Principal } from "./service.ts";
import type { TransactionPart } from "./transaction-parts.ts";
import type { LiveEntity, WorkingSet } from "./working-set.ts";

export interface CoreParts {
  readonly host: Host;
  readonly limits: Limits;
  readonly system: SystemDefinition;
  readonly store: Store;
  readonly working: WorkingSet;
  readonly requests: Requests;
  /** Undefined for a lone shard, whose own all slots are. */
  readonly neighbours: Neighbours | undefined;
  /** Of the ownership that this is. */
  readonly epoch: number;
}

/** An entry as works build it: messages have no numbers yet, and most parts are usually absent. */
export interface EntryDraft {
  readonly origin: Entry["origin"];
  readonly command: string;
  readonly subject: string;
  readonly effects?: readonly EntityEffect[] | undefined;
  readonly messages?: readonly UnnumberedMessage[] | undefined;
  readonly consumed?: Entry["consumed"];
  readonly deadLetter?: Entry["deadLetter"];
  readonly expired?: Entry["expired"];
  readonly delivered?: Entry["delivered"];
  readonly transaction?: TransactionPart;
}

/** An outcome to be kept for a request's repetitions. */
export interface KeptResult {
  readonly request: RequestIdentity;
  readonly slot: number;
  readonly outcome: Outcome;
  readonly outputBytes: Uint8Array | undefined;
}

const nothing: readonly never[] = [];

export class Core {
  readonly host: Host;
  readonly limits: Limits;
  readonly system: SystemDefinition;
  readonly store: Store;
  readonly working: WorkingSet;
  readonly requests: Requests;
  readonly neighbours: Neighbours | undefined;
  readonly epoch: number;
  // Set once, right after construction: they need the core, and it needs them.
  committer!: Committer;
  executor!: Executor;
  mailroom!: Mailroom;
  /** A read of the store found damage. */
  onDamage!: (error: OnefoldError) => void;
  #ageCount = 0;
  /** Tells this owner's ages from those of others. */
  readonly #ageOwner: BinaryString;
  /** As the last work found them. */
  #surroundings: Surroundings | undefined = undefined;

  constructor(parts: CoreParts) {
    this.host = parts.host;
    this.limits = parts.limits;
    this.system = parts.system;
    this.store = parts.store;
    this.working = parts.working;
    this.requests = parts.requests;
    this.neighbours = parts.neighbours;
    this.epoch = parts.epoch;
    this.#ageOwner = parts.neighbours === undefined ? "" : binaryOfBytes(parts.host.random.bytes(8));
  }

  /** Whether the slot's log is this shard's own. */
  isOwn(slot: number): boolean {
    return this.neighbours === undefined || this.neighbours.isOwn(slot);
  }

  /** The next place in the order of ages, for locks: by log time, so that it means something to other shards. */
  nextAge(): Age {
    return { timeMs: this.committer.timeMs, count: ++this.#ageCount, owner: this.#ageOwner };
  }

  readonly definitionOf = (kind: string): EntityDefinition | undefined => this.system.entities.get(kind);

  /** Throws `unknown-kind` with a hint. */
  definition(kind: string): EntityDefinition {
    const definition = this.system.entities.get(kind);
    if (definition !== undefined) return definition;
    throw new OnefoldError(
      "unknown-kind",
      `${this.system.name} has no kind '${kind}'${didYouMean(kind, this.system.entities.keys())}.`,
    );
  }

  entity(definition: EntityDefinition, tenant: string, id: string): LiveEntity {
    const recent = this.working.recent(tenant, definition.name, id);
    if (recent !== undefined) return recent;
    const name = entityName(tenant, definition.name, id);
    return (
      this.working.cached(name) ?? this.working.load(definition, this.slotOf(definition, tenant, id), name, tenant, id)
    );
  }

  /** The same where the slot is known, which takes no user code. */
  entityAt(definition: EntityDefinition, slot: number, tenant: string, id: string): LiveEntity {
    const name = entityName(tenant, definition.name, id);
    return this.working.cached(name) ?? this.working.load(definition, slot, name, tenant, id);
  }

  /** An affinity is the user's code. */
  slotOf(definition: EntityDefinition, tenant: string, id: string): number {
    if (definition.affinity === undefined) {
      // What is in use knows its slot. Where other nodes may name slots, their code may be of another version than this one's.
      const known = this.neighbours === undefined ? this.working.recent(tenant, definition.name, id) : undefined;
      return known?.slot ?? slotOfEntity(definition, id, tenant);
    }
    if (this.working.isQuarantined(entityName(tenant, definition.name, id))) throw quarantined(definition.name, id);
    return guardedSlotOf({ guard: this.host.guard, limits: this.limits }, definition, { id, tenant });
  }

  /** The entity that an effect speaks of; undefined where the system no longer has its kind. */
  readonly entityOf = (effect: EntityEffect): LiveEntity | undefined => {
    const { tenant, kind, id, name } = effect;
    const cached = this.working.recent(tenant, kind, id) ?? this.working.cached(name);
    if (cached !== undefined) return cached;
    const definition = this.system.entities.get(kind);
    if (definition === undefined) return undefined;
    return this.working.load(definition, effect.slot, name, tenant, id);
  };

  surroundings(caller: Principal): Surroundings {
    // Opens a batch, so that its time is the same for all that enters it; an empty one is never appended.
    const { timeMs } = this.committer.open();
    // Callers come in crowds, and to many of them the world looks the same.
    if (this.#surroundings?.caller !== caller || this.#surroundings.nowMs !== timeMs) {
      this.#surroundings = {
        nowMs: timeMs,
        caller,
        random: this.host.random,
        guard: this.host.guard,
        limits: this.limits,
        definitionOf: this.definitionOf,
      };
    }
    return this.#surroundings;
  }

  #number(messages: readonly UnnumberedMessage[]): readonly MessageRecord[] {
    if (messages.length === 0) return nothing;
    const last = new Map<number, number>();
    return messages.map((message) => {
      const { fromSlot, toSlot } = message;
      const pair = fromSlot * this.limits.slotCount + toSlot;
      const number = (last.get(pair) ?? this.working.outboxNumber(fromSlot, toSlot)) + 1;
      last.set(pair, number);
      return { ...message, number };
    });
  }

  /** Builds the entry that `draft` and `result` describe. Throws `too-large`, `overloaded`. Changes nothing. */
  entry(draft: EntryDraft, result?: KeptResult): MeasuredEntry {
    const messages = this.#number(draft.messages ?? nothing);
    // What was prepared has been promised room.
    if (messages.length > 0 && draft.transaction?.type !== "outcome") {
      this.mailroom.assertRoom(messages, { isFromOutside: draft.origin === "call" || draft.origin === "transaction" });
    }
    return this.committer.measure({
      origin: draft.origin,
      command: draft.command,
      subject: draft.subject,
      effects: draft.effects ?? nothing,
      messages,
      consumed: draft.consumed ?? null,
      deadLetter: draft.deadLetter ?? null,
      result: result === undefined ? null : this.#resultEffect(result),
      expired:
        result === undefined
          ? (draft.expired ?? nothing)
          : this.requests.expiredPredecessor(result.request, result.slot, this.working),
      delivered: draft.delivered ?? nothing,
      transaction: draft.transaction ?? null,
    });
  }

  #resultEffect({ request, slot, outcome, outputBytes }: KeptResult): ResultEffect {
    return {
      key: this.requests.resultKey(request, slot, this.working, this.committer.timeMs),
      outcome: keepOutcome(outcome, this.committer.openSequence, outputBytes),
    };
  }

  /** X1. Returns the sequence that the entry will have. */
  takeIn(measured: MeasuredEntry): number {
    const { entry } = measured;
    const { sequence } = this.committer.open();
    this.committer.add(measured);
    this.working.absorb(entry, sequence, this.entityOf);
    if (entry.messages.length > 0) this.mailroom.took(entry.messages);
    return sequence;
  }

  /** Tells the operator about user code that failed; refusals are business as usual. */
  reportFailure(failure: OnefoldError | Refused, what: string): void {
    if (!(failure instanceof OnefoldError)) return;
    if (failure.code !== "command-failed" && failure.code !== "command-too-slow") return;
    this.host.trace("warn", "User code failed; its caller got an error and nothing was changed. Mend the code.", {
      what,
      code: failure.code,
      error: failure instanceof CommandFailure ? failure.causeText : undefined,
    });
  }
}

/** For messages: `; did you mean 'account'?`, or nothing. */
export function didYouMean(name: string, candidates: Iterable<string>): string {
  const candidate = closest(name, candidates);
  return candidate === undefined ? "" : `; did you mean '${candidate}'?`;
}
