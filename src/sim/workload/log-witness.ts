/**
 * Sees every record on its way to the log, and knows in the end which of them stand in it: what entities don't remember, such
 * as dead letters that were removed long ago, is still known here.
 *
 * W1  A record that stands in the log was seen; which do is told by the chain, from the log's end back to its genesis.
 */
import { toHex } from "../../base/bytes.ts";
import { type DeadLetter, decodeBatch } from "../../entity/batch.ts";
import { type BinaryString, keys } from "../../entity/keys.ts";
import type { LogPosition } from "../../log/log.ts";
import { decodeRecord } from "../../log/record.ts";

interface SeenRecord {
  readonly sequence: number;
  readonly previousHash: string;
  readonly letters: ReadonlyMap<BinaryString, DeadLetter>;
  readonly removed: readonly BinaryString[];
}

/** All letters that a log tells of, and those of them that it has not removed. */
export interface WitnessedLetters {
  readonly all: readonly DeadLetter[];
  readonly kept: ReadonlyMap<BinaryString, DeadLetter>;
}

export class LogWitness {
  readonly #records = new Map<string, SeenRecord>();

  saw(bytes: Uint8Array): void {
    const { kind, sequence, previousHash, payload, hash } = decodeRecord(bytes);
    const letters = new Map<BinaryString, DeadLetter>();
    const removed: BinaryString[] = [];
    for (const [index, { deadLetter, expired }] of (kind === "batch" ? decodeBatch(payload) : []).entries()) {
      for (const { key } of expired) removed.push(key);
      if (deadLetter !== null) letters.set(keys.deadLetter(deadLetter.slot, sequence, index), deadLetter);
    }
    this.#records.set(toHex(hash), { sequence, previousHash: toHex(previousHash), letters, removed });
  }

  /** Throws a sentence where a record stands in the log that was never on its way there. */
  lettersUpTo(end: LogPosition): WitnessedLetters {
    const chain: SeenRecord[] = [];
    let hash = toHex(end.hash);
    for (let { sequence } = end; sequence > 1; sequence--) {
      const record = this.#records.get(hash);
      if (record?.sequence !== sequence)
        throw new Error(`record ${sequence} stands in the log, and nobody sent it there`);
      chain.push(record);
      hash = record.previousHash;
    }
    const all: DeadLetter[] = [];
    const kept = new Map<BinaryString, DeadLetter>();
    for (const { letters, removed } of chain.reverse()) {
      for (const key of removed) kept.delete(key);
      for (const [key, letter] of letters) {
        all.push(letter);
        kept.set(key, letter);
      }
    }
    return { all, kept };
  }
}
