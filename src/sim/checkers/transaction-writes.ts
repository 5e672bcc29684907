/**
 * Who wrote what: of each key, the step that wrote each value (TS1), and which transactions count as committed.
 *
 * TW1  Committed are the `ok` ones, and those of unknown outcome of which somebody else read something (as Elle has it). What nobody
 *      read of an unknown one may never have been.
 * TW2  A read of a failed transaction's write is G1a, a read of nobody's a `garbage-read`; a read of a write that its own transaction
 *      went on from is G1b (the two list and register checkers say what "went on from" means for them).
 */
import { assert } from "../../base/assert.ts";
import type { Finding } from "./history.ts";
import { type AnyTransaction, describeTransaction, type Scalar } from "./transaction-steps.ts";
import { jsonOf } from "./timeline.ts";

export interface Write {
  readonly transaction: number;
  readonly value: Scalar;
  /** False for a write after which the same transaction wrote the same key. */
  readonly isFinal: boolean;
}

export class TransactionWrites {
  readonly #transactions: readonly AnyTransaction[];
  readonly #byKey = new Map<string, Map<Scalar, Write>>();
  readonly #committed: Uint8Array;

  constructor(transactions: readonly AnyTransaction[]) {
    this.#transactions = transactions;
    this.#committed = new Uint8Array(transactions.length);
    for (const [index, { input, outcome }] of transactions.entries()) {
      if (outcome.kind === "ok") this.#committed[index] = 1;
      const lastAt = new Map<string, number>();
      for (const [at, step] of input.entries()) if (step.type !== "read") lastAt.set(step.key, at);
      for (const [at, step] of input.entries()) {
        if (step.type === "read") continue;
        const writes = this.of(step.key);
        assert(!writes.has(step.value), `TS1: ${jsonOf(step.value)} is written twice to ${step.key}`);
        writes.set(step.value, { transaction: index, value: step.value, isFinal: lastAt.get(step.key) === at });
      }
    }
  }

  /** The writes of a key by their values. */
  of(key: string): Map<Scalar, Write> {
    let writes = this.#byKey.get(key);
    if (writes === undefined) {
      writes = new Map();
      this.#byKey.set(key, writes);
    }
    return writes;
  }

  keys(): Iterable<string> {
    return this.#byKey.keys();
  }

  isCommitted(transaction: number): boolean {
    return this.#committed[transaction] === 1;
  }

  /** Indices of all that are committed as far as has been told. */
  committed(): readonly number[] {
    return [...this.#committed.keys()].filter((index) => this.isCommitted(index));
  }

  /** Tells that a committed transaction read the value, and says what is wrong with that by itself (TW2). */
  *sawRead(reader: number, { key, value }: { readonly key: string; readonly value: Scalar }): Iterable<Finding> {
    const write = this.of(key).get(value);
    const what = `T${reader} read ${jsonOf(value)} from ${key}`;
    if (write === undefined) {
      yield this.finding("garbage-read", `${what}, which nobody wrote.`, [reader]);
      return;
    }
    const { transaction } = write;
    if (transaction === reader) return;
    if (this.#transactions[transaction]!.outcome.kind === "fail") {
      yield this.finding("G1a", `${what}, which T${transaction} wrote, and T${transaction} was aborted.`, [
        reader,
        transaction,
      ]);
    } else this.#committed[transaction] = 1;
  }

  /** A finding about transactions, which are shown. */
  finding(anomaly: string, what: string, shown: readonly number[]): Finding {
    const lines = [...new Set(shown)].map((index) => `  ${describeTransaction(index, this.#transactions[index]!)}`);
    return { anomaly, explanation: [`${anomaly}: ${what}`, ...lines].join("\n") };
  }
}
