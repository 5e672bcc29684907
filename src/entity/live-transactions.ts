/**
 * What the shard's log says of transactions over several shards that are not over: those prepared here, whose homes have not told
 * their outcome, and those decided here, of which somebody has to be told.
 *
 * LT1 The fold of the store and of all batches that are absorbed, like the rest of the working set.
 */
import type { StoreReader } from "../store/store.ts";
import { type Entry, preparedBytesMax, type StoredPrepared } from "./batch.ts";
import { entriesWithPrefix, readDecision, readPrepared } from "./fold.ts";
import { type BinaryString, tables, uint16 } from "./keys.ts";
import type { DecisionPart, TransactionId } from "./transaction-parts.ts";

export interface LivePrepared extends StoredPrepared {
  /** The batch that said so; 0 for what the store held. */
  readonly sequence: number;
}

export interface LiveDecision {
  readonly part: DecisionPart;
  /** As above. */
  readonly sequence: number;
}

export class LiveTransactions {
  readonly #store: StoreReader;
  readonly #prepared = new Map<BinaryString, LivePrepared>();
  readonly #decisions = new Map<TransactionId, LiveDecision>();
  #preparedBytes = 0;
  #lastSequence = 0;

  constructor(store: StoreReader) {
    this.#store = store;
  }

  /** Starts again from what the store holds. Throws `damaged`. */
  load(): void {
    this.#prepared.clear();
    this.#decisions.clear();
    this.#preparedBytes = 0;
    this.#lastSequence = 0;
    for (const { value } of entriesWithPrefix(this.#store, String.fromCharCode(tables.prepared))) {
      this.#add({ ...readPrepared(value), sequence: 0 });
    }
    for (const { value } of entriesWithPrefix(this.#store, String.fromCharCode(tables.decision))) {
      const part = readDecision(value);
      this.#decisions.set(part.id, { part, sequence: 0 });
    }
  }

  absorb({ transaction: part, command, subject }: Entry, sequence: number): void {
    if (part === null) return;
    this.#lastSequence = sequence;
    switch (part.type) {
      case "prepared":
        return this.#add({ part, command, subject, sequence });
      case "outcome":
        return this.#remove(part.slot, part.id);
      case "decision":
        this.#decisions.set(part.id, { part, sequence });
        return;
      case "forgotten":
        for (const id of part.ids) this.#decisions.delete(id);
    }
  }

  #add(prepared: LivePrepared): void {
    const { slot, id } = prepared.part;
    this.#remove(slot, id);
    this.#prepared.set(uint16(slot) + id, prepared);
    this.#preparedBytes += preparedBytesMax(prepared.part);
  }

  #remove(slot: number, id: TransactionId): void {
    const prepared = this.prepared(slot, id);
    if (prepared === undefined) return;
    this.#prepared.delete(uint16(slot) + id);
    this.#preparedBytes -= preparedBytesMax(prepared.part);
  }

  prepared(slot: number, id: TransactionId): LivePrepared | undefined {
    return this.#prepared.get(uint16(slot) + id);
  }

  decision(id: TransactionId): LiveDecision | undefined {
    return this.#decisions.get(id);
  }

  allPrepared(): Iterable<LivePrepared> {
    return this.#prepared.values();
  }

  allDecisions(): Iterable<LiveDecision> {
    return this.#decisions.values();
  }

  get preparedCount(): number {
    return this.#prepared.size;
  }

  get preparedBytes(): number {
    return this.#preparedBytes;
  }

  get decisionCount(): number {
    return this.#decisions.size;
  }

  /** The last batch that said anything of transactions over several shards: once it is durable, so is what is known here. */
  get lastSequence(): number {
    return this.#lastSequence;
  }
}
